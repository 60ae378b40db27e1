"""What was booked is in the roll-ups at once, by whichever way it came, however often, and nothing is in them twice."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import orjson
import pytest
from django.db import IntegrityError, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from costs import rollups
from costs.books import direct
from costs.books.events import read_event
from costs.metering import record_events
from costs.models import Attempt, LedgerEntry, SpendDay, SpendHour
from switchyard.core.clock import now, now_ns
from switchyard.core.ids import new_id
from tests.costs.events import make_attempt, make_event, private_attempt
from tests.costs.level import assert_level

pytestmark = pytest.mark.django_db

CALLS = st.lists(
    st.builds(
        lambda private, status, cost, tokens, audio: (private_attempt if private else make_attempt)(
            status=status, cost_nusd=cost, legs={"compute" if private else "audio_input": cost}, tokens_in=tokens,
            audio_tokens_in=audio, saved={"cache": tokens}, usage_source="estimated" if audio else "reported",
        ),  # fmt: skip
        st.booleans(), st.sampled_from(["ok", "error", "cut"]), st.integers(0, 10**12), st.integers(0, 10**9), st.integers(0, 3),
    ),
    min_size=1, max_size=3,
)  # fmt: skip
EVENTS = st.lists(
    st.fixed_dictionaries(
        {
            "calls": CALLS, "hours": st.integers(0, 30), "lob": st.sampled_from(["legal", "care"]),
            "other": st.one_of(st.none(), st.integers(0, 10**9)), "answers": st.integers(0, 3),
            "straight": st.booleans(), "again": st.booleans(),
        }
    ),
    min_size=1, max_size=8,
)  # fmt: skip


def told(one: dict[str, Any]) -> dict[str, Any]:
    at = now().replace(microsecond=0) - timedelta(hours=one["hours"])
    return make_event(
        *one["calls"], at=at, request_id=new_id("req"), lob=one["lob"], answers=one["answers"],
        other_side_cost_nusd=one["other"],
    )  # fmt: skip


def straight(*events: dict[str, Any]) -> None:
    with transaction.atomic():
        lines = direct.write([read_event(orjson.dumps(event)) for event in events], now_ns())
    assert lines.odd == []


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(EVENTS)
def test_roll_ups_are_what_their_attempts_come_to(batch: list[dict[str, Any]]) -> None:
    with transaction.atomic():
        events = [told(one) for one in batch]
        record_events([e for e, one in zip(events, batch, strict=True) if not one["straight"]])
        straight(*[e for e, one in zip(events, batch, strict=True) if one["straight"]])
        record_events([e for e, one in zip(events, batch, strict=True) if one["again"]])
        if Attempt.objects.exists():
            assert_level()
        transaction.set_rollback(True)


def test_a_batch_that_is_refused_adds_nothing() -> None:
    known = make_event(make_attempt(legs={"input": 1_400}), at=now(), request_id=new_id("req"))
    straight(known)
    fresh = make_event(make_attempt(legs={"input": 1_400}), at=now(), request_id=new_id("req"))
    with pytest.raises(IntegrityError), transaction.atomic():
        straight(fresh, known)
    record_events([fresh, known, known])
    assert sum(row.requests for row in SpendHour.objects.all()) == Attempt.objects.count() == 2
    assert_level()


def test_a_call_that_was_estimated_and_then_told_counts_once() -> None:
    real = make_event(make_attempt(legs={"input": 1_400}), at=now(), request_id=new_id("req"))
    estimate = real["attempts"][0] | {
        "usage_source": "estimated",
        "cost_nusd": 5_000,
        "legs": {"input": 5_000},
    }
    record_events([real | {"attempts": [estimate], "cost_nusd": 5_000}])
    assert SpendDay.objects.get().cost_nusd == 5_000
    record_events([real])
    assert SpendHour.objects.get().cost_nusd == SpendDay.objects.get().cost_nusd == 1_400
    assert LedgerEntry.objects.count() == 3  # the estimate, its reversal, the call's own
    assert_level()


def test_adding_touches_neither_judgements_nor_variances() -> None:
    one = make_event(make_attempt(legs={"input": 1_400}), at=now(), request_id=new_id("req"))
    straight(one)
    names = {name: getattr(SpendHour.objects.get(), name) for name in SpendHour.NAMES}
    rollups.record_judgements([names | {"judged": 4, "correct": 3}])
    SpendHour.objects.update(variance_nusd=7)
    record_events([make_event(make_attempt(legs={"input": 1_400}), at=now(), request_id=new_id("req"))])
    row = SpendHour.objects.get()
    assert (row.judged, row.correct, row.variance_nusd, row.requests) == (4, 3, 7, 2)
