"""The straight way into the books writes what the long way writes, and takes nothing that the long way would refuse."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from django.db import IntegrityError, transaction
from hypothesis import given
from hypothesis import strategies as st

from costs import metering
from costs.books import direct, partitions, rows
from costs.books.closing import close_period, ensure_periods
from costs.books.events import UNREADABLE, Call, UsageEvent, read_event
from costs.books.verification import verify_books
from costs.models import LEGS, Attempt, LedgerEntry
from switchyard.core import binary, plain
from switchyard.core.bulk import stored
from switchyard.core.clock import from_ns, now, now_ns
from switchyard.core.ids import new_id
from tests.costs.books.test_absurd_events import ABSURD, COST
from tests.costs.events import make_attempt, make_event, private_attempt

pytestmark = pytest.mark.django_db
OWN = {"id", "request_id", "event_id", "recorded_at", "recorded", "reverses"}


def body(event: Mapping[str, Any]) -> bytes:
    return json.dumps(event).encode()


def with_legs(attempt: dict[str, Any], *legs: int) -> dict[str, Any]:
    """The attempt with these parts, and their sum for its cost."""
    return attempt | {"legs": dict(zip(LEGS, legs, strict=False)), "cost_nusd": sum(legs)}


def straight(*events: Mapping[str, Any]) -> list[int]:
    """Write them the straight way; gives the places of those left over."""
    with transaction.atomic():
        return direct.write([read_event(body(event)) for event in events], now_ns()).odd


def rows_of(model: Any, request_id: str) -> list[dict[str, Any]]:
    found = model.objects.filter(request_id=request_id).order_by("attempt").values()
    return [{name: value for name, value in row.items() if name not in OWN} for row in found]


SHAPES: dict[str, tuple[list[dict[str, Any]], dict[str, Any]]] = {
    "a vendor's answer": ([with_legs(make_attempt(), 700, 0, 0, 700)], {"other_side_cost_nusd": 900}),
    "our own answer": ([private_attempt(legs={"compute": 900})], {}),
    "every part and both savings": (
        [with_legs(make_attempt(saved={"cache": -40, "batch": 7}, batch=True, cache_write_tokens=3), *range(1, 10))], {},
    ),
    "one that failed, one that answered": (
        [with_legs(make_attempt(status="error", error="upstream_error"), 10), private_attempt(legs={"compute": 900})],
        {"other_side_cost_nusd": 5},
    ),
    "a cut call": ([with_legs(make_attempt(usage_source="estimated", status="cut"), 55)], {"deployment": "", "answers": 0}),
    "a call that cost nothing": ([with_legs(make_attempt(), 0)], {}),
    "nobody was asked": ([], {"attempts": []}),
    "letters of many languages": (
        [with_legs(make_attempt(model="Größe-模型\t\\N\n", upstream_id="é\\x"), 5)], {"lob": "straße", "application": ""},
    ),
    "a label of its own": ([with_legs(make_attempt(), 4)], {"purpose": "judge", "origin": "job", "key_id": ""}),
    "no node": ([with_legs(make_attempt(node=None), 4)], {}),
}  # fmt: skip


@pytest.mark.parametrize(("attempts", "changes"), SHAPES.values(), ids=list(SHAPES))
def test_both_ways_write_the_same_rows(attempts: list[dict[str, Any]], changes: dict[str, Any]) -> None:
    at = now().replace(microsecond=0)
    one, other = (make_event(*attempts, at=at, request_id=new_id("req"), **changes) for _ in range(2))
    assert straight(one) == []
    metering.record_events([other])
    for model in (Attempt, LedgerEntry):
        assert rows_of(model, one["request_id"]) == rows_of(model, other["request_id"])
    booked = LedgerEntry.objects.filter(request_id=one["request_id"]).values_list("event_id", flat=True)
    assert sorted(booked) == [
        f"{one['request_id']}/{a['attempt']}/0" for a in one["attempts"] if a["cost_nusd"]
    ]
    assert verify_books(1) == []


def test_a_known_event_ends_the_straight_way_and_the_long_one_passes_it_over() -> None:
    known, new = (
        make_event(with_legs(make_attempt(), 9), at=now(), request_id=new_id("req")) for _ in range(2)
    )
    assert straight(known) == []
    with pytest.raises(IntegrityError), transaction.atomic():
        straight(new, known)
    assert Attempt.objects.count() == 1  # nothing of the batch is left
    done = metering.record_events([new, known])
    assert (done.attempts, done.entries, done.conflicts) == (1, 1, [])
    assert Attempt.objects.count() == LedgerEntry.objects.count() == 2
    assert verify_books(1) == []


@pytest.mark.parametrize(("of_event", "of_attempt"), ABSURD.values(), ids=list(ABSURD))
def test_what_can_not_be_true_is_left_to_the_long_way(
    of_event: dict[str, Any], of_attempt: dict[str, Any]
) -> None:
    absurd = make_event(with_legs(make_attempt(), COST), at=now(), **of_event)
    absurd["attempts"][0] |= of_attempt
    assert not taken(absurd)


@pytest.mark.parametrize(
    "change",
    [
        {"legs": {"input": COST + 1}}, {"legs": {"tea": COST}}, {"tokens_in": -1}, {"tokens_in": 1.0}, {"tokens_in": True},
        {"tokens_out": 10**12 + 1}, {"cost_nusd": 10**15 + 1}, {"duration_ms": -1.0}, {"side": "both"}, {"batch": 1},
    ],
    ids=str,
)  # fmt: skip
def test_a_figure_that_is_not_plain_is_left_to_the_long_way(change: dict[str, Any]) -> None:
    event = make_event(with_legs(make_attempt(), COST), at=now())
    event["attempts"][0] |= change
    assert not taken(event)


def taken(event: Mapping[str, Any]) -> bool:
    """Whether the straight way would write it."""
    try:
        told = read_event(body(event))
    except UNREADABLE:
        return False
    lines = direct.Lines(direct.WAYS["postgresql"])
    list(direct._transfers(lines, [told], now_ns()))
    return lines.odd == []


def test_a_month_nobody_prepared_goes_the_long_way_which_prepares_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partitions, "_prepared", set())
    plain, last_month = [with_legs(make_attempt(), 3)], now().replace(day=1) - timedelta(days=3)
    assert taken(make_event(*plain, at=now())) and not taken(make_event(*plain, at=last_month))
    metering.record_events([make_event(*plain, at=last_month, request_id=new_id("req"))])
    assert taken(make_event(*plain, at=last_month))


def test_wrong_clocks_and_closed_months_are_left_to_the_long_way() -> None:
    plain = [with_legs(make_attempt(), 3)]
    assert taken(make_event(*plain, at=now()))
    for days in (-401, 1):
        assert not taken(make_event(*plain, at=now() + timedelta(days=days)))
    last_month = now().replace(day=1) - timedelta(days=3)
    partitions.prepare(last_month, now())
    assert taken(make_event(*plain, at=last_month))
    ensure_periods(1)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("costs.books.closing._on_their_way", lambda *words: [])
        close_period(organisation_id=1, month=last_month)
    assert not taken(make_event(*plain, at=last_month))
    assert taken(make_event(*plain, at=now()))


def test_a_time_is_text_as_the_database_keeps_it() -> None:
    for at_ns, said in (
        (1_795_747_563_617_941_000, "2026-11-27 02:46:03.617941"), (1_795_747_563_000_000_000, "2026-11-27 02:46:03"),
        (0, "1970-01-01 00:00:00"),
    ):  # fmt: skip
        assert plain.moment(at_ns) == stored(from_ns(at_ns)) == said


FIGURES = st.one_of(
    st.integers(-(2**70), 2**70),
    st.integers(0, 1000),
    st.floats(0, 9),
    st.booleans(),
    st.none(),
    st.text(max_size=3),
)
WORDS = st.one_of(
    st.text(max_size=130),
    st.none(),
    st.integers(),
    st.sampled_from(["answer", "live", "reported", "private"]),
)
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("attempt", "revision", "tokens_in", "cached_tokens_in", "accelerator_ns", "cost_nusd"), FIGURES),
        **dict.fromkeys(("deployment", "side", "model", "node", "upstream_id", "status", "usage_source", "price_version"), WORDS),
        "duration_ms": FIGURES,
        "legs": st.one_of(st.none(), st.dictionaries(st.sampled_from([*LEGS, "tea"]), FIGURES, max_size=3)),
    },
)  # fmt: skip
OF_EVENT = st.fixed_dictionaries(
    {},
    optional={
        "organisation_id": FIGURES, "answers": FIGURES, "other_side_cost_nusd": FIGURES,
        **dict.fromkeys(("lob", "application", "key_id", "workload", "purpose", "origin"), WORDS),
    },
)  # fmt: skip


@given(OF_EVENT, CHANGES)
def test_the_straight_way_takes_nothing_that_the_long_way_refuses(
    of_event: dict[str, Any], of_attempt: dict[str, Any]
) -> None:
    event = make_event(with_legs(make_attempt(), COST), at=now(), **of_event)
    event["attempts"][0] |= of_attempt
    try:
        told = read_event(body(event))
        calls = msgspec.json.decode(told.attempts, type=list[Call])
    except UNREADABLE:
        return
    if all(call.legs is not None and sum(direct.legs_of(call.legs)) == call.cost_nusd for call in calls):
        for item in event["attempts"]:
            rows.attempt_values(event, item, answered=True)  # raises for what can't be true


def test_texts_are_bounded_as_their_columns_are() -> None:
    for struct in (UsageEvent, Call):
        for field in msgspec.inspect.type_info(struct).fields:  # type: ignore[union-attr]
            kinds = getattr(field.type, "types", [field.type])
            for kind in kinds:
                if isinstance(kind, msgspec.inspect.StrType) and kind.max_length is not None:
                    column = Attempt._meta.get_field(field.name)
                    assert kind.max_length == column.max_length, field.name


def test_a_layout_names_each_column_once() -> None:
    with pytest.raises(ValueError, match="revision"):
        binary.Layout(Attempt, **direct.ATTEMPT | {"figures": direct.ATTEMPT["figures"][2:]})
    with pytest.raises(ValueError, match="doubles"):
        plain.Layout(LedgerEntry, **direct.ENTRY | {"figures": (*direct.ENTRY["figures"], "attempt")})


def test_a_row_is_what_postgresql_documents_as_binary() -> None:
    """By hand: 20 fields; lengths of 4 bytes, big-endian; microseconds since 2000."""
    entries = direct.WAYS["postgresql"].entries
    assert entries.head == (19).to_bytes(2, "big")
    assert binary.text("é") == b"\0\0\0\2\xc3\xa9"
    assert binary.big(None) == b"\xff\xff\xff\xff" and binary.big(1) == b"\0\0\0\x08" + b"\0" * 7 + b"\1"
    assert binary.moment(946_684_800_000_000_000 + 1_999) == 1
    packed = entries.pack((1, 2, 3, 4))
    assert packed == b"".join(b"\0\0\0\x08" + n.to_bytes(8, "big") for n in (1, 2, 3)) + b"\0\0\0\2\0\4"
