"""Decision records by the straight way are those of the long way; what needs more than a record is left to the latter."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from routing.models import DecisionRecord
from routing.selectors.decisions import KEPT
from routing.services import records, told
from switchyard.core.clock import now
from switchyard.core.ids import new_id
from tests.costs.events import make_attempt, make_event

pytestmark = pytest.mark.django_db


def event(**changes: Any) -> dict[str, Any]:
    request_id = new_id("req")
    attempt = make_attempt(legs={"input": 1_400})
    return make_event(attempt, at=now().replace(microsecond=0), request_id=request_id, decision_id=f"dec_{request_id[4:]}") | {
        "endpoint": "classifications", "sensitivity": "internal", "policy_version": "pol 1", "policy_hash": "f" * 16,
        "error_code": "", "latency_ms": 5.25, "overhead_ms": 0.5, "sealed_answers": "gAAAé", "task": "classification",
        "tier": "edge", "rule": "case 5", "stream": False, "confidence": None, "other_side_deployment": "other",
        "facts": {"request": {"tokens_in": 6, "language": "en", "difficulty": 0.25}, "data": {"entities": ["né\"e", "\\"]}},
        "trace": [{"rule": "a", "matched": True, "reason": "x > 1"}], "candidates": [], "prices": {"version": "price:1"},
        "guard": {"verdict": "pass", "mode": "observe"},
    } | changes  # fmt: skip


def read(one: dict[str, Any]) -> told.ToldEvent | None:
    return told.read_told(json.dumps(one).encode())


@pytest.mark.parametrize(
    "changes",
    [{}, {"other_side_cost_nusd": 7, "status": 503, "error_code": "upstream_busy", "deployment": "", "side": "", "model": ""},
     {"guard": {"verdict": "pass", "mode": "off"}, "shadow": {"deployment": "x"}, "unknown": 1}],
    ids=["an answer", "a refusal", "a shadow"],
)  # fmt: skip
def test_both_ways_keep_the_same_record(changes: dict[str, Any]) -> None:
    one, other = event(**changes), event(**changes)
    straight = read(one)
    assert straight is not None
    told.write_decisions([straight])
    records.record_events([other])
    own = {"id", "request_id"}
    rows = [
        {
            k: v
            for k, v in DecisionRecord.objects.filter(pk=e["decision_id"]).values().get().items()
            if k not in own
        }
        for e in (one, other)
    ]
    assert rows[0] == rows[1]


def test_a_part_that_is_absent_stays_absent() -> None:
    one = {name: value for name, value in event().items() if name not in ("trace", "guard", "confidence")}
    straight = read(one)
    assert straight is not None
    told.write_decisions([straight])
    row = DecisionRecord.objects.get()
    assert "trace" not in row.detail and "confidence" not in row.detail
    assert row.detail["guard"] == {} and row.guard_verdict == "pass"


def test_a_known_decision_is_the_databases_to_refuse() -> None:
    one = read(event())
    assert one is not None
    told.write_decisions([one])
    with pytest.raises(IntegrityError), transaction.atomic():
        told.write_decisions([one])


@pytest.mark.parametrize(
    "changes",
    [
        {"guard": {"verdict": "withhold", "kind": "bias", "score": 0.9, "threshold": 0.5, "mode": "enforce", "spans": []}},
        {"guard": {"verdict": "pass", "text": "what was said"}},
        {"guard": {"verdict": "guard_unavailable", "kind": "guard_unavailable"}},
        {"guard": []},
        {"attempts": [make_attempt(error="misconfigured", http_status=404, at_ns=1)]},
        {"kind": "feedback"},
        {"policy_version": "v" * 121},
        {"decision_id": None},
    ],
    ids=str,
)  # fmt: skip
def test_what_needs_more_than_a_record_is_left_to_the_long_way(changes: dict[str, Any]) -> None:
    assert read(event()) is not None
    assert read(event(**changes)) is None


@pytest.mark.parametrize("missing", ["decision_id", "policy_hash", "endpoint", "latency_ms"])
def test_an_event_without_its_decision_is_left_to_the_long_way(missing: str) -> None:
    assert read({name: value for name, value in event().items() if name != missing}) is None


def test_bytes_that_are_no_event_are_left_to_the_long_way() -> None:
    for body in (b"", b"not json", b'{"kind": "usage"}', b"[]", b"\xff"):
        assert told.read_told(body) is None


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite compresses nothing")
def test_a_record_is_compressed_quickly_and_has_no_index_that_nobody_reads() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT indexdef FROM pg_indexes WHERE tablename = 'routing_decisionrecord'")
        definitions = [row[0] for row in cursor.fetchall()]
        cursor.execute(
            "SELECT 'lz4' = ANY(enumvals) FROM pg_settings WHERE name = 'default_toast_compression'"
        )
        (has_lz4,) = cursor.fetchone()
        cursor.execute(
            "SELECT attcompression FROM pg_attribute WHERE attrelid = 'routing_decisionrecord'::regclass AND attname = 'detail'"
        )
        (compression,) = cursor.fetchone()
    assert len(definitions) == 4 and not any("pattern_ops" in definition for definition in definitions)
    assert compression == ("l" if has_lz4 else "")


def test_the_straight_way_knows_every_part_that_is_kept() -> None:
    own = {"at_ns", "guard"}  # told apart
    assert set(KEPT) - own <= set(told.ToldEvent.__struct_fields__)
