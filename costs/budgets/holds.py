"""Money held for long work: it stands in the counters as reserved from before the work starts until it is booked.

A request holds money for seconds under a lease; a job holds it for as long as its row says, and a sweep of what no living
job owns puts right what a crash left. `sy:hold:<job>` is a hash of w (nano-dollars) and b (the counters they stand in);
`sy:holds` is the set of all jobs that hold something.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import redis
from django.db.models import Q

from costs.budgets.counters import client, rebuild_counter
from costs.budgets.headroom import headroom
from costs.contracts import BudgetLimit
from costs.models import Budget
from costs.periods import counter_key, period_seconds
from costs.replies import exhausted
from costs.selectors import limits_of
from switchyard.core.clock import now

log = logging.getLogger(__name__)
HOLDS, DOUBTFUL = "sy:holds", "sy:holds:doubtful"
# KEYS: the hold, the set of holds, counters. ARGV: job, amount, spent meanwhile, then limit and whether it stops, each.
SET_HOLD = """
local held = tonumber(redis.call('HGET', KEYS[1], 'w') or '0')
local amount, spent = tonumber(ARGV[2]), ARGV[3]
local old, names = {}, {}
for key in string.gmatch(redis.call('HGET', KEYS[1], 'b') or '', '%S+') do old[key] = true end
for i = 3, #KEYS do
  local v = redis.call('HMGET', KEYS[i], 'spent', 'reserved')
  if not v[1] then return {'unseeded', i - 3} end
  local others = tonumber(v[2] or '0') - (old[KEYS[i]] and held or 0)
  local stops = ARGV[2 * i - 1] == '1'
  if stops and amount > held and tonumber(v[1]) + others + amount > tonumber(ARGV[2 * i - 2]) then
    return {'budget', i - 3, v[1], string.format('%.0f', others)}
  end
  names[#names + 1] = KEYS[i]
end
for key in pairs(old) do
  if redis.call('HEXISTS', key, 'spent') == 1 then redis.call('HINCRBY', key, 'reserved', string.format('%.0f', -held)) end
end
for _, key in ipairs(names) do
  redis.call('HINCRBY', key, 'reserved', string.format('%.0f', amount))
  if spent ~= '0' then redis.call('HINCRBY', key, 'spent', spent) end
end
if amount > 0 and #names > 0 then
  redis.call('HSET', KEYS[1], 'w', string.format('%.0f', amount), 'b', table.concat(names, ' '))
  redis.call('SADD', KEYS[2], ARGV[1])
else
  redis.call('DEL', KEYS[1])
  redis.call('SREM', KEYS[2], ARGV[1])
end
return {'ok'}
"""


def hold(
    job_id: str,
    *,
    organisation_id: int,
    lob: str,
    amount_nusd: int,
    others_nusd: int = 0,
    at: datetime | None = None,
) -> None:
    """Have so much of every budget on the line of business's path reserved for a job, in place of what it held before.

    Raises BudgetExhausted where a budget that stops has no room for more; what was held before stays held then. While the
    counters are out of reach the ledger and `others_nusd` (what other living jobs hold) say what is left.
    """
    limits = _path(organisation_id, lob)
    if not limits:
        return
    at = at or now()
    try:
        with client() as connection:
            _set(connection, job_id, limits, amount_nusd, 0, at)
    except redis.RedisError:
        log.warning("job %s is held against the ledger alone: the counters can't be reached", job_id)
        _check_ledger(limits, amount_nusd + others_nusd, at)


def release(job_id: str, *, organisation_id: int, lob: str, spent_nusd: int = 0) -> None:
    """Give a job's hold back; what it was booked for counts as spent at once, not when the counters are next rebuilt.

    Out of reach, the counters are put right by `sweep` later.
    """
    try:
        with client() as connection:
            if not connection.exists(_key(job_id)):
                return
            _set(connection, job_id, _path(organisation_id, lob), 0, spent_nusd, now())
    except redis.RedisError:
        log.warning("the hold of job %s waits for the next sweep: the counters can't be reached", job_id)


def sweep(living: Callable[[], Mapping[str, tuple[int, str, int]]]) -> int:
    """Make the counters say what the rows say; gives how many differed.

    `living()`: job → (organisation, line of business, nano-dollars) of those that hold something. A hold whose row isn't
    there goes back at the second look: the first may have come before the row was committed.
    """
    moved = 0
    with client() as connection:
        held, doubtful = _names(connection, HOLDS), _names(connection, DOUBTFUL)
        rows = living()
        strays = held - set(rows)
        for job_id in strays & doubtful:
            _give_back(connection, job_id)
            moved += 1
        connection.delete(DOUBTFUL)
        if strays - doubtful:
            connection.sadd(DOUBTFUL, *(strays - doubtful))
        for job_id in set(rows) - held:
            organisation_id, lob, amount = rows[job_id]
            limits = _path(organisation_id, lob)
            if limits and amount > 0:
                _set(connection, job_id, limits, amount, 0, now(), force=True)
                moved += 1
    return moved


def _names(connection: redis.Redis, key: str) -> set[str]:
    return {name.decode() for name in connection.smembers(key)}  # type: ignore[union-attr]


def _path(organisation_id: int, lob: str) -> list[BudgetLimit]:
    """Budgets that a job counts in: the organisation's and the line of business's; labels have their own."""
    of_lob = Q(scope=f"lob:{lob}", lob__slug=lob) if lob else Q(pk__in=())
    rows = Budget.objects.filter(
        Q(scope="organisation") | of_lob, organisation_id=organisation_id, covers="all"
    )
    return limits_of(rows.select_related("lob").order_by("pk"))


def _key(job_id: str) -> str:
    return f"sy:hold:{job_id}"


def _set(
    connection: redis.Redis,
    job_id: str,
    limits: Sequence[BudgetLimit],
    amount: int,
    spent: int,
    at: datetime,
    *,
    force: bool = False,
) -> None:
    periods = [period_seconds(limit.period, limit.timezone, at.timestamp()) for limit in limits]
    keys = [counter_key(limit.id, start) for limit, (start, _) in zip(limits, periods, strict=True)]
    told: list[Any] = [job_id, amount, spent]
    for limit, (start, _) in zip(limits, periods, strict=True):
        told += [limit.limit_at(start), 1 if limit.action == "stop" and not force else 0]
    for _ in range(len(limits) + 1):
        reply: Any = connection.eval(SET_HOLD, 2 + len(keys), _key(job_id), HOLDS, *keys, *told)
        if reply[0] == b"unseeded":
            rebuild_counter(limits[int(reply[1])], connection, at)
            continue
        if reply[0] == b"budget":
            place = int(reply[1])
            raise exhausted(
                limits[place], limit_nusd=limits[place].limit_at(periods[place][0]), worst_case_nusd=amount,
                spent=int(reply[2]), reserved=int(reply[3]), end_s=periods[place][1], what="this job",
            )  # fmt: skip
        return


def _give_back(connection: redis.Redis, job_id: str) -> None:
    """Of a job that nobody knows: its counters are those it was held in."""
    connection.eval(SET_HOLD, 2, _key(job_id), HOLDS, job_id, 0, 0)


def _check_ledger(limits: Sequence[BudgetLimit], amount: int, at: datetime) -> None:
    for limit in limits:
        room = headroom(limit, at=at)
        if limit.action == "stop" and amount > room.limit_nusd - room.spent_nusd:
            raise exhausted(
                limit, limit_nusd=room.limit_nusd, worst_case_nusd=amount, spent=room.spent_nusd, reserved=0,
                end_s=int(room.end.timestamp()) if room.end else 0, what="this job",
            )  # fmt: skip
