"""Reads for the gateway's snapshot: prices in force, node rates, budgets. Plain contracts, no querysets."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from django.db.models import Q

from costs.contracts import BudgetLimit
from costs.models import Budget, BudgetExtra
from costs.nodes.standard import node_rates as node_rates
from costs.periods import EPOCH
from costs.sheets.in_force import price_sheets as price_sheets
from switchyard.core.clock import now

EXTRAS_KEPT = timedelta(days=62)  # longer than the longest period that ends


def limit_of(budget: Budget) -> BudgetLimit:
    return limits_of([budget])[0]


def limits_of(budgets: Iterable[Budget]) -> list[BudgetLimit]:
    """Contracts of the rows, in their order, with what was added to their present and coming periods."""
    rows = list(budgets)
    extras: dict[int, dict[int, int]] = {row.pk: {} for row in rows}
    added = BudgetExtra.objects.filter(budget_id__in=extras, state="approved")
    # Older periods are over: of `total` alone the first moment of all is the present.
    added = added.filter(Q(period_start__gte=now() - EXTRAS_KEPT) | Q(period_start=EPOCH))
    for budget_id, start, nusd in added.values_list("budget_id", "period_start", "amount_nusd"):
        of_budget, start_s = extras[budget_id], int(start.timestamp())
        of_budget[start_s] = of_budget.get(start_s, 0) + nusd
    return [_limit(row, tuple(sorted(extras[row.pk].items()))) for row in rows]


def _limit(budget: Budget, extras: tuple[tuple[int, int], ...]) -> BudgetLimit:
    return BudgetLimit(
        id=budget.pk,
        scope=budget.scope,
        limit_nusd=budget.limit_nusd,
        period=budget.period,
        timezone=budget.timezone,
        action=budget.action,
        on_outage=budget.on_outage,
        warn_pct=budget.warn_pct,
        lob=budget.lob.slug if budget.lob else "",
        organisation_id=budget.organisation_id,
        covers=budget.covers,
        extras=extras,
    )


def budget_limits(organisation_id: int) -> list[BudgetLimit]:
    rows = Budget.objects.filter(organisation_id=organisation_id).select_related("lob").order_by("pk")
    return limits_of(rows)


def budgets_on_path(
    limits: Iterable[BudgetLimit], *, lob: str, application: str, key_id: str
) -> tuple[BudgetLimit, ...]:
    """Those that a request of this key must fit into, widest first: organisation → LOB → application → key. Budgets of
    labels are none of them."""
    order = {"organisation": 0, f"lob:{lob}": 1, f"application:{application}": 2, f"key:{key_id}": 3}
    on_path = [b for b in limits if b.covers == "all" and b.scope in order and b.lob in ("", lob)]
    return tuple(sorted(on_path, key=lambda b: (order[b.scope], b.id)))
