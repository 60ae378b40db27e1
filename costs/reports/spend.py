"""What was spent, and which side answered."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from costs.reports.base import Report, grouped, groups_of, spend_rows, totals_of, zone_of
from costs.rollups import as_of
from switchyard.tenancy.querysets import Scope


def spend(
    *,
    scope: Scope,
    start: datetime,
    end: datetime,
    group: str = "lob",
    lob: str | None = None,
    tz: str = "UTC",
) -> Report:
    """Rows {"key", "cost_nusd", "requests", "answers", "errors", "tokens_in", "tokens_out"}; totals the same."""
    found = grouped(spend_rows(scope, start, end, lob), groups_of(group), zone_of(tz))
    names = ("cost_nusd", "requests", "answers", "errors", "tokens_in", "tokens_out")
    rows = [{"key": key} | {n: sums[n] for n in names} for key, sums in found.items()]
    totals = totals_of(found.values())
    return Report("spend", as_of(), rows, {n: totals[n] for n in names})


def share(
    *,
    scope: Scope,
    start: datetime,
    end: datetime,
    group: str = "lob",
    lob: str | None = None,
    tz: str = "UTC",
) -> Report:
    """Rows {"key", "private", "external"}: requests that each side answered."""
    first = groups_of(group)[0]
    if first == "side":
        raise ValueError("The share is of the sides already: group it by something else.")
    found = grouped(spend_rows(scope, start, end, lob), [first, "side"], zone_of(tz))
    rows: dict[str, dict[str, Any]] = {}
    for both, sums in found.items():
        key, _, side = both.rpartition("|")
        row = rows.setdefault(key, {"key": key, "private": 0, "external": 0})
        row[side] += sums["requests"]
    totals = {side: sum(row[side] for row in rows.values()) for side in ("private", "external")}
    return Report("share", as_of(), list(rows.values()), totals)
