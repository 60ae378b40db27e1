"""Spend: the period before, token classes, days of any zone, narrowing; every way of looking adds up to the same."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from costs import reports, rollups
from costs.metering import record_events
from costs.models import SpendHour
from costs.reports.spend import spend
from switchyard.tenancy.querysets import Scope
from tests.costs.events import NOON, make_attempt, make_event, private_attempt

pytestmark = pytest.mark.django_db
EVERYBODY = Scope(1, None, None, frozenset({"admin"}))
LEGAL_ONLY = Scope(1, frozenset({2}), frozenset({"legal"}), frozenset({"viewer"}))
DAY = timedelta(days=1)
MIDNIGHT = NOON.replace(hour=0, minute=0)


def ask(scope=EVERYBODY, **changes):
    return spend(**{"scope": scope, "start": MIDNIGHT, "end": MIDNIGHT + DAY} | changes)


def by_key(report):
    return {row["key"]: row for row in report.rows}


def record(*events):
    record_events(list(events))
    times = [datetime.fromtimestamp(e["at_ns"] / 1e9, UTC) for e in events]
    rollups.refresh(min(times), max(times))


def leg_attempt(**legs):
    counts = {"tokens_in": 100, "cached_tokens_in": 40, "tokens_out": 30, "reasoning_tokens": 10}
    return make_attempt(cost_nusd=sum(legs.values()), legs=legs, **counts)


def test_the_period_of_equal_length_before_stands_beside():
    record(
        make_event(make_attempt(cost_nusd=300)),
        make_event(make_attempt(cost_nusd=200), at=NOON - DAY),
        make_event(private_attempt(cost_nusd=50), at=NOON - DAY, lob="legal"),
        make_event(make_attempt(cost_nusd=7_000), at=NOON - 2 * DAY),
    )
    found = ask()
    rows = by_key(found)
    assert (rows["customer-service"]["cost_nusd"], rows["customer-service"]["prev_cost_nusd"]) == (300, 200)
    assert rows["customer-service"]["change"] == 0.5
    assert (rows["legal"]["cost_nusd"], rows["legal"]["prev_cost_nusd"], rows["legal"]["change"]) == (
        0,
        50,
        -1.0,
    )
    assert (found.totals["prev_cost_nusd"], found.totals["change"]) == (250, 0.2)
    assert "prev_cost_nusd" not in ask(group="day").rows[0]
    assert by_key(ask(LEGAL_ONLY)).keys() == {"legal"}


def test_from_nothing_there_is_no_change_to_tell():
    record(make_event())
    assert ask().rows[0]["change"] is None


def test_token_classes_sum_to_the_cost_and_say_what_they_count():
    record(
        make_event(leg_attempt(input=60, cached_input=4, output=300, reasoning=100, minimum=36)),
        make_event(private_attempt(cost_nusd=900, legs={"compute": 900}), lob="legal"),
    )
    # Metered before costs were kept by their parts.
    SpendHour.objects.create(
        start=MIDNIGHT,
        organisation_id=1,
        lob="legal",
        deployment="d",
        model="m",
        side="external",
        cost_nusd=70,
    )
    rollups.refresh_days(MIDNIGHT, MIDNIGHT + timedelta(hours=1))
    found = by_key(ask(group="token_class"))
    assert {k: r["cost_nusd"] for k, r in found.items()} == {
        "input": 60, "cached_input": 4, "output": 300, "reasoning": 100, "compute": 900, "minimum": 36, "unsplit": 70,
    }  # fmt: skip
    assert ask(group="token_class").totals["cost_nusd"] == ask().totals["cost_nusd"] == 1_470
    assert found["input"]["units"] == 100 - 40 + 20, "cached tokens are counted on their own line"
    assert found["reasoning"]["units"] == 10 and found["compute"]["units"] == 3_000_000 * 2
    both = by_key(ask(group="lob,token_class"))
    assert both["legal|compute"]["cost_nusd"] == 900
    assert sum(r["cost_nusd"] for r in both.values()) == 1_470
    assert list(by_key(ask(group="token_class,side")))[0] == "input|external"


def test_sound_and_searches_are_classes_of_their_own():
    legs = {"input": 60, "output": 40, "audio_input": 800, "audio_output": 900, "searches": 5_000}
    record(make_event(leg_attempt(**legs) | {"audio_tokens_in": 30, "audio_tokens_out": 9, "searches": 2}))
    found = by_key(ask(group="token_class"))
    assert {k: r["cost_nusd"] for k, r in found.items()} == legs
    counts = {k: found[k]["units"] for k in ("audio_input", "audio_output", "searches")}
    assert counts == {"audio_input": 30, "audio_output": 9, "searches": 2}
    assert found["input"]["units"] == 100 - 40 - 30, "what was heard is counted on its own line"


def test_only_spend_is_grouped_by_token_class():
    with pytest.raises(ValueError, match="no grouping"):
        reports.accuracy(scope=EVERYBODY, start=MIDNIGHT, end=MIDNIGHT + DAY, group="token_class")


def test_days_of_a_half_hour_zone_begin_at_its_own_midnight():
    # 18:30 UTC is midnight in Kolkata: the hour from 18:00 lies in two of its days.
    def at(hour, minute, cost, **changes):
        return make_event(make_attempt(cost_nusd=cost), at=NOON.replace(hour=hour, minute=minute), **changes)

    record(at(18, 29, 1), at(18, 30, 10), at(18, 45, 100, lob="legal"), at(19, 0, 1_000), at(3, 0, 10_000))
    days = by_key(ask(group="day", tz="Asia/Kolkata"))
    assert {k: r["cost_nusd"] for k, r in days.items()} == {"2026-11-03": 10_001, "2026-11-04": 1_110}
    assert {k: r["requests"] for k, r in days.items()} == {"2026-11-03": 2, "2026-11-04": 3}
    by_lob = by_key(ask(group="day,lob", tz="Asia/Kolkata"))
    assert by_lob["2026-11-04|legal"]["cost_nusd"] == 100
    assert by_lob["2026-11-04|customer-service"]["cost_nusd"] == 1_010
    hours = by_key(ask(group="hour", tz="Asia/Kolkata"))
    assert hours["2026-11-03T23:00"]["cost_nusd"] == 1 and hours["2026-11-04T00:00"]["cost_nusd"] == 1_110
    quarter = by_key(ask(group="day", tz="Asia/Kathmandu"))  # a quarter of an hour off: midnight at 18:15
    assert quarter["2026-11-04"]["cost_nusd"] == 1_111


def test_the_second_half_of_an_hour_is_read_once_and_again_when_something_came():
    def days() -> tuple[dict[str, int], bool]:
        with CaptureQueriesContext(connection) as asked:
            found = {k: r["cost_nusd"] for k, r in by_key(ask(group="day", tz="Asia/Kolkata")).items()}
        return found, any("costs_attempt" in q["sql"] for q in asked.captured_queries)

    record(make_event(make_attempt(cost_nusd=5), at=NOON.replace(hour=18, minute=40)))
    record(make_event(make_attempt(cost_nusd=3), at=NOON.replace(hour=18, minute=10)))
    assert days() == ({"2026-11-03": 3, "2026-11-04": 5}, True)
    assert days() == ({"2026-11-03": 3, "2026-11-04": 5}, False)
    record(make_event(make_attempt(cost_nusd=20), at=NOON.replace(hour=18, minute=50)))
    assert days() == ({"2026-11-03": 3, "2026-11-04": 25}, True)


def test_the_second_half_of_an_hour_keeps_to_the_reader():
    record(
        make_event(make_attempt(cost_nusd=5), at=NOON.replace(hour=18, minute=40)),
        make_event(make_attempt(cost_nusd=9), at=NOON.replace(hour=18, minute=40), lob="legal"),
        make_event(
            make_attempt(cost_nusd=70), at=NOON.replace(hour=18, minute=40), organisation_id=2, lob="legal"
        ),
    )
    [row] = ask(LEGAL_ONLY, group="day", tz="Asia/Kolkata").rows
    assert (row["key"], row["cost_nusd"]) == ("2026-11-04", 9)


def test_judgements_of_a_shared_hour_are_shared_and_none_is_lost():
    record(*(make_event(at=NOON.replace(hour=18, minute=m)) for m in (10, 40, 50)))
    SpendHour.objects.update(variance_nusd=-7)
    found = ask(group="day", tz="Asia/Kolkata")
    assert sum(r["loaded_nusd"] - r["cost_nusd"] for r in found.rows) == -7
    assert [r["requests"] for r in found.rows] == [1, 2]


def test_loaded_cost_stands_beside_the_metered_one():
    record(make_event(private_attempt(cost_nusd=900)))
    SpendHour.objects.update(variance_nusd=150)
    rollups.refresh_days(NOON, NOON + timedelta(hours=1))
    assert (ask().totals["cost_nusd"], ask().totals["loaded_nusd"]) == (900, 1_050)


def test_spend_is_narrowed_to_one_of_anything_and_nothing_else():
    record(make_event(), make_event(private_attempt(), application="bot", workload="faq"))
    assert ask(application="bot").totals["cost_nusd"] == 900
    assert ask(workload="support-intent", side="external").totals["cost_nusd"] == 1_400
    assert ask(workload="support-intent", side="private").totals["cost_nusd"] == 0
    with pytest.raises(ValueError, match="not narrowed by colour"):
        ask(colour="red")


@pytest.mark.parametrize("group", ["lob", "application", "workload", "deployment", "model", "side", "node", "purpose",
                                   "token_class", "day", "hour", "week", "month", "lob,token_class", "day,side"])  # fmt: skip
@pytest.mark.parametrize(
    "tz", ["UTC", "Asia/Kolkata", "America/St_Johns", "Australia/Lord_Howe", "Europe/Berlin"]
)
def test_every_grouping_in_every_zone_adds_up_to_the_same(group, tz):
    record(
        *(
            make_event(leg_attempt(input=7 * h, output=h + 1), at=NOON + timedelta(minutes=23 * h))
            for h in range(30)
        ),
        make_event(private_attempt(cost_nusd=900), lob="legal", at=NOON),
    )
    expected = sum(7 * h + h + 1 for h in range(30)) + 900
    found = ask(group=group, tz=tz, end=MIDNIGHT + 2 * DAY)
    assert sum(row["cost_nusd"] for row in found.rows) == found.totals["cost_nusd"] == expected
