"""What can't be true is refused and alarmed; what comes twice is counted once; what came from a wrong clock is booked today."""

from __future__ import annotations

from datetime import timedelta

import pytest
import time_machine
from django.db import connection

from costs import ledger
from costs.books.verification import verify_books
from costs.metering import record_events
from costs.models import Alert, Attempt, LedgerEntry
from tests.costs.events import NOON, make_attempt, make_event, private_attempt

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def soon_after():
    with time_machine.travel(NOON + timedelta(hours=1), tick=False):
        yield


ABSURD = [
    {"tokens_in": -1}, {"tokens_out": 10**12 + 1}, {"cached_tokens_in": -5}, {"reasoning_tokens": 1.5},
    {"tokens_in": float("nan")},
    {"tokens_in": True}, {"cost_nusd": -1}, {"cost_nusd": 10**15 + 1}, {"cost_nusd": float("nan")}, {"cost_nusd": 1.5},
    {"duration_ms": float("inf")}, {"duration_ms": -1.0}, {"accelerator_ns": -1}, {"side": "elsewhere"},
    {"legs": {"input": 1_399}}, {"legs": {"tips": 1_400}},
]  # fmt: skip
if connection.vendor == "postgresql":  # SQLite keeps any text
    ABSURD += [{"deployment": "d" * 64}, {"model": "a\x00b"}]


@pytest.mark.parametrize("change", ABSURD, ids=str)
def test_usage_that_can_not_be_true_is_refused_with_an_alert_and_the_others_are_booked(change):
    bad, good = make_event(make_attempt(**change)), make_event()
    done = record_events([bad, good])
    assert done.rejected == [bad["event_id"]]
    assert Attempt.objects.get().request_id == good["request_id"]
    alert = Alert.objects.get()
    assert (alert.kind, alert.subject, alert.lob) == ("event_rejected", bad["event_id"], "customer-service")


def test_the_largest_usage_that_can_be_true_is_booked():
    record_events([make_event(make_attempt(tokens_in=10**12, cost_nusd=10**15))])
    assert Attempt.objects.get().tokens_in == 10**12 and LedgerEntry.objects.get().amount_nusd == 10**15


def test_the_same_event_with_another_content_is_refused_and_alarmed_and_what_is_booked_stands():
    event = make_event(make_attempt(cost_nusd=100), private_attempt(cost_nusd=200))
    record_events([event])
    changed = event | {
        "attempts": [event["attempts"][0] | {"cost_nusd": 999, "tokens_in": 21}, event["attempts"][1]]
    }
    other = make_event()
    for _ in range(2):
        done = record_events([changed, other])
        assert done.conflicts == [f"{event['request_id']}/0/0"]
    assert ledger.expense_nusd(LedgerEntry.objects.all()) == 300 + 1_400
    alert = Alert.objects.get()
    assert (alert.kind, alert.lob) == ("event_conflict", "customer-service")
    assert (
        "cost_nusd" in alert.message
        and "tokens_in" in alert.message
        and "What is booked stands" in alert.message
    )
    assert verify_books(1) == []


def test_a_free_attempt_told_again_with_a_price_books_nothing():
    event = make_event(make_attempt(cost_nusd=0))
    record_events([event])
    assert record_events([event | {"attempts": [event["attempts"][0] | {"cost_nusd": 5}]}]).conflicts
    assert not LedgerEntry.objects.exists() and verify_books(1) == []


def test_two_contents_in_one_batch_are_a_conflict_too():
    event = make_event()
    done = record_events([event, event, event | {"lob": "legal"}])
    assert (done.attempts, len(done.conflicts)) == (1, 1)
    assert LedgerEntry.objects.get().lob == "customer-service"


def test_an_estimate_is_corrected_by_the_calls_own_word_once():
    told = make_attempt(cost_nusd=9_000, usage_source="estimated")
    event = make_event(told)
    record_events([event])
    assert LedgerEntry.objects.get().memo == "estimated"
    real = event | {"attempts": [event["attempts"][0] | {"cost_nusd": 1_000, "usage_source": "reported"}]}
    for _ in range(3):
        assert record_events([real]).conflicts == []
    assert record_events([event]).conflicts == [], "and the estimate may come again"
    assert [a.cost_nusd for a in Attempt.objects.filter(superseded=False)] == [1_000]
    assert ledger.expense_nusd(LedgerEntry.objects.all()) == 1_000
    assert not Alert.objects.exists() and verify_books(1) == []


@pytest.mark.parametrize(
    "off", [timedelta(minutes=66), timedelta(days=4000), -timedelta(days=401), -timedelta(days=20_000)]
)
def test_a_wrong_clock_is_booked_when_it_came_with_the_time_it_said(off):
    events = [make_event(at=NOON + off), make_event(at=NOON + off)]
    record_events(events)
    record_events(events)
    came = NOON + timedelta(hours=1)
    said = NOON + off
    assert {(e.at, e.memo) for e in LedgerEntry.objects.all()} == {
        (came, f"clock skew: dated {said:%Y-%m-%dT%H:%M:%SZ}")
    }
    assert {a.at for a in Attempt.objects.all()} == {came} and Attempt.objects.count() == 2
    assert Alert.objects.get().kind == "clock_skew"


@pytest.mark.parametrize("off", [timedelta(minutes=64), -timedelta(days=399)])
def test_a_clock_that_may_be_right_is_believed(off):
    record_events([make_event(at=NOON + off)])
    assert LedgerEntry.objects.get().at == NOON + off and not Alert.objects.exists()
