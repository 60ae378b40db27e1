"""What the same requests would have cost another way."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import Sum

from costs.reports.base import SUMS, Report, groups_of, spend_rows, zone_of
from costs.rollups import as_of
from switchyard.tenancy.querysets import Scope


def _sides(found: dict[str, dict[str, int]]) -> dict[str, Any]:
    """One workload's actual cost beside what each single side would have cost.

    A request that the other side could not have answered counts at what it really cost in both. Attempts that gave no
    answer (a cascade's first try, a retry) are part of what was really paid, and of neither alternative.
    """
    out = {
        "actual_nusd": 0,
        "all_private_nusd": 0,
        "all_external_nusd": 0,
        "requests": 0,
        "bound_requests": 0,
    }
    reasons = []
    for side, sums in found.items():
        other = "external" if side == "private" else "private"
        bound = sums["requests"] - sums["other_side_known"]
        unmoved = sums["answered_cost_nusd"] - sums["other_side_own_cost_nusd"]
        out["actual_nusd"] += sums["cost_nusd"]
        out[f"all_{side}_nusd"] += sums["answered_cost_nusd"]
        out[f"all_{other}_nusd"] += sums["other_side_cost_nusd"] + unmoved
        out["requests"] += sums["requests"]
        out["bound_requests"] += bound
        if bound and side == "private":
            reasons.append(f"residency keeps {bound} of {sums['requests']} requests at home")
        elif bound:
            reasons.append(f"no private deployment could have taken {bound} of {sums['requests']} requests")
    return out | {"bound": "; ".join(reasons)}


def counterfactual(
    *,
    scope: Scope,
    start: datetime,
    end: datetime,
    group: str = "workload",
    lob: str | None = None,
    tz: str = "UTC",
) -> Report:
    """Rows by workload {"key", "lob", "actual_nusd", "all_private_nusd", "all_external_nusd", "bound", …}.

    Totals beside: "saving_nusd" is the dearer single side minus what it really cost, with its sign.
    """
    groups_of(group), zone_of(tz)  # the rows are always workloads; what is wrong is refused all the same
    sums = (
        spend_rows(scope, start, end, lob)
        .order_by("lob", "workload", "side")
        .values("lob", "workload", "side")
        .annotate(**{f"{n}_": Sum(n) for n in SUMS})
    )
    by_workload: dict[tuple[str, str], dict[str, dict[str, int]]] = {}
    for row in sums:
        of_one = by_workload.setdefault((row["workload"], row["lob"]), {})
        of_one[row["side"]] = {n: row[f"{n}_"] or 0 for n in SUMS}
    rows = [{"key": w, "lob": of_lob} | _sides(f) for (w, of_lob), f in sorted(by_workload.items())]
    names = ("actual_nusd", "all_private_nusd", "all_external_nusd", "requests", "bound_requests")
    totals = {n: sum(row[n] for row in rows) for n in names}
    dearest = max(totals["all_private_nusd"], totals["all_external_nusd"])
    totals["saving_nusd"] = dearest - totals["actual_nusd"]
    return Report("counterfactual", as_of(), rows, totals)
