"""What work on own machines really cost: as metered, and loaded with its share of the machines' bills."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet, Sum

from costs.models import NodeInterval, SpendHour
from costs.nodes.rules import rules_of
from costs.reports.base import NAMES, TIMES, Report, groups_of, spend_rows, zone_of
from costs.reports.nodes import intervals_of
from costs.rollups import HOUR, as_of, hour_of
from switchyard.tenancy.querysets import Scope

SIDES = ("private", "all")
WORK = ("cost_nusd", "variance_nusd", "open_nusd", "accelerator_ns", "tokens_in", "tokens_out", "answers")


def parse_side(text: str) -> str:
    """ValueError unless it is one of SIDES."""
    if text not in SIDES:
        raise ValueError(f"side={text!r}: expected private (own machines) or all.")
    return text


def true_cost(
    *,
    scope: Scope,
    start: datetime,
    end: datetime,
    group: str = "lob",
    lob: str | None = None,
    tz: str = "UTC",
    side: str = "private",
) -> Report:
    """What work really cost: rows {"key", "kind": "work" | "idle", "metered_nusd", "loaded_nusd", "variance_nusd",
    "open_nusd", "accelerator_s", "tokens_in", "tokens_out", "answers", "metered_nusd_per_1000", "loaded_nusd_per_1000"}.

    `metered` is the marginal cost at the standard rate; `loaded` is the share of the node's bill with the idle time that is
    carried by use. Where an hour isn't closed yet, loaded is as metered, and `open_nusd` says how much that is. Idle time is
    on rows of its own by who carries it. Over whole hours and the whole organisation, the loaded cost of own machines
    less `open_nusd`, idle rows included, is the nodes' bill to the nano-dollar: totals["bill_nusd"].
    """
    zone, groups = zone_of(tz), groups_of(group)
    rows = spend_rows(scope, start, end, lob)
    if side == "private":
        rows = rows.exclude(node="")
    work: dict[str, dict[str, int]] = {}
    for row in _sums(rows, groups):
        parts = [row[g] if g in NAMES else row["start"].astimezone(zone).strftime(TIMES[g]) for g in groups]
        sums = work.setdefault("|".join(parts), dict.fromkeys(WORK, 0))
        for name in WORK:
            sums[name] += row[f"{name}_"] or 0
    out = [{"key": key, "kind": "work"} | _work(sums) for key, sums in sorted(work.items())]
    idle = _idle(scope, start, end, lob)
    out += [{"key": key, "kind": "idle"} | _idle_row(nusd) for key, nusd in sorted(idle.items())]
    names = ("metered_nusd", "loaded_nusd", "variance_nusd", "open_nusd", "accelerator_s", "answers")
    totals = {n: sum(row[n] for row in out) for n in names}
    totals["idle_nusd"] = sum(idle.values())
    totals["bill_nusd"] = intervals_of(scope, start, end).aggregate(n=Sum("bill_nusd"))["n"] or 0
    return Report("true-cost", as_of(), out, totals)


def _sums(rows: QuerySet[SpendHour], groups: list[str]) -> Any:
    """By group (and hour, where a group is of time); what its node's open hours cost beside."""
    closed = NodeInterval.objects.filter(
        organisation_id=OuterRef("organisation_id"),
        node=OuterRef("node"),
        start=OuterRef("start"),
        current=True,
    )
    fields = [g for g in groups if g in NAMES] + (["start"] if any(g in TIMES for g in groups) else [])
    sums = {f"{n}_": Sum(n) for n in WORK if n != "open_nusd"}
    sums["open_nusd_"] = Sum("cost_nusd", filter=Q(closed=False) & ~Q(node=""))
    return rows.annotate(closed=Exists(closed)).order_by().values(*fields).annotate(**sums)


def _work(sums: dict[str, int]) -> dict[str, Any]:
    metered, loaded = sums["cost_nusd"], sums["cost_nusd"] + sums["variance_nusd"]
    each = sums["answers"]
    return {
        "metered_nusd": metered,
        "loaded_nusd": loaded,
        "variance_nusd": sums["variance_nusd"],
        "open_nusd": sums["open_nusd"],
        "accelerator_s": sums["accelerator_ns"] / 1e9,
        "tokens_in": sums["tokens_in"],
        "tokens_out": sums["tokens_out"],
        "answers": each,
        "metered_nusd_per_1000": metered * 1000 / each if each else None,
        "loaded_nusd_per_1000": loaded * 1000 / each if each else None,
    }


def _idle_row(nusd: int) -> dict[str, Any]:
    sums = dict.fromkeys(WORK, 0) | {"variance_nusd": nusd}
    return _work(sums)


def _idle(scope: Scope, start: datetime, end: datetime, lob: str | None) -> dict[str, int]:
    """Idle time that is on no row of work: nobody's, a pool's, and what lines of business carry of unused hours."""
    rows = NodeInterval.objects.filter(
        organisation_id=scope.organisation_id, start__gte=hour_of(start), start__lt=end, current=True
    )
    found: dict[str, int] = {}
    if scope.organisation_id is None:
        return found
    unused = rows.filter(accelerator_ns=0).exclude(idle_shares={})
    for shares in unused.values_list("idle_shares", flat=True):
        for slug, nusd in shares.items():
            if scope.allows_lob(slug) and lob in (None, slug):
                found[f"idle: {slug}"] = found.get(f"idle: {slug}", 0) + nusd
    if scope.lob_ids is None and lob is None:
        found |= _left_over(scope.organisation_id, rows)
    return {key: nusd for key, nusd in found.items() if nusd}


def _left_over(organisation_id: int, rows: QuerySet[NodeInterval]) -> dict[str, int]:
    """Idle time that no line of business carries, by pool or nobody. Only hours that a pool may have carried, or lines of
    business in part, are looked at one by one."""
    pooled = {name: rules for name, rules in rules_of(organisation_id).items() if rules.ever("pool")}
    found = {"idle: nobody": rows.aggregate(n=Sum("idle_nusd"))["n"] or 0}
    special = rows.filter(Q(node__in=list(pooled)) | ~Q(idle_shares={}))
    for node, at, idle, shares in special.values_list("node", "start", "idle_nusd", "idle_shares"):
        carried = sum(shares.values())
        found["idle: nobody"] -= carried
        rule = pooled[node].at(at + HOUR) if node in pooled else None
        if rule and rule.rule == "pool" and rule.pool:
            found["idle: nobody"] -= idle - carried
            key = f"idle: pool {rule.pool}"
            found[key] = found.get(key, 0) + idle - carried
    return found
