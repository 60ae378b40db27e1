"""What is left of a period is added to the next one, where a budget says so: once, from the ledger, after the end."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import redis
from django.db import transaction
from django.db.models import Sum

from costs.budgets import spending
from costs.budgets.counters import client
from costs.models import Budget, BudgetExtra, RollupMark
from costs.periods import period_bounds
from costs.selectors import limit_of
from switchyard.audit.services import record
from switchyard.core.clock import now
from switchyard.core.money import format_usd
from switchyard.tenancy.services import bump_config

log = logging.getLogger(__name__)
# A request admitted before the end may settle after it, at the latest when its reservation's lease (180 s) has ended.
SETTLED_AFTER = timedelta(minutes=5)
PERIODS_MAX = (
    62  # after a longer rest only the present period is looked at: nothing is carried rather than too much
)


def carry_over(connection: redis.Redis | None = None, at: datetime | None = None) -> list[BudgetExtra]:
    """Decide for every budget that rolls over what its present period gets of the one before; gives what was added.

    Until it has run, a new period has its plain limit. A top-up is for its own period and never carried. What was
    decided is marked, so running twice or late changes nothing.
    """
    connection = connection or client()
    if connection.xlen(spending.STREAM) >= spending.PENDING_MAX:
        log.warning("Nothing is carried over: the ledger is too far behind the stream to say what is left")
        return []
    pending = spending.pending_events(connection)
    settled = (at or now()) - SETTLED_AFTER
    added = []
    for budget in Budget.objects.filter(rollover=True).exclude(period="total").select_related("lob"):
        for start in _undecided(budget, settled):
            extra = _decide(budget, start, pending)
            if extra is not None:
                added.append(extra)
    return added


def _mark(budget: Budget) -> str:
    return f"carry:{budget.pk}"


def _undecided(budget: Budget, settled: datetime) -> list[datetime]:
    """Starts of the periods up to the present one that nothing was decided for, in order of time."""
    present, _ = period_bounds(budget.period, budget.timezone, settled)
    mark = RollupMark.objects.filter(name=_mark(budget)).first()
    if mark is None:
        return [present]
    starts, last = [], mark.at
    while last < present and len(starts) < PERIODS_MAX:
        _, last = period_bounds(budget.period, budget.timezone, last)  # type: ignore[assignment]
        starts.append(last)
    return starts if not starts or starts[-1] == present else [present]


@transaction.atomic
def _decide(budget: Budget, start: datetime, pending: list[dict[str, Any]]) -> BudgetExtra | None:
    left = _left_before(budget, start, pending)
    RollupMark.objects.update_or_create(name=_mark(budget), defaults={"at": start})
    if left <= 0:
        return None
    extra, created = BudgetExtra.objects.get_or_create(
        budget=budget,
        period_start=start,
        kind="carry",
        defaults={
            "amount_nusd": left,
            "state": "approved",
            "reason": "left of the period before",
            "decided_at": now(),
        },
    )
    if not created:
        return None
    record(
        actor=None, action="budget.carried_over", target=f"budget:{budget}", lob=budget.lob.slug if budget.lob else "",
        organisation_id=budget.organisation_id, detail={"amount_usd": format_usd(left), "period_start": start},
    )  # fmt: skip
    bump_config()
    return extra


def _left_before(budget: Budget, start: datetime, pending: list[dict[str, Any]]) -> int:
    """Nano-dollars left of the period that ended at `start`, by the budget as it stood then, capped as it is now."""
    first, end = period_bounds(budget.period, budget.timezone, start - timedelta(seconds=1))
    was = budget.history.filter(history_date__lt=start).order_by("-history_date", "-history_id").first()
    if was is None or end != start or not was.rollover:
        return 0  # it didn't exist, began at another time, or wasn't to roll over
    if (was.period, was.timezone, was.scope) != (budget.period, budget.timezone, budget.scope):
        return 0
    carried = BudgetExtra.objects.filter(
        budget=budget, period_start=first, kind="carry", state="approved"
    ).aggregate(total=Sum("amount_nusd"))["total"]
    spent = spending.spent_nusd(replace(limit_of(budget), covers=was.covers), first, end, pending)
    left = was.limit_nusd + (carried or 0) - spent
    return left if budget.rollover_cap_nusd is None else min(left, budget.rollover_cap_nusd)
