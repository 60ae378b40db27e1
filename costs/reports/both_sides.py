"""Both sides of every workload, day by day: what its answers cost where they were given and on the other side, and what the
machines under it cost. Read from roll-ups and closed hours alone; sums of measured quantities, never of rounded rows."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

from django.db.models import Sum
from django.db.models.functions import TruncDay

from costs.contracts import NodeRate
from costs.models import NodeInterval, SpendDay
from costs.nodes.standard import node_rates
from costs.planning.break_even import Day
from costs.pricing import HOUR_NS, PPM
from switchyard.tenancy.querysets import Scope

Key = tuple[str, str]  # line of business, workload
DAY = timedelta(days=1)
SUMS = (
    "requests", "answers", "accelerator_ns", "answered_cost_nusd", "other_side_cost_nusd", "other_side_known", "judged",
    "correct",
)  # fmt: skip


@dataclass
class Machines:
    """What own machines cost and did. `shared` false: the reader may not see what others did on them."""

    rates: dict[str, NodeRate]
    shared: bool
    bills: dict[tuple[str, datetime], Fraction] = field(default_factory=dict)  # nano-dollars for 24 hours
    used_ns: dict[tuple[str, datetime], int] = field(default_factory=dict)

    def a_day(self, node: str, day: datetime) -> Fraction | None:
        """What 24 hours of it cost: as billed on that day, else at its present rate; None when nobody said."""
        billed = self.bills.get((node, day))
        rate = self.rates.get(node)
        return billed if billed is not None else Fraction(rate.nusd_per_hour * 24) if rate else None

    def whole(self, node: str) -> Fraction | None:
        """A machine of its own: like `node`, else the cheapest there is."""
        rate = self.rates.get(node) or min(self.rates.values(), key=lambda r: r.nusd_per_hour, default=None)
        return Fraction(rate.nusd_per_hour * 24) if rate else None

    @property
    def names(self) -> set[str]:
        return self.rates.keys() | {node for node, _day in self.bills}


@dataclass
class Work:
    """A workload's days, and how much of it could go to the other side."""

    days: dict[datetime, Day]
    requests: int
    movable: int
    private_answers: int
    private_ns: int
    basis: str  # share: its share of machines by use; whole: a machine of its own
    node: str = ""

    @property
    def movable_share(self) -> Fraction:
        return Fraction(self.movable, self.requests) if self.requests else Fraction(0)


def whole_days(start: datetime, end: datetime) -> list[datetime]:
    """The whole UTC days of [start, end)."""
    first = start.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    first = first if first >= start else first + DAY
    return [first + i * DAY for i in range(max(0, (end - first) // DAY))]


def machines_of(scope: Scope, days: list[datetime]) -> Machines:
    if scope.organisation_id is None:
        return Machines({}, shared=False)
    machines = Machines(node_rates(scope.organisation_id), shared=scope.lob_slugs is None)
    if not machines.shared or not days:
        return machines
    span = {"organisation_id": scope.organisation_id, "start__gte": days[0], "start__lt": days[-1] + DAY}
    hours = NodeInterval.objects.filter(current=True, **span).order_by()
    hours = hours.annotate(day=TruncDay("start", tzinfo=UTC)).values("node", "day")
    for row in hours.annotate(bill=Sum("bill_nusd"), time=Sum("seconds")):
        machines.bills[row["node"], row["day"]] = Fraction(row["bill"] * 86_400, row["time"])
    used = (
        SpendDay.objects.filter(side="private", purpose="answer", **span).order_by().values("node", "start")
    )
    for row in used.annotate(ns=Sum("accelerator_ns")):
        machines.used_ns[row["node"], row["start"]] = row["ns"]
    return machines


def rows_of(scope: Scope, days: list[datetime], lob: str | None) -> dict[Key, list[dict[str, Any]]]:
    if not days:
        return {}
    rows = SpendDay.objects.for_tenant(scope).filter(
        purpose="answer", start__gte=days[0], start__lt=days[-1] + DAY
    )
    rows = (rows.filter(lob=lob) if lob else rows).exclude(workload="")
    found: defaultdict[Key, list[dict[str, Any]]] = defaultdict(list)
    names = ("lob", "workload", "start", "side", "node")
    for row in rows.order_by().values(*names).annotate(**{f"{n}_": Sum(n) for n in SUMS}):
        named = {n: row[n] for n in names} | {n: row[f"{n}_"] or 0 for n in SUMS}
        found[row["lob"], row["workload"]].append(named)
    return found


def work_of(rows: list[dict[str, Any]], days: list[datetime], machines: Machines) -> Work:
    by_day: defaultdict[datetime, list[dict[str, Any]]] = defaultdict(list)
    by_node: defaultdict[str, int] = defaultdict(int)
    for row in rows:
        by_day[row["start"]].append(row)
        if row["side"] == "private":
            by_node[row["node"]] += row["accelerator_ns"]
    used = sum(by_node.values()) > 0
    node = max(by_node, key=lambda name: (by_node[name], name)) if used else ""
    shared = machines.shared and used
    whole = machines.whole(node)
    first = min(by_day)
    told = {
        day: _day(by_day[day], machines, _share(by_day[day], machines) if shared else whole)
        for day in days
        if day >= first
    }
    private = [row for row in rows if row["side"] == "private"]
    outside = sum(row["requests"] for row in rows if row["side"] == "external")
    return Work(
        told, sum(row["requests"] for row in rows), outside + sum(row["other_side_known"] for row in private),
        sum(row["answers"] for row in private), sum(by_node.values()), "share" if shared else "whole", node,
    )  # fmt: skip


def _share(rows: list[dict[str, Any]], machines: Machines) -> Fraction | None:
    """The day's bills of the machines it used, by its share of their use."""
    total = Fraction(0)
    for row in rows:
        if row["side"] != "private" or not row["accelerator_ns"]:
            continue
        bill, used = (
            machines.a_day(row["node"], row["start"]),
            machines.used_ns.get((row["node"], row["start"]), 0),
        )
        if bill is None or not used:
            return None
        total += bill * Fraction(row["accelerator_ns"], used)
    return total


def _day(rows: list[dict[str, Any]], machines: Machines, fixed: Fraction | None) -> Day:
    """Both sides' cost of the day's answers: measured where they answered, else as estimated at the time."""
    cost = {"private": Fraction(0), "external": Fraction(0)}
    priced = {"private": Fraction(0), "external": Fraction(0)}
    for row in rows:
        other = "external" if row["side"] == "private" else "private"
        cost[row["side"]] += _own(row, machines)
        priced[row["side"]] += row["answers"]
        if row["other_side_known"]:
            cost[other] += row["other_side_cost_nusd"]
            priced[other] += Fraction(row["answers"] * row["other_side_known"], row["requests"])
    if fixed is None:  # nobody said what the machine costs: then nothing is known of that side
        cost["private"] = priced["private"] = Fraction(0)
    return Day(
        sum(row["answers"] for row in rows), cost["external"], priced["external"], cost["private"], priced["private"],
        fixed or Fraction(0),
    )  # fmt: skip


def _own(row: dict[str, Any], machines: Machines) -> Fraction:
    """What the answers cost on the side that gave them; measured time at the standard rate, not the rounded rows."""
    rate = machines.rates.get(row["node"]) if row["side"] == "private" else None
    if rate is None:
        return Fraction(row["answered_cost_nusd"])
    return Fraction(row["accelerator_ns"] * rate.nusd_per_hour * PPM, HOUR_NS * rate.planned_utilisation_ppm)
