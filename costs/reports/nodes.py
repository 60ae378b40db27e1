"""What own machines cost, used and idle."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import Sum

from costs.models import NodeInterval
from costs.reports.base import Report
from costs.rollups import as_of, hour_of
from switchyard.tenancy.querysets import Scope


def node_bill(
    *,
    scope: Scope,
    start: datetime,
    end: datetime,
    group: str = "lob",
    lob: str | None = None,
    tz: str = "UTC",
) -> Report:
    """Rows {"key": node, "bill_nusd", "used_nusd", "idle_nusd", "utilisation", "hours"} of the hours that are closed."""
    rows = NodeInterval.objects.filter(
        organisation_id=scope.organisation_id, start__gte=hour_of(start), start__lt=end, current=True
    )
    if scope.organisation_id is None:
        rows = rows.none()
    names = ("bill_nusd", "used_nusd", "idle_nusd", "accelerator_ns", "seconds")
    found = rows.order_by("node").values("node").annotate(**{f"{n}_": Sum(n) for n in names})
    out = [{"key": row["node"]} | _bill({n: row[f"{n}_"] for n in names}) for row in found]
    totals = {n: sum(row[n] for row in out) for n in ("bill_nusd", "used_nusd", "idle_nusd")}
    return Report("node-bill", as_of(), out, totals)


def _bill(sums: dict[str, int]) -> dict[str, Any]:
    return {
        "bill_nusd": sums["bill_nusd"],
        "used_nusd": sums["used_nusd"],
        "idle_nusd": sums["idle_nusd"],
        "utilisation": sums["accelerator_ns"] / (sums["seconds"] * 1e9),
        "hours": sums["seconds"] / 3600,
    }
