"""The straight way into the books in PostgreSQL: typed events → binary rows → two COPYs.

Only for events that are as they should be: every figure within its bounds, no clock gone wrong, no closed month, no known
id. An event of another kind is left for the long way (costs.metering), and a batch that the database refuses is told again
there as a whole. Both write the same rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any

from django.db import connection
from django.db.models import Max

from costs.books import fiscal, partitions
from costs.books.events import UNREADABLE, Call, UsageEvent, legs_of, read_calls
from costs.books.sanity import AHEAD_NS, BEHIND_NS
from costs.ledger import credit_account, expense_account
from costs.models import LEGS, Attempt, FiscalPeriod, LedgerEntry
from switchyard.core import binary
from switchyard.core.clock import from_ns

HOUR_NS = 3_600_000_000_000
KNOWN_NAMES = 10_000
_FIGURES = (
    "attempt", "revision", "tokens_in", "tokens_out", "cached_tokens_in", "cache_write_tokens", "reasoning_tokens",
    "audio_tokens_in", "audio_tokens_out", "searches", "accelerator_ns", "duration_ms", "cost_nusd",
)  # fmt: skip
ATTEMPTS = binary.Layout(
    Attempt,
    own=("request_id", "upstream_id", "other_side_cost_nusd"),
    figures=(*_FIGURES, *(f"{leg}_nusd" for leg in LEGS), "saved_cache_nusd", "saved_batch_nusd", "answers", "at"),
    shared=("superseded", "organisation_id", "lob", "application", "key_id", "workload", "deployment", "side", "model",
            "node", "purpose", "status", "batch", "usage_source", "price_version", "answered", "origin"),
)  # fmt: skip
ENTRIES = binary.Layout(
    LedgerEntry,
    own=("event_id", "request_id"),
    figures=("at", "recorded_at", "amount_nusd", "attempt"),
    shared=("organisation_id", "debit", "credit", "lob", "application", "key_id", "workload", "purpose", "job_id", "memo",
            "price_version", "reverses_id", "origin"),
)  # fmt: skip
_EVENT_NAMES = ("organisation_id", "lob", "application", "key_id", "workload", "purpose", "origin")
_CALL_NAMES = ("deployment", "side", "model", "node", "status", "usage_source", "price_version", "batch")
_figures, _event_names, _call_names = (
    attrgetter(*_FIGURES),
    attrgetter(*_EVENT_NAMES),
    attrgetter(*_CALL_NAMES),
)
_shared: dict[tuple[Any, ...], tuple[bytes, bytes]] = {}  # names → their part of both rows


@dataclass(slots=True)
class Lines:
    """What was written, and what wasn't: `odd` are the places of events that must go the long way."""

    events: list[Any] = field(default_factory=list)
    odd: list[int] = field(default_factory=list)
    attempts: list[bytes] = field(default_factory=list)
    hours: set[int] = field(default_factory=set)  # since the epoch, in which something was booked

    def touched(self) -> set[tuple[int, datetime]]:
        """(organisation, hour) to roll up."""
        hours = [datetime.fromtimestamp(hour * 3600, UTC) for hour in self.hours]
        return {(pk, hour) for pk in {event.organisation_id for event in self.events} for hour in hours}


def usable() -> bool:
    return connection.vendor == "postgresql"


def write(source: Iterable[UsageEvent | None], now_ns: int) -> Lines:
    """Those of the events that are as they should be at this moment, in the caller's transaction; None stands for one that
    couldn't be read. A generator is asked for the next ones while the database takes those before.

    IntegrityError when something of it is known, or dated into a month that was closed meanwhile; DataError for text that
    the database can't keep: then the transaction is lost, and nothing is written.
    """
    lines = Lines()
    ENTRIES.copy(_transfers(lines, source, now_ns))
    ATTEMPTS.copy(lines.attempts)
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


def _transfers(lines: Lines, source: Iterable[UsageEvent | None], now_ns: int) -> Iterator[bytes]:
    """Parts of the transfers' rows; those of the attempts, which go next, are in `lines`."""
    low_ns, high_ns = _window(now_ns)
    recorded = binary.moment(now_ns)
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


def _add(lines: Lines, event: UsageEvent, calls: Sequence[Call], recorded: int) -> list[bytes]:
    """Rows of an event's attempts to `lines`; gives those of its transfers."""
    parts: list[bytes] = []
    request, answering = binary.text(event.request_id), _answering(event, calls)
    names = _event_names(event)
    for index, call in enumerate(calls):
        answered, at, cost = index == answering, binary.moment(call.at_ns), call.cost_nusd
        key = (*names, *_call_names(call), answered)
        shared = _shared.get(key) or _share(key)
        saved = call.saved
        figures = (
            *_figures(call),
            *legs_of(call.legs),
            saved.cache,
            saved.batch,
            event.answers if answered else 0,
            at,
        )
        other = binary.big(event.other_side_cost_nusd if answered else None)
        lines.attempts += (
            ATTEMPTS.head, request, binary.text(call.upstream_id), other, ATTEMPTS.pack(figures), shared[0],
        )  # fmt: skip
        lines.hours.add(call.at_ns // HOUR_NS)
        if cost:
            event_id = binary.text(f"{event.request_id}/{call.attempt}/{call.revision}")
            parts += (
                ENTRIES.head, event_id, request, ENTRIES.pack((at, recorded, cost, call.attempt)), shared[1],
            )  # fmt: skip
    return parts


def _answering(event: UsageEvent, calls: Sequence[Call]) -> int:
    """As `rows.answering`; -1 when nobody answered."""
    for index in range(len(calls) - 1, -1, -1):
        if calls[index].deployment == event.deployment and calls[index].status != "error":
            return index
    return -1


def _share(key: tuple[Any, ...]) -> tuple[bytes, bytes]:
    """What rows under the same names have in common, of an attempt and of its transfer."""
    names = dict(zip((*_EVENT_NAMES, *_CALL_NAMES, "answered"), key, strict=True))
    names["node"] = names["node"] or ""
    memo = "" if names["usage_source"] == "reported" else names["usage_source"]
    accounts = {
        "debit": expense_account(names["lob"]),
        "credit": credit_account(names["side"], names["deployment"], names["node"]),
    }
    if len(_shared) >= KNOWN_NAMES:
        _shared.clear()
    own = names | accounts | {"superseded": False, "job_id": "", "memo": memo, "reverses_id": None}
    _shared[key] = ATTEMPTS.share(own), ENTRIES.share(own)
    return _shared[key]
