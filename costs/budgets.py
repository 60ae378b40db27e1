"""What was spent of a budget: from the ledger, from the counters, and alerts when it gets close."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
import redis
from django.conf import settings
from django.db import close_old_connections
from django.db.models import QuerySet

from costs.contracts import BudgetLimit
from costs.ledger import expense_nusd
from costs.models import Alert, Budget, LedgerEntry
from costs.periods import counter_key, period_bounds, period_seconds
from costs.selectors import limit_of
from switchyard.core.clock import now
from switchyard.core.money import format_usd

log = logging.getLogger(__name__)
STREAM = "sy:usage"
PENDING_MAX = 50_000
REBUILD_BACKLOG_MAX = (
    5_000  # every counter's rebuild reads the backlog; while it is long, counters stay as they are
)
# Counters move while the ledger is read: what they gained meanwhile is added to what was computed.
SET_COUNTER = """
local before = tonumber(ARGV[2])
local gained = 0
local current = redis.call('HGET', KEYS[1], 'spent')
if current and before >= 0 then gained = tonumber(current) - before end
if current and before < 0 then return current end
redis.call('HSET', KEYS[1], 'spent', string.format('%.0f', tonumber(ARGV[1]) + gained), 'limit', ARGV[3])
redis.call('HSETNX', KEYS[1], 'reserved', 0)
if tonumber(ARGV[4]) > 0 then redis.call('EXPIREAT', KEYS[1], ARGV[4]) end
return redis.call('HGET', KEYS[1], 'spent')
"""


@dataclass(frozen=True, slots=True)
class Headroom:
    """A budget in its present period, in nano-dollars. `source` says where spent comes from."""

    budget_id: int
    scope: str
    period: str
    start: datetime
    end: datetime | None
    limit_nusd: int
    spent_nusd: int
    reserved_nusd: int
    source: str  # counters | ledger

    @property
    def left_nusd(self) -> int:
        return max(0, self.limit_nusd - self.spent_nusd - self.reserved_nusd)

    @property
    def used_pct(self) -> float:
        return 100 * self.spent_nusd / self.limit_nusd if self.limit_nusd else 100.0


def client() -> redis.Redis:
    return redis.Redis.from_url(settings.REDIS_URL, socket_timeout=2, socket_connect_timeout=1)


def entries_of(limit: BudgetLimit, start: datetime, end: datetime | None) -> QuerySet[LedgerEntry]:
    """The ledger rows that count against a budget. The replayed history was nobody's spending."""
    rows = LedgerEntry.objects.filter(organisation_id=limit.organisation_id, at__gte=start)
    rows = rows.exclude(origin="demonstration")
    if end is not None:
        rows = rows.filter(at__lt=end)
    kind, _, name = limit.scope.partition(":")
    if kind == "lob":
        return rows.filter(lob=name)
    if kind == "application":
        return rows.filter(application=name, **({"lob": limit.lob} if limit.lob else {}))
    if kind == "key":
        return rows.filter(key_id=name)
    return rows


def spent_in_ledger(limit: BudgetLimit, start: datetime, end: datetime | None) -> int:
    return expense_nusd(entries_of(limit, start, end))


def _counts(limit: BudgetLimit, event: Mapping[str, Any]) -> bool:
    if event.get("organisation_id") != limit.organisation_id or event.get("origin") == "demonstration":
        return False
    kind, _, name = limit.scope.partition(":")
    if kind == "lob":
        return event.get("lob") == name
    if kind == "application":
        return event.get("application") == name and limit.lob in ("", event.get("lob"))
    return kind == "organisation" or event.get("key_id") == name


def pending_events(connection: redis.Redis) -> list[dict[str, Any]]:
    """Usage events of the stream that aren't committed to the ledger yet (consumers delete what they committed)."""
    return _usage(connection.xrange(STREAM, count=PENDING_MAX))


def _usage(entries: Any) -> list[dict[str, Any]]:
    events = [orjson.loads(fields[b"d"]) for _, fields in entries or ()]
    return [e for e in events if e.get("kind") == "usage" and e.get("cost_nusd")]


def spent_nusd(
    limit: BudgetLimit, start: datetime, end: datetime | None, pending: Sequence[Mapping[str, Any]]
) -> int:
    """Ledger plus what is on its way to it, each request once. Read `pending` before the ledger."""
    start_ns = start.timestamp() * 1e9
    end_ns = end.timestamp() * 1e9 if end else float("inf")
    mine = [e for e in pending if start_ns <= e["at_ns"] < end_ns and _counts(limit, e)]
    total = spent_in_ledger(limit, start, end)
    if mine:
        ids = [e["request_id"] for e in mine]
        booked: set[str] = set()
        for first in range(0, len(ids), 500):
            rows = LedgerEntry.objects.filter(request_id__in=ids[first : first + 500])
            booked.update(rows.values_list("request_id", flat=True))
        total += sum(e["cost_nusd"] for e in mine if e["request_id"] not in booked)
    return total


def rebuild_counter(limit: BudgetLimit, connection: redis.Redis, at: datetime | None = None) -> int:
    """SET a budget's counter from the ledger; gives what it now says was spent. Requests may go on meanwhile."""
    start, end = period_bounds(limit.period, limit.timezone, at or now())
    key = counter_key(limit.id, int(start.timestamp()))
    with connection.pipeline(transaction=True) as together:  # the counter and the stream of one instant
        together.hget(key, "spent")
        together.xrange(STREAM, count=PENDING_MAX)
        before, entries = together.execute()
    spent = spent_nusd(limit, start, end, _usage(entries))
    expires = int(end.timestamp()) + 40 * 86_400 if end else 0
    seen = -1 if before is None else int(before)
    return int(connection.eval(SET_COUNTER, 1, key, spent, seen, limit.limit_nusd, expires))


def rebuild_counters(connection: redis.Redis | None = None) -> int:
    """All budgets' counters of their present period; gives how many. None while the consumer is far behind."""
    connection = connection or client()
    if connection.xlen(STREAM) > REBUILD_BACKLOG_MAX:
        log.warning("Counters aren't rebuilt: the ledger is far behind the stream")
        return 0
    budgets = list(Budget.objects.select_related("lob"))
    for budget in budgets:
        rebuild_counter(limit_of(budget), connection)
    return len(budgets)


async def seed_from_ledger(counters: Sequence[tuple[BudgetLimit, int]]) -> list[int]:
    """For RedisAdmission: what the ledger and the stream know was spent since each period's start."""
    return await asyncio.to_thread(_seed, counters)


def _seed(counters: Sequence[tuple[BudgetLimit, int]]) -> list[int]:
    close_old_connections()
    try:
        pending = pending_events(client())
        found = []
        for limit, start_s in counters:
            start = datetime.fromtimestamp(start_s, UTC)
            _, end_s = period_seconds(limit.period, limit.timezone, start_s)
            end = datetime.fromtimestamp(end_s, UTC) if end_s else None
            found.append(spent_nusd(limit, start, end, pending))
        return found
    finally:
        close_old_connections()


def headroom(
    limit: BudgetLimit, connection: redis.Redis | None = None, at: datetime | None = None
) -> Headroom:
    """A budget's present period: from the counter when it is there, else from the ledger."""
    start, end = period_bounds(limit.period, limit.timezone, at or now())
    spent: int | None = None
    reserved = 0
    try:
        key = counter_key(limit.id, int(start.timestamp()))
        values: list[Any] = (connection or client()).hmget(key, ["spent", "reserved"])  # type: ignore[assignment]
        if values[0] is not None:
            spent, reserved = int(values[0]), int(values[1] or 0)
    except redis.RedisError:
        log.warning("Budget %s is read from the ledger: the counters can't be reached", limit.id)
    source = "ledger" if spent is None else "counters"
    if spent is None:
        spent = spent_in_ledger(limit, start, end)
    return Headroom(
        limit.id, limit.scope, limit.period, start, end, limit.limit_nusd, spent, reserved, source
    )


def check_thresholds(connection: redis.Redis | None = None) -> list[Alert]:
    """Raise the alerts that are due: one when a budget passes its warning share, one at its limit, each once a period."""
    raised = []
    for budget in Budget.objects.select_related("lob"):
        room = headroom(limit_of(budget), connection)
        for name, share in (("warning", budget.warn_pct), ("limit", 100)):
            if not budget.limit_nusd or room.used_pct < share:
                continue
            alert, created = Alert.objects.get_or_create(
                unique_key=f"budget:{budget.pk}:{int(room.start.timestamp())}:{name}",
                defaults={
                    "organisation_id": budget.organisation_id,
                    "kind": f"budget_{name}",
                    "lob": budget.lob.slug if budget.lob else "",
                    "subject": budget.scope,
                    "message": _message(budget, room, share),
                },
            )
            if created:
                raised.append(alert)
    return raised


def _message(budget: Budget, room: Headroom, share: int) -> str:
    return (
        f"The {budget.period} budget on {budget.scope} has passed {share} %: ${format_usd(room.spent_nusd)} of "
        f"${format_usd(room.limit_nusd)} is spent; at the limit it will {budget.action}."
    )
