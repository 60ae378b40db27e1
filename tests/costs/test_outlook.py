"""Forecasts and anomalies as rows: made from the roll-ups, told once, seen by those who may."""

from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from costs import outlook, tasks
from costs.models import Alert, Anomaly, Forecast, SpendDay, SpendHour
from costs.reports.anomalies import anomalies
from costs.reports.forecast import forecast
from switchyard.core.clock import now
from switchyard.tenancy.querysets import NOBODY, Scope
from tests.factories import make_organisation

pytestmark = pytest.mark.django_db


@pytest.fixture
def organisation(db):
    return make_organisation()


def everybody(organisation):
    return Scope(organisation.pk, None, None, frozenset({"finance"}))


def legal_only(organisation):
    return Scope(organisation.pk, frozenset({2}), frozenset({"legal"}), frozenset({"viewer"}))


def spend_on(organisation, start, cost, model=SpendDay, requests=100, lob="legal", **changes):
    values = {
        "workload": f"{lob}-work", "application": "desk", "deployment": "ext-mini", "model": "m", "side": "external",
        "requests": requests, "answers": requests, "tokens_in": requests * 20, "tokens_out": requests * 5,
        "cost_nusd": cost, "input_nusd": cost // 4, "output_nusd": cost - cost // 4, "answered_cost_nusd": cost,
    }  # fmt: skip
    return model.objects.create(organisation_id=organisation.pk, start=start, lob=lob, **values | changes)


def days_before(n):
    return now().astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=n)


def ask(report, scope, **changes):
    return report(
        scope=scope, **{"start": now() - timedelta(days=40), "end": now() + timedelta(hours=1)} | changes
    )


def test_a_month_is_foreseen_for_the_organisation_and_each_line_of_business(organisation):
    for n in range(1, 31):
        spend_on(organisation, days_before(n), 1_000)
        spend_on(organisation, days_before(n), 3_000, lob="sales")
    made = {row.lob: row for row in outlook.forecast_month(organisation.pk)}
    assert set(made) == {"", "legal", "sales"}
    start = days_before(0).replace(day=1)
    length = ((start + timedelta(days=32)).replace(day=1) - start).days
    gone = days_before(0).day - 1
    assert made["legal"].estimate_nusd == 1_000 * length and made[""].estimate_nusd == 4_000 * length
    assert made["legal"].spent_nusd == 1_000 * min(gone, 30)
    assert made[""].mape == 0 and made[""].backtests > 5
    assert tasks.make_forecasts() == 3 and Forecast.objects.count() == 3, "replaced, not added"


def test_today_counts_with_what_it_spent_and_the_rest_of_a_day_as_they_go(organisation, time_machine):
    """A quarter of each day's money comes before six in the morning, the rest at eight."""
    time_machine.move_to(datetime(2026, 11, 20, 6, tzinfo=UTC), tick=False)
    for n in range(1, 31):
        spend_on(organisation, days_before(n), 1_000)
        spend_on(organisation, days_before(n) + timedelta(hours=2), 250, SpendHour)
        spend_on(organisation, days_before(n) + timedelta(hours=8), 750, SpendHour)
    spend_on(organisation, days_before(0), 400)
    spend_on(organisation, days_before(0) + timedelta(hours=2), 400, SpendHour)
    made = {row.lob: row for row in outlook.forecast_month(organisation.pk)}
    for row in (made["legal"], made[""]):
        assert row.spent_nusd == 19_400 and row.estimate_nusd == 19_000 + 400 + 750 + 10_000
    time_machine.move_to(datetime(2026, 11, 20, 8, 30, tzinfo=UTC), tick=False)
    assert outlook.forecast_month(organisation.pk)[0].estimate_nusd == 19_000 + 400 + 375 + 10_000


def test_too_few_days_are_said_instead_of_guessed(organisation):
    for n in range(1, 10):
        spend_on(organisation, days_before(n), 1_000)
    assert outlook.forecast_month(organisation.pk) == []
    rows = ask(forecast, everybody(organisation)).rows
    assert [row["key"] for row in rows] == ["organisation", "legal"]
    assert rows[1]["estimate_nusd"] is None
    assert rows[1]["note"] == "not enough days: 9 whole days are there, 14 are needed"
    out = StringIO()
    call_command("forecast", stdout=out)
    assert "not enough days" in out.getvalue()


def test_a_forecast_is_seen_by_those_who_may_see_its_line_of_business(organisation):
    for n in range(1, 21):
        spend_on(organisation, days_before(n), 1_000)
        spend_on(organisation, days_before(n), 3_000, lob="sales")
    outlook.forecast_month(organisation.pk)
    assert [r["key"] for r in ask(forecast, everybody(organisation)).rows] == [
        "organisation",
        "legal",
        "sales",
    ]
    [row] = ask(forecast, legal_only(organisation)).rows
    assert row["key"] == "legal" and row["points"][-1]["nusd"] == row["estimate_nusd"]
    assert ask(forecast, NOBODY).rows == []
    assert ask(forecast, everybody(organisation)).totals["estimate_nusd"] == sum(
        r["estimate_nusd"] for r in ask(forecast, everybody(organisation)).rows[1:]
    )


def test_a_day_that_stands_out_is_a_row_and_one_alert_with_its_cause(organisation):
    for n in range(2, 40):
        spend_on(organisation, days_before(n), 10_000 + 10 * n, requests=100)
    spend_on(organisation, days_before(1), 40_000, requests=400, application="bot")
    [found] = outlook.find_anomalies(organisation.pk)
    assert found.day == days_before(1).date()
    assert found.cause.startswith("requests ×4") and found.cause.endswith("application bot")
    assert sum(found.parts.values()) == found.spent_nusd - found.expected_nusd
    assert tasks.find_anomalies() == 1
    assert Anomaly.objects.count() == Alert.objects.filter(kind="anomaly").count() == 1
    alert = Alert.objects.get(kind="anomaly")
    assert (alert.lob, alert.cause) == ("legal", found.cause) and "its own past says" in alert.message


def test_a_price_that_rises_is_told_as_one(organisation):
    for n in range(2, 40):
        spend_on(organisation, days_before(n), 10_000)
    spend_on(organisation, days_before(1), 14_000)
    [found] = outlook.find_anomalies(organisation.pk)
    assert found.cause.startswith("price of ext-mini +40%") and found.parts["price"] == 4_000


def test_anomalies_are_seen_by_those_who_may(organisation):
    for lob in ("legal", "sales"):
        for n in range(2, 30):
            spend_on(organisation, days_before(n), 10_000, lob=lob)
        spend_on(organisation, days_before(1), 90_000, requests=900, lob=lob)
    outlook.find_anomalies(organisation.pk)
    assert {r["lob"] for r in ask(anomalies, everybody(organisation)).rows} == {"legal", "sales"}
    report = ask(anomalies, legal_only(organisation))
    assert [r["lob"] for r in report.rows] == ["legal"] and report.totals["count"] == 1
    assert ask(anomalies, NOBODY).rows == []
    assert ask(anomalies, everybody(organisation), end=now() - timedelta(days=5)).rows == []


def test_a_runaway_hour_is_told_before_the_day_is_over(organisation):
    hour = now().astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    for n in range(1, 24 * 10):
        spend_on(organisation, hour - timedelta(hours=n), 1_000, SpendHour)
    spend_on(organisation, hour, 60_000, SpendHour, requests=6_000)
    assert tasks.find_bursts() == 1 == tasks.find_bursts()
    row = Anomaly.objects.get()
    assert f"{hour:%H}:00" in row.cause and "requests ×60" in row.cause and row.spent_nusd == 60_000
    assert Alert.objects.filter(kind="anomaly").count() == 1


@pytest.mark.parametrize("purpose", ["evaluation", "shadow", "fine_tune"])
def test_the_products_own_work_raises_no_alarm_and_hides_none(organisation, purpose):
    hour = now().astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    for n in range(2, 40):
        spend_on(organisation, days_before(n), 10_000)
    for n in range(1, 24 * 10):
        spend_on(organisation, hour - timedelta(hours=n), 1_000, SpendHour)
    spend_on(organisation, days_before(1), 10_000)
    spend_on(organisation, days_before(1), 900_000, purpose=purpose, requests=9_000)
    spend_on(organisation, hour, 600_000, SpendHour, purpose=purpose, requests=6_000)
    assert outlook.find_anomalies(organisation.pk) == [] == outlook.find_bursts(organisation.pk)
    assert not Alert.objects.filter(kind="anomaly").exists()
    spend_on(organisation, hour, 60_000, SpendHour, requests=6_000)
    [found] = outlook.find_bursts(organisation.pk)
    assert found.spent_nusd == 60_000, "of answers alone"


def test_commands_tell_what_they_found_and_refuse_nonsense(organisation):
    for n in range(1, 40):
        spend_on(organisation, days_before(n), 10_000)
    out = StringIO()
    call_command("find_anomalies", stdout=out)
    assert "nothing stands out" in out.getvalue()
    legs = {"input_nusd": 20_000, "output_nusd": 60_000, "tokens_in": 16_000, "tokens_out": 4_000}
    SpendDay.objects.filter(start=days_before(1)).update(cost_nusd=80_000, requests=800, **legs)
    call_command("find_anomalies", "--organisation", organisation.slug, stdout=out)
    call_command("forecast", "--organisation", organisation.slug, stdout=out)
    assert "requests ×8" in out.getvalue() and "off by" in out.getvalue()
    with pytest.raises(CommandError, match="no organisation"):
        call_command("forecast", "--organisation", "nobody")
    with pytest.raises(CommandError, match="expected 1 to 90"):
        call_command("find_anomalies", "--days", "0")


def test_units_are_what_was_paid_for(organisation):
    at = datetime(2026, 11, 3, tzinfo=UTC)
    spend_on(
        organisation, at, 1_000, SpendDay, input_nusd=0, output_nusd=0, compute_nusd=900, accelerator_ns=50, side="private"
    )  # fmt: skip
    [by_day] = outlook._uses(SpendDay.objects.all()).values()
    use = by_day[at]["ext-mini"]
    assert use.units == {"compute": (50.0, 900.0), "calls": (100.0, 100.0)} and use.cost_nusd == 1_000
