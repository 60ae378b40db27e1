"""How budgets burn down."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from costs.budgets.burn import Burn, burns
from costs.models import Budget
from costs.reports.base import Report, groups_of, zone_of
from costs.rollups import as_of
from switchyard.tenancy.querysets import Scope


def budget_burn(
    *,
    scope: Scope,
    start: datetime,
    end: datetime,
    group: str = "lob",
    lob: str | None = None,
    tz: str = "UTC",
) -> Report:
    """One row a budget, in its present period whatever was asked for: {"key", "scope", "covers", "period", "timezone",
    "action", "from", "until", "limit_nusd", "carried_nusd", "topped_up_nusd", "period_limit_nusd", "spent_nusd",
    "reserved_nusd", "left_nusd", "used_share", "exhausts_at", "low", "high", "pace"}.

    `exhausts_at` with its 90 % interval is null where the budget lasts to its period's end; `pace` says what the forecast
    rests on (week, even, none), or that all is spent.
    """
    groups_of(group), zone_of(tz)  # the rows are always budgets; what is wrong is refused all the same
    rows = Budget.objects.for_tenant(scope).select_related("lob").order_by("lob__slug", "scope", "pk")
    if lob:
        rows = rows.filter(lob__slug=lob)
    found = [_row(burn) for burn in burns(rows)]
    totals = {
        "budgets": len(found),
        "spent": sum(row["pace"] == "spent" for row in found),
        "running_out": sum(row["exhausts_at"] is not None and row["pace"] != "spent" for row in found),
    }
    return Report("budget-burn", as_of(), found, totals)


def _row(burn: Burn) -> dict[str, Any]:
    budget, room, forecast = burn.budget, burn.room, burn.forecast
    return {
        "key": f"{budget.scope} · {budget.period}" + (" · labels" if budget.covers == "labels" else ""),
        "scope": budget.scope,
        "covers": budget.covers,
        "period": budget.period,
        "timezone": budget.timezone,
        "action": budget.action,
        "from": room.start,
        "until": room.end,
        "limit_nusd": budget.limit_nusd,
        "carried_nusd": burn.carried_nusd,
        "topped_up_nusd": burn.topped_up_nusd,
        "period_limit_nusd": room.limit_nusd,
        "spent_nusd": room.spent_nusd,
        "reserved_nusd": room.reserved_nusd,
        "left_nusd": room.left_nusd,
        "used_share": room.spent_nusd / room.limit_nusd if room.limit_nusd else 1.0,
        "exhausts_at": forecast.at,
        "low": forecast.low,
        "high": forecast.high,
        "pace": forecast.pace,
    }
