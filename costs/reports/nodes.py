"""What own machines cost an hour and by its parts, and what their closed hours came to."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import QuerySet, Sum

from costs.models import Node, NodeInterval
from costs.nodes.standard import hourly_bill, rate_of
from costs.nodes.terms import PARTS
from costs.nodes.timeline import Unreadable
from costs.nodes.versions import timelines
from costs.pricing import HOUR_NS, PPM, Unpriced, private_cost
from costs.reports.base import TIMES, Report, groups_of, zone_of
from costs.rollups import as_of, hour_of
from switchyard.tenancy.querysets import Scope


def intervals_of(scope: Scope, start: datetime, end: datetime) -> QuerySet[NodeInterval]:
    """The closed hours in force. They tell of everybody, so only who sees the whole organisation gets any."""
    if scope.organisation_id is None or scope.lob_ids is not None:
        return NodeInterval.objects.none()
    return NodeInterval.objects.filter(
        organisation_id=scope.organisation_id, start__gte=hour_of(start), start__lt=end, current=True
    )


def node_bill(
    *,
    scope: Scope,
    start: datetime,
    end: datetime,
    group: str = "lob",
    lob: str | None = None,
    tz: str = "UTC",
) -> Report:
    """Rows {"key": node, "bill_nusd", "used_nusd", "idle_nusd", "carried_nusd" (idle that lines of business carry),
    "utilisation", "hours", "pool", "idle_rule"} of the hours that are closed; the last two as they are now."""
    groups_of(group), zone_of(tz)  # the rows are always nodes; what is wrong is refused all the same
    names = ("bill_nusd", "used_nusd", "idle_nusd", "accelerator_ns", "seconds")
    rows = intervals_of(scope, start, end)
    found = rows.order_by("node").values("node").annotate(**{f"{n}_": Sum(n) for n in names})
    carried: dict[str, int] = {}
    for node, shares in rows.exclude(idle_shares={}).values_list("node", "idle_shares"):
        carried[node] = carried.get(node, 0) + sum(shares.values())
    nodes = {n.name: n for n in Node.objects.filter(organisation_id=scope.organisation_id)}
    out = []
    for row in found:
        node = nodes.get(row["node"])
        out.append(
            {"key": row["node"]}
            | _bill({n: row[f"{n}_"] for n in names})
            | {"carried_nusd": carried.get(row["node"], 0)}
            | {"pool": node.pool if node else "", "idle_rule": node.idle_rule if node else ""}
        )
    sums = ("bill_nusd", "used_nusd", "idle_nusd", "carried_nusd")
    return Report("node-bill", as_of(), out, {n: sum(row[n] for row in out) for n in sums})


def _bill(sums: dict[str, int]) -> dict[str, Any]:
    return {
        "bill_nusd": sums["bill_nusd"],
        "used_nusd": sums["used_nusd"],
        "idle_nusd": sums["idle_nusd"],
        "utilisation": sums["accelerator_ns"] / (sums["seconds"] * 1e9),
        "hours": sums["seconds"] / 3600,
    }


def node_costs(
    *,
    scope: Scope,
    start: datetime,
    end: datetime,
    group: str = "lob",
    lob: str | None = None,
    tz: str = "UTC",
) -> Report:
    """Rows {"key": node, "pool", "hourly_nusd", a column a part ("purchase_nusd" …), "standard_nusd" (an hour of measured
    work at the planned utilisation), "planned_utilisation", "version"}: as they stand now, whatever the period.
    totals["faults"]: machine → what is wrong, where what is stored of its costs can't be read."""
    groups_of(group), zone_of(tz)  # the rows are always nodes; what is wrong is refused all the same
    out: list[dict[str, Any]] = []
    faults: dict[str, str] = {}
    whole = scope.organisation_id is not None and scope.lob_ids is None
    for node, timeline in (timelines(scope.organisation_id) if whole else {}).items():  # type: ignore[arg-type]
        try:
            bill, rate = hourly_bill(node, timeline), rate_of(node, timeline)
        except Unpriced as fault:
            if isinstance(timeline, Unreadable):
                faults[node.name] = str(fault)
            continue
        out.append(
            {"key": node.name, "pool": node.pool, "hourly_nusd": bill.nusd}
            | {f"{part}_nusd": bill.parts.get(part, 0) for part in PARTS}
            | {
                "standard_nusd": private_cost(HOUR_NS, rate),
                "planned_utilisation": rate.planned_utilisation_ppm / PPM,
            }
            | {"version": rate.version}
        )
    sums = ("hourly_nusd", *(f"{part}_nusd" for part in PARTS))
    totals: dict[str, Any] = {n: sum(row[n] for row in out) for n in sums}
    return Report("node-costs", as_of(), out, totals | ({"faults": faults} if faults else {}))


def node_hours(
    *,
    scope: Scope,
    start: datetime,
    end: datetime,
    group: str = "day",
    lob: str | None = None,
    tz: str = "UTC",
) -> Report:
    """Rows {"key": hour, day, week or month, "bill_nusd", "used_nusd", "idle_nusd", "utilisation", "hours"} of all nodes'
    closed hours, or with group "node,day" of each."""
    zone, groups = zone_of(tz), groups_of(group)
    if not set(groups) <= {"node", *TIMES}:
        raise ValueError(
            f"{group!r}: hours of nodes are grouped by node, or by {', '.join(TIMES)}, or by both."
        )
    names = ("bill_nusd", "used_nusd", "idle_nusd", "accelerator_ns", "seconds")
    found: dict[str, dict[str, int]] = {}
    rows = intervals_of(scope, start, end).order_by().values("node", "start")
    for row in rows.annotate(**{f"{n}_": Sum(n) for n in names}):
        parts = [
            row["node"] if g == "node" else row["start"].astimezone(zone).strftime(TIMES[g]) for g in groups
        ]
        sums = found.setdefault("|".join(parts), dict.fromkeys(names, 0))
        for name in names:
            sums[name] += row[f"{name}_"]
    out = [{"key": key} | _bill(sums) for key, sums in sorted(found.items())]
    totals = {n: sum(row[n] for row in out) for n in ("bill_nusd", "used_nusd", "idle_nusd")}
    return Report("node-hours", as_of(), out, totals)
