"""Events that say what can't be true: refused by name, alarmed, and never half booked. The others of their batch are kept."""

from __future__ import annotations

from typing import Any

import pytest

from costs import metering
from costs.books.verification import verify_books
from costs.models import Alert, Attempt, LedgerEntry
from switchyard.core.clock import now
from tests.costs.events import make_attempt, make_event

pytestmark = pytest.mark.django_db
COST = 1_400

ABSURD: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "answers below zero": ({"answers": -3}, {}),
    "answers as text": ({"answers": "many"}, {}),
    "more answers than a column holds": ({"answers": 2**70}, {}),
    "no model": ({}, {"model": None}),
    "no status": ({}, {"status": None}),
    "no line of business": ({"lob": None}, {}),
    "a line of business of 500 letters": ({"lob": "x" * 500}, {}),
    "an attempt below zero": ({}, {"attempt": -1}),
    "the other side below zero": ({"other_side_cost_nusd": -5}, {}),
    "a part of a nano-dollar": ({"other_side_cost_nusd": 1.5}, {}),
    "the other side beyond all money": ({"other_side_cost_nusd": 2**70}, {}),
    "a leg below zero": ({}, {"legs": {"input": 2 * COST, "output": -COST}}),
    "a leg that is no whole number": ({}, {"legs": {"input": float(COST)}}),
    "savings as text": ({}, {"saved": {"cache": "x"}}),
    "savings beyond all money": ({}, {"saved": {"cache": -(10**30)}}),
    "half a nanosecond": ({}, {"accelerator_ns": 1.5}),
    "an unknown purpose": ({"purpose": "fun"}, {}),
    "an unknown origin": ({"origin": "moon"}, {}),
    "an unknown source of usage": ({}, {"usage_source": "guessed"}),
    "an organisation below zero": ({"organisation_id": -1}, {}),
}


@pytest.mark.parametrize(("of_event", "of_attempt"), ABSURD.values(), ids=list(ABSURD))
def test_an_absurd_event_is_refused_with_an_alert_and_leaves_nothing(
    of_event: dict[str, Any], of_attempt: dict[str, Any]
) -> None:
    absurd = make_event(make_attempt(cost_nusd=COST), at=now(), **of_event)
    absurd["attempts"][0] |= of_attempt
    good = make_event(make_attempt(cost_nusd=COST), at=now())
    done = metering.record_events([absurd, good])
    assert done.rejected == [absurd["event_id"]]
    assert Alert.objects.filter(kind="event_rejected", subject=absurd["event_id"]).count() == 1
    assert list(Attempt.objects.values_list("request_id", flat=True)) == [good["request_id"]]
    assert list(LedgerEntry.objects.values_list("request_id", flat=True)) == [good["request_id"]]
    assert verify_books(1) == []
