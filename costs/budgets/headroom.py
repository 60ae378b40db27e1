"""What is left of a budget in its present period."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import redis

from costs.budgets.counters import client
from costs.budgets.spending import spent_in_ledger
from costs.contracts import BudgetLimit
from costs.periods import counter_key, period_bounds
from switchyard.core.clock import now

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Headroom:
    """A budget in its present period, in nano-dollars. `limit_nusd` holds what was added to the period; `source` says
    where spent comes from."""

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


def headroom(
    limit: BudgetLimit, connection: redis.Redis | None = None, at: datetime | None = None
) -> Headroom:
    """A budget's present period: from the counter when it is there, else from the ledger. Budgets of labels have no
    counter: no request waits for them."""
    start, end = period_bounds(limit.period, limit.timezone, at or now())
    start_s = int(start.timestamp())
    spent: int | None = None
    reserved = 0
    if limit.covers == "all":
        try:
            key = counter_key(limit.id, start_s)
            values: list[Any] = (connection or client()).hmget(key, ["spent", "reserved"])  # type: ignore[assignment]
            if values[0] is not None:
                spent, reserved = int(values[0]), int(values[1] or 0)
        except redis.RedisError:
            log.warning("Budget %s is read from the ledger: the counters can't be reached", limit.id)
    source = "ledger" if spent is None else "counters"
    if spent is None:
        spent = spent_in_ledger(limit, start, end)
    return Headroom(
        limit.id, limit.scope, limit.period, start, end, limit.limit_at(start_s), spent, reserved, source
    )
