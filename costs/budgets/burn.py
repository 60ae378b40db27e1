"""How budgets burn down: what was added, what is left, and when it will have run out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import redis
from django.db.models import Sum

from costs.budgets.counters import client
from costs.budgets.exhaustion import HOUR, Exhaustion, Spending, exhaustion
from costs.budgets.headroom import Headroom, headroom
from costs.budgets.rollups import hours_of
from costs.contracts import BudgetLimit
from costs.label_hours import hours_of as hours_of_labels
from costs.models import Budget, BudgetExtra
from costs.rollups import hour_of
from costs.selectors import limits_of
from switchyard.core.clock import now

HISTORY = timedelta(days=56)


@dataclass(frozen=True, slots=True)
class Burn:
    """A budget's present period in nano-dollars, its hours so far, and its forecast."""

    budget: Budget
    limit: BudgetLimit
    room: Headroom
    carried_nusd: int
    topped_up_nusd: int
    hours: dict[datetime, int]
    forecast: Exhaustion


def burns(
    budgets: Iterable[Budget], at: datetime | None = None, connection: redis.Redis | None = None
) -> list[Burn]:
    at, rows = at or now(), list(budgets)
    own = connection or client()
    try:
        rooms = [(b, limit, headroom(limit, own, at)) for b, limit in zip(rows, limits_of(rows), strict=True)]
    finally:
        if connection is None:
            own.close()
    added = _added(rooms)
    hours = hours_of([limit for _, limit, _ in rooms if limit.covers == "all"], at - HISTORY, at + HOUR)
    return [
        _burn(b, limit, room, added, hours[b.pk] if limit.covers == "all" else _of_labels(limit, at), at)
        for b, limit, room in rooms
    ]


def _added(rooms: list[tuple[Budget, BudgetLimit, Headroom]]) -> dict[tuple[int, str], int]:
    """(budget, kind) → what was added to its present period."""
    starts = {b.pk: room.start for b, _, room in rooms}
    rows = BudgetExtra.objects.filter(
        budget_id__in=starts, state="approved", period_start__in=set(starts.values())
    )
    found: dict[tuple[int, str], int] = {}
    for budget_id, kind, start, nusd in rows.values_list("budget_id", "kind", "period_start", "amount_nusd"):
        if start == starts[budget_id]:
            found[budget_id, kind] = found.get((budget_id, kind), 0) + nusd
    return found


def _burn(
    budget: Budget,
    limit: BudgetLimit,
    room: Headroom,
    added: dict[tuple[int, str], int],
    hours: dict[datetime, int],
    at: datetime,
) -> Burn:
    spending = Spending(
        start=room.start,
        end=room.end,
        at=at,
        spent_nusd=room.spent_nusd,
        left_nusd=room.left_nusd,
        hours=hours,
        since=min(hours, default=None),
    )
    return Burn(
        budget=budget,
        limit=limit,
        room=room,
        carried_nusd=added.get((budget.pk, "carry"), 0),
        topped_up_nusd=added.get((budget.pk, "top_up"), 0),
        hours={hour: nusd for hour, nusd in sorted(hours.items()) if hour + HOUR > room.start},
        forecast=exhaustion(spending, ZoneInfo(budget.timezone)),
    )


def _of_labels(limit: BudgetLimit, at: datetime) -> dict[datetime, int]:
    """From the roll-up of labels."""
    rows = hours_of_labels(limit, hour_of(at - HISTORY), at + HOUR).values_list("start")
    return dict(rows.annotate(nusd=Sum("amount_nusd")))
