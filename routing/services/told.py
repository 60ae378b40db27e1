"""Typed usage events of the gateway → decision records, in bulk: what stays JSON is written as it came.

Only for events that need nothing but their record: a guard's finding or an upstream's refusal is read
the long way (routing.services.records). Both write the same rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Annotated, Any

import msgspec
from django.db import connection
from msgspec import Meta, Raw

from costs.books.events import UNREADABLE, Key, Money, Name, Small, UsageEvent
from costs.demonstration import ORIGIN
from routing.models import DecisionRecord
from routing.proofs.leaves import Line, with_hops
from routing.proofs.seals import seal
from routing.selectors.decisions import KEPT
from switchyard.core import binary, plain

KNOWN_NAMES = 10_000
_SHARED = (
    "organisation_id", "lob", "application", "key_id", "workload", "endpoint", "sensitivity", "side", "deployment", "model",
    "policy_version", "policy_hash", "error_code", "origin",
)  # fmt: skip
DECISION: dict[str, tuple[str, ...]] = {
    "own": ("id", "request_id", "other_side_cost_nusd", "detail", "sealed_answers"),
    "figures": ("status", "cost_nusd", "latency_ms", "overhead_ms", "answers", "at"),
    "shared": (*_SHARED, "guard_verdict"),
}
ABSENT = Raw(b"")
Milliseconds = Annotated[float, Meta(ge=0)]


class ToldEvent(UsageEvent, gc=False, kw_only=True):
    """What a decision's record needs as well. Parts that are only kept stay JSON; absent ones are left out."""

    decision_id: Key
    deployment: Name
    endpoint: Key
    sensitivity: Annotated[str, Meta(max_length=12)]
    side: Annotated[str, Meta(max_length=8)]
    model: Annotated[str, Meta(max_length=120)]
    policy_version: Annotated[str, Meta(max_length=120)]
    policy_hash: Annotated[str, Meta(max_length=64)]
    status: Small
    error_code: Annotated[str, Meta(max_length=60)]
    cost_nusd: Money
    latency_ms: Milliseconds
    overhead_ms: Milliseconds
    sealed_answers: str
    guard: Raw = ABSENT
    facts: Raw = ABSENT
    trace: Raw = ABSENT
    candidates: Raw = ABSENT
    prices: Raw = ABSENT
    rule: Raw = ABSENT
    tier: Raw = ABSENT
    task: Raw = ABSENT
    stream: Raw = ABSENT
    confidence: Raw = ABSENT
    shadow: Raw = ABSENT
    learned: Raw = ABSENT
    found: Raw = ABSENT
    masked: Raw = ABSENT
    beside: Raw = ABSENT
    other_side_deployment: Raw = ABSENT
    cache: Raw = ABSENT


_read = msgspec.json.Decoder(ToldEvent).decode
_read_guard = msgspec.json.Decoder(dict[str, Any]).decode
_PREFIXES = tuple(f',"{name}":'.encode() for name in KEPT if name not in ("at_ns", "guard"))
_kept = attrgetter(*(name for name in KEPT if name not in ("at_ns", "guard")))
_names, _figures = attrgetter(*_SHARED), attrgetter(*DECISION["figures"][:-1])
_guards: dict[bytes, str | None] = {}  # JSON → verdict, None for one that found something


class Way:
    """How an engine takes rows."""

    def __init__(self, engine: Any) -> None:
        self.moment, self.layout = engine.moment, engine.Layout(DecisionRecord, **DECISION)
        self.shared = lru_cache(maxsize=KNOWN_NAMES)(self._share)

    def _share(self, key: tuple[Any, ...]) -> Any:
        """What rows have in common; `key`: _SHARED, and the guard's verdict."""
        return self.layout.share(dict(zip(DECISION["shared"], key, strict=True)))


WAYS = {"postgresql": Way(binary), "sqlite": Way(plain)}


def read_told(body: bytes) -> ToldEvent | None:
    """The event, when its record is all it needs here; None when it must be read the long way."""
    try:
        event = _read(body)
    except UNREADABLE:
        return None
    plain = b'"misconfigured"' not in bytes(event.attempts) and _verdict(event.guard) is not None
    return event if plain else None


def _verdict(guard: Raw) -> str | None:
    """Most guards say the same few things."""
    raw = bytes(guard)
    if raw in _guards:
        return _guards[raw]
    if len(_guards) >= KNOWN_NAMES:
        _guards.clear()
    _guards[raw] = _plain_verdict(raw)
    return _guards[raw]


def _plain_verdict(raw: bytes) -> str | None:
    try:
        said = _read_guard(raw) if raw else {}
    except UNREADABLE:
        return None
    verdict = said.get("verdict", "pass")
    found = said.get("kind") or "text" in said or verdict == "guard_unavailable"
    return verdict if not found and isinstance(verdict, str) and len(verdict) <= 12 else None


def write_decisions(events: Sequence[ToldEvent]) -> None:
    """In the caller's transaction. IntegrityError when one is known, DataError for what the database can't keep."""
    way = WAYS[connection.vendor]
    way.layout.insert(_rows(way, events))
    seal(_lines(events))


class _Tried(msgspec.Struct, gc=False):
    deployment: str
    side: str
    masked: bool = False


_read_attempts = msgspec.json.Decoder(list[_Tried]).decode


def _lines(events: Sequence[ToldEvent]) -> Iterator[Line]:
    """What is sealed of them: see routing.proofs."""
    for event in events:
        if event.origin != ORIGIN:
            sent = [(t.deployment, t.side, t.masked) for t in _read_attempts(event.attempts)]
            yield Line(
                event.organisation_id, event.decision_id, event.at_ns // 1000, event.lob, event.sensitivity,
                event.policy_hash, with_hops(sent, bytes(event.shadow) not in (b"", b"null")),
            )  # fmt: skip


def _rows(way: Way, events: Sequence[ToldEvent]) -> Iterator[Any]:
    row = way.layout.row
    for event in events:
        own = (
            event.decision_id, event.request_id, event.other_side_cost_nusd, _detail(event), event.sealed_answers,
        )  # fmt: skip
        shared = way.shared((*_names(event), _verdict(event.guard)))
        yield row(own, (*_figures(event), way.moment(event.at_ns)), shared)


def _detail(event: ToldEvent) -> bytes:
    """The parts that are kept, as they came."""
    told = [b'{"at_ns":%d,"guard":' % event.at_ns, event.guard or b"{}"]
    for prefix, raw in zip(_PREFIXES, _kept(event), strict=True):
        if raw:
            told += (prefix, raw)
    told.append(b"}")
    return b"".join(told)
