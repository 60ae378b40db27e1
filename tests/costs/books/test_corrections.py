"""Corrections: a new revision, the old transfer reversed, a new one booked; calls of a bill that nobody metered."""

from __future__ import annotations

import pytest

from costs import ledger, rollups
from costs.books.corrections import book_missing, correct_attempt
from costs.books.verification import verify_books
from costs.metering import record_events
from costs.models import Attempt, LedgerEntry, SpendHour
from switchyard.audit.models import AuditEvent
from tests.costs.events import NOON, make_attempt, make_event

pytestmark = pytest.mark.django_db


def spent() -> int:
    return ledger.expense_nusd(LedgerEntry.objects.all())


def test_a_correction_is_a_revision_a_reversal_and_a_new_transfer():
    record_events([make_event(make_attempt(cost_nusd=900, legs={"input": 600, "output": 300}))])
    rollups.refresh(NOON, NOON)
    old = Attempt.objects.get()
    fresh = correct_attempt(
        attempt=old, cost_nusd=1_000, tokens_in=40, tokens_out=2, reason="the vendor's bill", actor="fiona"
    )
    assert (fresh.revision, fresh.superseded, fresh.usage_source) == (1, False, "corrected")
    assert (fresh.input_nusd, fresh.output_nusd, fresh.tokens_in, fresh.tokens_out) == (667, 333, 40, 2)
    assert Attempt.objects.get(revision=0).superseded
    name = old.request_id
    assert list(LedgerEntry.objects.order_by("pk").values_list("event_id", "debit", "amount_nusd")) == [
        (f"{name}/0/0", "expense:lob:customer-service", 900),
        (f"reversal:{name}/0/0", "payable:ext-mini", 900),
        (f"{name}/0/1", "expense:lob:customer-service", 1_000),
    ]
    assert spent() == SpendHour.objects.get().cost_nusd == 1_000
    assert SpendHour.objects.get().requests == 1, "the call is counted once"
    assert AuditEvent.objects.get().detail["cost_nusd"] == [900, 1_000]
    assert verify_books(1) == []


def test_the_same_correction_twice_changes_nothing_and_only_the_newest_revision_is_corrected():
    record_events([make_event()])
    old = Attempt.objects.get()
    fresh = correct_attempt(attempt=old, cost_nusd=0, tokens_in=0, tokens_out=0, reason="refunded")
    assert correct_attempt(attempt=fresh, cost_nusd=0, tokens_in=0, tokens_out=0, reason="refunded") is fresh
    with pytest.raises(ValueError, match="superseded: correct the newest"):
        correct_attempt(
            attempt=Attempt.objects.get(pk=old.pk), cost_nusd=5, tokens_in=0, tokens_out=0, reason="x"
        )
    assert spent() == 0 and verify_books(1) == []


def test_a_redelivery_of_what_was_corrected_is_passed_over():
    event = make_event()
    record_events([event])
    correct_attempt(attempt=Attempt.objects.get(), cost_nusd=7, tokens_in=1, tokens_out=1, reason="bill")
    assert record_events([event]).conflicts == []
    assert spent() == 7 and verify_books(1) == []


@pytest.mark.parametrize(
    "change",
    [
        {"cost_nusd": -1},
        {"cost_nusd": 10**15 + 1},
        {"tokens_in": -1},
        {"tokens_out": 10**12 + 1},
        {"reason": " "},
    ],
)
def test_an_absurd_correction_is_refused(change):
    record_events([make_event()])
    figures = {"cost_nusd": 1, "tokens_in": 1, "tokens_out": 1, "reason": "bill"} | change
    with pytest.raises(ValueError):
        correct_attempt(attempt=Attempt.objects.get(), **figures)
    assert Attempt.objects.get().cost_nusd == 1_400


def test_a_billed_call_that_nobody_metered_is_the_organisations_own_expense():
    call = {
        "organisation_id": 1, "request_id": "req_unknown", "deployment": "ext-mini", "model": "txt-edge", "tokens_in": 30,
        "tokens_out": 2, "cost_nusd": 500, "at": NOON, "reason": "on the bill of 3 November",
    }  # fmt: skip
    first = book_missing(**call)
    assert book_missing(**call).pk == first.pk
    entry = LedgerEntry.objects.get()
    assert (entry.debit, entry.credit, entry.memo) == (
        "expense:unattributed",
        "payable:ext-mini",
        "on the bill of 3 November",
    )
    assert spent() == SpendHour.objects.get().cost_nusd == 500 and SpendHour.objects.get().requests == 0
    assert verify_books(1) == []


def test_a_billed_retry_of_a_known_request_is_an_attempt_of_its_own():
    event = make_event()
    record_events([event])
    extra = book_missing(
        organisation_id=1, request_id=event["request_id"], deployment="ext-mini", model="txt-edge", tokens_in=1, tokens_out=1,
        cost_nusd=5, at=NOON, reason="a retry the vendor billed", lob="customer-service",
    )  # fmt: skip
    assert (extra.attempt, extra.answered) == (1, False)
    assert spent() == 1_405 and verify_books(1) == []
