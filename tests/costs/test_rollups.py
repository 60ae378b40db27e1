"""Roll-ups follow attempts: idempotent, per hour and day, judgements kept."""

from datetime import timedelta

import pytest

from costs import rollups
from costs.metering import record_events
from costs.models import Attempt, LedgerEntry, SpendDay, SpendHour
from tests.costs.events import NOON, make_attempt, make_event, private_attempt

pytestmark = pytest.mark.django_db
NAMES = {
    "organisation_id": 1, "lob": "customer-service", "application": "desk", "workload": "support-intent",
    "deployment": "ext-mini", "model": "txt-edge", "side": "external", "origin": "live",
}  # fmt: skip


def snapshot():
    fields = ["start", "deployment", *rollups.SPEND_FIELDS, "judged", "correct"]
    return list(SpendHour.objects.order_by("start", "deployment").values_list(*fields)), list(
        SpendDay.objects.order_by("start", "deployment").values_list(*fields)
    )


def test_an_hour_sums_its_attempts_and_a_day_its_hours():
    record_events(
        [
            make_event(other_side_cost_nusd=900),
            make_event(
                make_attempt(status="error", cost_nusd=100), private_attempt(), other_side_cost_nusd=1_450
            ),
            make_event(at=NOON + timedelta(hours=2), answers=3),
        ]
    )
    rollups.refresh(NOON, NOON + timedelta(hours=2))
    first = SpendHour.objects.get(deployment="ext-mini", start=rollups.hour_of(NOON))
    assert (first.requests, first.answers, first.errors, first.cost_nusd) == (1, 1, 1, 1_500)
    assert (first.answered_cost_nusd, first.other_side_known, first.other_side_cost_nusd) == (1_400, 1, 900)
    day = SpendDay.objects.get(deployment="ext-mini")
    assert (day.requests, day.answers, day.cost_nusd, day.tokens_in) == (2, 4, 2_900, 60)
    assert day.start == rollups.day_of(NOON)


def test_refreshing_again_changes_nothing():
    record_events([make_event(), make_event(private_attempt())])
    rollups.refresh(NOON, NOON)
    rollups.record_judgements([NAMES | {"start": NOON, "judged": 4, "correct": 3}])
    before = snapshot()
    rollups.refresh(NOON, NOON)
    rollups.record_judgements([NAMES | {"start": NOON, "judged": 4, "correct": 3}])
    assert snapshot() == before
    assert SpendDay.objects.get(deployment="ext-mini").correct == 3


def test_what_is_as_it_was_is_not_written_again():
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    record_events([make_event(), make_event(private_attempt()), make_event(at=NOON + timedelta(hours=1))])

    def written() -> list[str]:
        with CaptureQueriesContext(connection) as found:
            rollups.refresh(NOON, NOON + timedelta(hours=1))
        return [q["sql"] for q in found if "INSERT" in q["sql"] and "costs_spend" in q["sql"]]

    assert written() == []
    SpendHour.objects.filter(start=rollups.hour_of(NOON) + timedelta(hours=1)).update(requests=5)
    SpendDay.objects.update(requests=5)
    [hours, days] = written()
    assert "costs_spendhour" in hours and "private-sparse" not in hours and "private-sparse" in days
    assert SpendDay.objects.get(deployment="ext-mini").requests == 2


def test_an_hour_begins_with_its_first_microsecond_and_ends_before_the_next():
    first = rollups.hour_of(NOON)
    last = first + timedelta(hours=1) - timedelta(microseconds=1)
    record_events([make_event(at=at) for at in (first, last, first + timedelta(hours=1))])
    rollups.refresh(first, first + timedelta(hours=1))
    found = SpendHour.objects.order_by("start").values_list("start", "requests")
    assert list(found) == [(first, 2), (first + timedelta(hours=1), 1)]


def test_a_row_kept_for_its_judgements_goes_when_they_are_withdrawn():
    rollups.record_judgements([NAMES | {"start": NOON, "judged": 2, "correct": 1}])
    rollups.refresh(NOON, NOON)
    assert SpendHour.objects.count() == 1
    rollups.record_judgements([NAMES | {"start": NOON, "judged": 0, "correct": 0}])
    rollups.refresh(NOON, NOON)
    assert not SpendHour.objects.exists() and not SpendDay.objects.exists()


def test_late_events_are_added_to_their_own_hour():
    record_events([make_event(at=NOON)])
    rollups.refresh(NOON, NOON)
    record_events([make_event(at=NOON)])
    rollups.refresh(NOON, NOON)
    assert SpendHour.objects.get().requests == 2


def test_removed_demonstration_rows_leave_the_roll_ups():
    record_events([make_event(origin="demonstration"), make_event()])
    rollups.refresh(NOON, NOON)
    LedgerEntry.objects.filter(origin="demonstration").delete()
    Attempt.objects.filter(origin="demonstration").delete()
    rollups.refresh(NOON, NOON)
    assert [r.origin for r in SpendHour.objects.all()] == ["live"]
    assert [r.origin for r in SpendDay.objects.all()] == ["live"]


def test_judgements_may_come_before_the_spend():
    rollups.record_judgements([NAMES | {"start": NOON, "judged": 2, "correct": 1}])
    record_events([make_event()])
    rollups.refresh(NOON, NOON)
    row = SpendHour.objects.get()
    assert (row.judged, row.correct, row.requests) == (2, 1, 1)


def test_the_refresher_joins_neighbouring_hours_and_marks_idle_turns(django_assert_max_num_queries):
    record_events([make_event(at=NOON + timedelta(hours=h)) for h in (0, 1, 5)])
    refresher = rollups.Refresher(every_s=60)
    refresher.touch(NOON + timedelta(hours=h) for h in (0, 1, 5))
    assert refresher.run(force=True) == 3
    assert refresher.run() == 0  # not yet time
    assert SpendHour.objects.count() == 3
    marked = rollups.as_of()
    assert refresher.run(force=True) == 0
    assert rollups.as_of() >= marked
