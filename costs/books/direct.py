"""The straight way into the books: typed events → rows made quickly → two statements, and their sums into the roll-ups.

Only for events that are as they should be: every figure within its bounds, no clock gone wrong, no closed month, no known
id. An event of another kind is left for the long way (costs.metering), and a batch that the database refuses is told again
there as a whole. Both write the same rows. PostgreSQL takes them by COPY in its binary format, SQLite as values.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from operator import attrgetter
from typing import Any, NamedTuple

from django.db import connection
from django.db.models import Max

from costs.books import fiscal, partitions
from costs.books.events import UNREADABLE, Call, UsageEvent, legs_of, read_calls
from costs.books.sanity import AHEAD_NS, BEHIND_NS
from costs.ledger import credit_account, expense_account
from costs.models import Attempt, FiscalPeriod, LedgerEntry
from costs.rollups import SUMMED
from costs.sums import NAMES, Sums
from switchyard.core import binary, plain
from switchyard.core.clock import from_ns

HOUR_NS = 3_600_000_000_000
KNOWN_NAMES = 10_000
ATTEMPT: dict[str, tuple[str, ...]] = {
    "own": ("request_id", "upstream_id", "other_side_cost_nusd"),
    "figures": ("attempt", "revision", "at", *SUMMED),
    "shared": ("superseded", "organisation_id", "lob", "application", "key_id", "workload", "deployment", "side", "model",
               "node", "purpose", "status", "batch", "usage_source", "price_version", "answered", "origin"),
}  # fmt: skip
ENTRY: dict[str, tuple[str, ...]] = {
    "own": ("event_id", "request_id"),
    "figures": ("at", "recorded_at", "amount_nusd", "attempt"),
    "shared": ("organisation_id", "debit", "credit", "lob", "application", "key_id", "workload", "purpose", "job_id", "memo",
               "price_version", "reverses_id", "origin"),
}  # fmt: skip
_EVENT_NAMES = ("organisation_id", "lob", "application", "key_id", "workload", "purpose", "origin")
_CALL_NAMES = ("deployment", "side", "model", "node", "status", "usage_source", "price_version", "batch")
_event_names, _call_names = attrgetter(*_EVENT_NAMES), attrgetter(*_CALL_NAMES)
_figures = attrgetter(*SUMMED[: SUMMED.index("cost_nusd") + 1])  # legs, savings and answers follow


class Shared(NamedTuple):
    """What rows under the same names have in common, of an attempt and of its transfer; the names of their roll-up."""

    attempt: Any
    entry: Any
    names: tuple[Any, ...]


class Way:
    """How an engine takes rows."""

    def __init__(self, engine: Any) -> None:
        self.moment = engine.moment
        self.attempts, self.entries = (
            engine.Layout(Attempt, **ATTEMPT),
            engine.Layout(LedgerEntry, **ENTRY),
        )
        self.shared = lru_cache(maxsize=KNOWN_NAMES)(self._share)

    def _share(self, key: tuple[Any, ...]) -> Shared:
        """`key`: _EVENT_NAMES, _CALL_NAMES, and whether it answered."""
        names = dict(zip((*_EVENT_NAMES, *_CALL_NAMES, "answered"), key, strict=True))
        names["node"] = names["node"] or ""
        memo = "" if names["usage_source"] == "reported" else names["usage_source"]
        accounts = {
            "debit": expense_account(names["lob"]),
            "credit": credit_account(names["side"], names["deployment"], names["node"]),
        }
        own = names | accounts | {"superseded": False, "job_id": "", "memo": memo, "reverses_id": None}
        said = tuple(own[name] for name in NAMES)
        return Shared(self.attempts.share(own), self.entries.share(own), said)


WAYS = {"postgresql": Way(binary), "sqlite": Way(plain)}


@dataclass(slots=True)
class Lines:
    """What was written, and what wasn't: `odd` are the places of events that must go the long way."""

    way: Way
    events: list[Any] = field(default_factory=list)
    odd: list[int] = field(default_factory=list)
    attempts: list[Any] = field(default_factory=list)
    sums: Sums = field(default_factory=Sums)


def write(source: Iterable[UsageEvent | None], now_ns: int) -> Lines:
    """Those of the events that are as they should be at this moment, in the caller's transaction; None stands for one that
    couldn't be read. A generator is asked for the next ones while the database takes those before.

    IntegrityError when something of it is known, or dated into a month that was closed meanwhile; DataError for text that
    the database can't keep: then the transaction is lost, and nothing is written.
    """
    lines = Lines(WAYS[connection.vendor])
    lines.way.entries.insert(_transfers(lines, source, now_ns))
    lines.way.attempts.insert(lines.attempts)
    lines.sums.write()
    return lines


def _window(now_ns: int) -> tuple[int, int]:
    """Times that may be booked as they are: no clock gone wrong, after every closed month, in partitions that were seen to."""
    since = partitions.prepared_since(from_ns(now_ns))
    if since is None:
        partitions.prepare(from_ns(now_ns), from_ns(now_ns))
        since = fiscal.month_start(from_ns(now_ns))
    closed = FiscalPeriod.objects.filter(state="closed").aggregate(end=Max("end"))["end"]
    first = max(since, closed) if closed else since
    return max(now_ns - BEHIND_NS, int(first.timestamp()) * 10**9), now_ns + AHEAD_NS


def _transfers(lines: Lines, source: Iterable[UsageEvent | None], now_ns: int) -> Iterator[Any]:
    """The transfers' rows; those of the attempts, which go next, are in `lines`."""
    low_ns, high_ns = _window(now_ns)
    recorded = lines.way.moment(now_ns)
    for place, event in enumerate(source):
        calls = _calls(event, low_ns, high_ns) if event is not None else None
        if event is None or calls is None:
            lines.odd.append(place)
            continue
        lines.events.append(event)
        yield from _add(lines, event, calls, recorded)


def _calls(event: UsageEvent, low_ns: int, high_ns: int) -> list[Call] | None:
    """The event's attempts; None when one of them is odd."""
    try:
        calls = read_calls(event.attempts)
    except UNREADABLE:
        return None
    return calls if all(_sound(call, event, low_ns, high_ns) for call in calls) else None


def _sound(call: Call, event: UsageEvent, low_ns: int, high_ns: int) -> bool:
    """Dated where it may be booked, and of parts that sum to its cost. The parts are told from now on."""
    call.at_ns = call.at_ns or event.at_ns
    return (
        low_ns <= call.at_ns <= high_ns
        and call.legs is not None
        and sum(legs_of(call.legs)) == call.cost_nusd
    )


def _add(lines: Lines, event: UsageEvent, calls: Sequence[Call], recorded: Any) -> list[Any]:
    """Rows and sums of an event's attempts to `lines`; gives the rows of its transfers."""
    entries: list[Any] = []
    way, names, request_id, answering = (
        lines.way,
        _event_names(event),
        event.request_id,
        _answering(event, calls),
    )
    for index, call in enumerate(calls):
        answered, at, cost, saved = index == answering, way.moment(call.at_ns), call.cost_nusd, call.saved
        shared = way.shared((*names, *_call_names(call), answered))
        other = event.other_side_cost_nusd if answered else None
        summed = (
            *_figures(call), *legs_of(call.legs), saved.cache, saved.batch, event.answers if answered else 0
        )  # fmt: skip
        figures = (call.attempt, call.revision, at, *summed)
        lines.attempts.append(
            way.attempts.row((request_id, call.upstream_id, other), figures, shared.attempt)
        )
        lines.sums.take(shared.names, call.at_ns // HOUR_NS, answered, call.status == "ok", other, summed)
        if cost:
            own = (f"{request_id}/{call.attempt}/{call.revision}", request_id)
            entries.append(way.entries.row(own, (at, recorded, cost, call.attempt), shared.entry))
    return entries


def _answering(event: UsageEvent, calls: Sequence[Call]) -> int:
    """As `rows.answering`; -1 when nobody answered."""
    for index in range(len(calls) - 1, -1, -1):
        if calls[index].deployment == event.deployment and calls[index].status != "error":
            return index
    return -1
