"""Budgets: counters follow the ledger, thresholds alert once a period, days are local days."""

from datetime import UTC, datetime, timedelta

import orjson
import pytest
from asgiref.sync import async_to_sync

from costs import budgets, label_hours
from costs.budgets import counters, spending
from costs.metering import record_events
from costs.models import Alert, Budget, LedgerEntry
from costs.periods import counter_key, period_bounds, period_seconds
from costs.selectors import budget_limits, budgets_on_path, limit_of
from switchyard.core.errors import BudgetExhausted
from tests.costs.asks import USD, admission_on, make_ask, make_settlement
from tests.costs.events import NOON, make_attempt, make_event
from tests.factories import make_lob, make_organisation


def test_a_local_day_lasts_23_or_25_hours_when_clocks_move():
    spring = period_bounds("day", "Europe/Berlin", datetime(2026, 3, 29, 12, tzinfo=UTC))
    autumn = period_bounds("day", "Europe/Berlin", datetime(2026, 10, 25, 12, tzinfo=UTC))
    assert spring[1] - spring[0] == timedelta(hours=23)
    assert autumn[1] - autumn[0] == timedelta(hours=25)
    assert spring[0] == datetime(2026, 3, 28, 23, tzinfo=UTC)


def test_weeks_begin_on_monday_months_on_the_first_and_total_never_ends():
    at = datetime(2026, 11, 1, 3, tzinfo=UTC)  # a Sunday in Berlin, still Saturday evening in New York
    assert period_bounds("week", "Europe/Berlin", at)[0] == datetime(2026, 10, 25, 23, tzinfo=UTC)
    assert period_bounds("month", "America/New_York", at)[0] == datetime(2026, 10, 1, 4, tzinfo=UTC)
    assert period_bounds("total", "UTC", at)[1] is None
    assert period_seconds("total", "UTC", at.timestamp()) == (0, 0)
    with pytest.raises(ValueError, match="no period"):
        period_bounds("fortnight", "UTC", at)


@pytest.mark.parametrize("zone", ["Asia/Kathmandu", "Australia/Lord_Howe", "America/Sao_Paulo", "UTC"])
def test_the_quick_form_agrees_with_the_calendar_around_midnights(zone):
    at = datetime(2026, 4, 4, tzinfo=UTC)
    for minutes in range(0, 3 * 24 * 60, 7):
        moment = at + timedelta(minutes=minutes)
        start, end = period_bounds("day", zone, moment)
        assert period_seconds("day", zone, moment.timestamp()) == (start.timestamp(), end.timestamp())


@pytest.fixture
def legal(db):
    return make_lob(make_organisation(), slug="legal")


def make_row(lob, scope="lob:legal", **changes):
    values = {"limit_nusd": 10_000, "period": "month", "organisation": lob.organisation, "lob": lob} | changes
    return Budget.objects.create(scope=scope, **values)


def spend(in_lob, nusd=1_400, **changes):
    event = make_event(
        make_attempt(cost_nusd=nusd), organisation_id=in_lob.organisation_id, **{"lob": "legal", **changes}
    )
    record_events([event])
    return event


@pytest.mark.django_db
def test_the_path_of_a_key_is_widest_first_and_stays_in_its_lob(legal):
    other = make_lob(legal.organisation, slug="engineering")
    key = make_row(legal, "key:key_1")
    make_row(other, "application:desk")
    own = make_row(legal, "application:desk", period="day")
    lob = make_row(legal)
    whole = Budget.objects.create(
        organisation=legal.organisation, scope="organisation", limit_nusd=1, period="month"
    )
    path = budgets_on_path(
        budget_limits(legal.organisation_id), lob="legal", application="desk", key_id="key_1"
    )
    assert [b.id for b in path] == [whole.pk, lob.pk, own.pk, key.pk]


@pytest.mark.django_db
def test_a_counter_is_set_from_the_ledger_and_the_stream_each_request_once(legal, valkey, time_machine):
    time_machine.move_to(NOON)
    limit = limit_of(make_row(legal))
    committed = spend(legal)
    spend(legal, origin="demonstration")
    spend(legal, lob="engineering")
    spend(legal, at=NOON - timedelta(days=40))
    waiting = make_event(make_attempt(cost_nusd=77), organisation_id=legal.organisation_id, lob="legal")
    for event in (committed, waiting):
        valkey.client().xadd("sy:usage", {"d": orjson.dumps(event)})
    assert budgets.rebuild_counter(limit, valkey.client()) == 1_477
    assert budgets.rebuild_counter(limit, valkey.client()) == 1_477
    key = counter_key(limit.id, int(period_bounds("month", "UTC", NOON)[0].timestamp()))
    valkey.client().hset(key, "spent", 9_999_999)  # wrong, however it came about
    assert budgets.rebuild_counter(limit, valkey.client()) == 1_477


@pytest.mark.django_db
def test_what_is_spent_while_the_ledger_is_read_is_not_lost(legal, valkey, monkeypatch):
    limit = limit_of(make_row(legal, period="total"))
    key = counter_key(limit.id, 0)
    valkey.client().hset(key, mapping={"spent": 0, "reserved": 5})
    read = spending.spent_in_ledger

    def slowly(*args):
        valkey.client().hincrby(key, "spent", 300)
        return read(*args)

    monkeypatch.setattr(spending, "spent_in_ledger", slowly)
    assert budgets.rebuild_counter(limit, valkey.client()) == 300
    assert valkey.client().hget(key, "reserved") == b"5"


@pytest.mark.django_db
def test_counters_are_left_alone_while_the_ledger_is_far_behind(legal, valkey, monkeypatch):
    make_row(legal, period="total")
    assert budgets.rebuild_counters(valkey.client()) == 1
    monkeypatch.setattr(counters, "REBUILD_BACKLOG_MAX", 1)
    for _ in range(2):
        valkey.client().xadd("sy:usage", {"d": orjson.dumps(make_event())})
    assert budgets.rebuild_counters(valkey.client()) == 0


@pytest.mark.django_db
def test_headroom_comes_from_the_counter_or_else_from_the_ledger(legal, valkey, settings):
    settings.REDIS_URL = valkey.url
    limit = limit_of(make_row(legal, period="total"))
    spend(legal)
    assert (budgets.headroom(limit).source, budgets.headroom(limit).left_nusd) == ("ledger", 8_600)
    valkey.client().hset(counter_key(limit.id, 0), mapping={"spent": 2_000, "reserved": 500})
    assert (budgets.headroom(limit).source, budgets.headroom(limit).left_nusd) == ("counters", 7_500)
    settings.REDIS_URL = "unix:///nowhere/valkey.sock"
    assert budgets.headroom(limit).source == "ledger"


@pytest.mark.django_db
def test_a_threshold_alerts_once_a_period(legal, valkey, time_machine):
    time_machine.move_to(NOON)
    make_row(legal, warn_pct=50)
    assert budgets.check_thresholds(valkey.client()) == []
    spend(legal, 6_000)
    assert [a.kind for a in budgets.check_thresholds(valkey.client())] == ["budget_warning"]
    assert budgets.check_thresholds(valkey.client()) == []
    spend(legal, 4_000)
    assert [a.kind for a in budgets.check_thresholds(valkey.client())] == ["budget_limit"]
    time_machine.move_to(NOON + timedelta(days=31))
    assert budgets.check_thresholds(valkey.client()) == []
    assert Alert.objects.filter(lob="legal").count() == 2


@pytest.mark.django_db(transaction=True)
def test_admission_seeds_a_lost_counter_from_the_ledger(legal, valkey, settings):
    settings.REDIS_URL = valkey.url
    limit = limit_of(make_row(legal, period="total", limit_nusd=USD))
    spend(legal, int(0.97 * USD))

    async def scenario():
        async with admission_on(valkey.url, seed=budgets.seed_from_ledger) as admission:
            with pytest.raises(BudgetExhausted):
                await admission.reserve(make_ask(0.05, budgets=(limit,)))
            ask = make_ask(0.02, budgets=(limit,))
            grant = await admission.reserve(ask)
            await admission.settle(make_settlement(ask))
            return grant

    assert async_to_sync(scenario)().budget_used_ppm == {"lob:legal": 990_000}


def book(lob, nusd, purpose, number):
    entry = LedgerEntry.objects.create(
        event_id=f"{purpose}:{number}", organisation_id=lob.organisation_id, at=NOON, debit=f"expense:lob:{lob.slug}",
        credit="payable:labels", amount_nusd=nusd, lob=lob.slug, purpose=purpose,
    )  # fmt: skip
    label_hours.add([entry])


@pytest.mark.django_db
def test_a_budget_of_labels_counts_labels_alone_and_no_request_meets_it(
    legal, valkey, settings, time_machine
):
    time_machine.move_to(NOON)
    settings.REDIS_URL = valkey.url
    labels = make_row(legal, covers="labels", limit_nusd=1_000)
    spend(legal, 50_000)
    for number, purpose in enumerate(("label", "review", "feedback")):
        book(legal, 100, purpose, number)
    assert budgets.headroom(limit_of(labels)).spent_nusd == 300
    limits = budget_limits(legal.organisation_id)
    assert [b.covers for b in limits] == ["labels"]
    assert budgets_on_path(limits, lob="legal", application="desk", key_id="key_1") == ()
    assert budgets.rebuild_counters(valkey.client()) == 0


@pytest.mark.django_db
def test_labels_that_fit_are_booked_and_one_nano_dollar_more_is_refused(
    legal, valkey, settings, time_machine
):
    time_machine.move_to(NOON)
    settings.REDIS_URL = valkey.url
    make_row(legal, covers="labels", limit_nusd=1_000)
    make_row(
        make_lob(legal.organisation, slug="engineering"), "lob:engineering", covers="labels", limit_nusd=1
    )
    make_row(legal, covers="labels", limit_nusd=1, action="warn", period="day")
    book(legal, 700, "label", 1)
    budgets.reserve_labels(legal.organisation_id, "legal", 300, NOON)
    with pytest.raises(BudgetExhausted, match="no room for these labels") as caught:
        budgets.reserve_labels(legal.organisation_id, "legal", 301, NOON)
    assert caught.value.extra["limit_usd"] == "0.000001" and caught.value.extra["spent_usd"] == "0.0000007"
    budgets.reserve_labels(legal.organisation_id, "legal", 1_000, NOON + timedelta(days=40))  # another month


@pytest.mark.django_db
def test_labels_do_not_go_past_a_budget_of_everything(legal, valkey, settings, time_machine):
    time_machine.move_to(NOON)
    settings.REDIS_URL = valkey.url
    whole = Budget.objects.create(
        organisation=legal.organisation, scope="organisation", limit_nusd=2_000, period="month"
    )
    start_s = int(period_bounds("month", "UTC", NOON)[0].timestamp())
    valkey.client().hset(counter_key(whole.pk, start_s), mapping={"spent": 1_200, "reserved": 500})
    budgets.reserve_labels(legal.organisation_id, "legal", 300, NOON)
    with pytest.raises(BudgetExhausted, match="organisation"):
        budgets.reserve_labels(legal.organisation_id, "legal", 301, NOON)
