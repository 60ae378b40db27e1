"""The counters that admission reads, set from the ledger."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import UTC, datetime

import redis
from django.conf import settings
from django.db import close_old_connections

from costs.budgets import spending
from costs.contracts import BudgetLimit
from costs.fresh import STREAM
from costs.models import Budget
from costs.periods import counter_key, period_bounds, period_seconds
from costs.selectors import limits_of
from switchyard.core.clock import now

log = logging.getLogger(__name__)
REBUILD_BACKLOG_MAX = (
    2_000  # entries: a rebuild reads the backlog; while it is long, counters stay as they are
)
KEPT_S = 40 * 86_400  # a counter outlives its period by this
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


def client() -> redis.Redis:
    return redis.Redis.from_url(settings.REDIS_URL, socket_timeout=2, socket_connect_timeout=1)


def rebuild_counter(limit: BudgetLimit, connection: redis.Redis, at: datetime | None = None) -> int:
    """SET a budget's counter from the ledger; gives what it now says was spent. Requests may go on meanwhile."""
    return _rebuild([limit], connection, at or now())[0]


def rebuild_counters(connection: redis.Redis | None = None, *, wide_only: bool = False) -> int:
    """The counters of all budgets that requests must fit into, in their present period; gives how many. None while the
    consumer is far behind. `wide_only`: those of the organisation and of lines of business, which are read at once however
    large the books are; those of applications and keys take one scan of the period."""
    connection = connection or client()
    if connection.xlen(STREAM) > REBUILD_BACKLOG_MAX:
        log.warning("Counters aren't rebuilt: the ledger is far behind the stream")
        return 0
    limits = limits_of(Budget.objects.filter(covers="all").select_related("lob"))
    if wide_only:
        limits = [limit for limit in limits if limit.scope.startswith(("organisation", "lob:"))]
    return len(_rebuild(limits, connection, now()))


def _rebuild(limits: Sequence[BudgetLimit], connection: redis.Redis, at: datetime) -> list[int]:
    """All counters and the stream of one instant first, then the ledger, then what counters gained meanwhile is added."""
    periods = [period_bounds(limit.period, limit.timezone, at) for limit in limits]
    starts = [int(start.timestamp()) for start, _ in periods]
    keys = [counter_key(limit.id, start_s) for limit, start_s in zip(limits, starts, strict=True)]
    with connection.pipeline(transaction=True) as together:
        for key in keys:
            together.hget(key, "spent")
        together.xrange(STREAM, count=spending.PENDING_MAX)
        *before, entries = together.execute()
    pending = spending.usage_events(entries)
    booked, sums = spending.booked_of(pending), spending.LedgerSums()
    found = []
    for limit, key, start_s, (start, end), seen in zip(limits, keys, starts, periods, before, strict=True):
        spent = spending.spent_nusd(limit, start, end, pending, sums=sums, booked=booked)
        expires = int(end.timestamp()) + KEPT_S if end else 0
        was = -1 if seen is None else int(seen)
        found.append(int(connection.eval(SET_COUNTER, 1, key, spent, was, limit.limit_at(start_s), expires)))
    return found


async def seed_from_ledger(counters: Sequence[tuple[BudgetLimit, int]]) -> list[int]:
    """For RedisAdmission: what the ledger and the stream know was spent since each period's start."""
    return await asyncio.to_thread(_seed, counters)


def _seed(counters: Sequence[tuple[BudgetLimit, int]]) -> list[int]:
    close_old_connections()
    try:
        pending = spending.pending_events(client())
        found = []
        for limit, start_s in counters:
            start = datetime.fromtimestamp(start_s, UTC)
            _, end_s = period_seconds(limit.period, limit.timezone, start_s)
            end = datetime.fromtimestamp(end_s, UTC) if end_s else None
            found.append(spending.spent_nusd(limit, start, end, pending))
        return found
    finally:
        close_old_connections()
