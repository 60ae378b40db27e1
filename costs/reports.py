"""Grouped figures for pages and REST, read from roll-ups alone. Money is nano-dollars, rates are in [0, 1].

Every report takes the same keywords; `start` and `end` are taken to whole hours (the hour of `start` is in, and the hour
that `end` falls into when it has begun). ValueError for a group or time zone that doesn't exist.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.db.models import QuerySet, Sum

from costs import ledger
from costs.models import LedgerEntry, NodeInterval, SpendHour
from costs.rollups import as_of, hour_of
from costs.statistics import wilson
from switchyard.tenancy.querysets import Scope

NAMES = ("lob", "application", "workload", "deployment", "model", "side")
TIMES = {"day": "%Y-%m-%d", "hour": "%Y-%m-%dT%H:00"}
SUMS = (
    "requests", "answers", "errors", "tokens_in", "tokens_out", "accelerator_ns", "cost_nusd", "answered_cost_nusd",
    "other_side_cost_nusd", "other_side_known", "other_side_own_cost_nusd", "judged", "correct",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Report:
    name: str
    as_of: datetime
    rows: list[dict[str, Any]]
    totals: dict[str, Any] = field(default_factory=dict)


def _zone(tz: str) -> tzinfo:
    try:
        return ZoneInfo(tz)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{tz!r} is not a time zone of the IANA database.") from None


def _groups(group: str) -> list[str]:
    names = [name.strip() for name in group.split(",")]
    wrong = next((n for n in names if n not in NAMES and n not in TIMES), None)
    if wrong is not None or len(names) > 2 or len(set(names)) != len(names):
        known = ", ".join([*NAMES, *TIMES])
        raise ValueError(f"{group!r} is no grouping: one of {known}, or two of them with a comma.")
    return names


def _rows(scope: Scope, start: datetime, end: datetime, lob: str | None) -> QuerySet[SpendHour]:
    rows = SpendHour.objects.for_tenant(scope).filter(start__gte=hour_of(start), start__lt=end)
    return rows.filter(lob=lob) if lob else rows


def _grouped(rows: QuerySet[SpendHour], groups: list[str], zone: tzinfo) -> dict[str, dict[str, int]]:
    """Key → sums, sorted by key. Hours are put into local days here: there are few of them."""
    names = [g for g in groups if g in NAMES]
    by_time = any(g in TIMES for g in groups)
    fields = [*names, "start"] if by_time else names
    found: dict[str, dict[str, int]] = {}
    for row in rows.order_by().values(*fields).annotate(**{f"{n}_": Sum(n) for n in SUMS}):
        parts = [row[g] if g in NAMES else row["start"].astimezone(zone).strftime(TIMES[g]) for g in groups]
        sums = found.setdefault("|".join(parts), dict.fromkeys(SUMS, 0))
        for name in SUMS:
            sums[name] += row[f"{name}_"] or 0
    return dict(sorted(found.items()))


def _totals(found: Iterable[dict[str, int]]) -> dict[str, int]:
    total = dict.fromkeys(SUMS, 0)
    for sums in found:
        for name in SUMS:
            total[name] += sums[name]
    return total


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
    found = _grouped(_rows(scope, start, end, lob), _groups(group), _zone(tz))
    names = ("cost_nusd", "requests", "answers", "errors", "tokens_in", "tokens_out")
    rows = [{"key": key} | {n: sums[n] for n in names} for key, sums in found.items()]
    totals = _totals(found.values())
    return Report("spend", as_of(), rows, {n: totals[n] for n in names})


def _accuracy_row(sums: dict[str, int]) -> dict[str, Any]:
    low, high = wilson(sums["correct"], sums["judged"])
    rate = sums["correct"] / sums["judged"] if sums["judged"] else None
    return {"correct": sums["correct"], "judged": sums["judged"], "rate": rate, "low": low, "high": high}


def accuracy(
    *,
    scope: Scope,
    start: datetime,
    end: datetime,
    group: str = "lob",
    lob: str | None = None,
    tz: str = "UTC",
) -> Report:
    """Rows {"key", "correct", "judged", "rate", "low", "high"}: Wilson 95 %; groups without a judgement are left out."""
    found = _grouped(_rows(scope, start, end, lob).filter(judged__gt=0), _groups(group), _zone(tz))
    rows = [{"key": key} | _accuracy_row(sums) for key, sums in found.items()]
    return Report("accuracy", as_of(), rows, _accuracy_row(_totals(found.values())))


def _per_correct(sums: dict[str, int]) -> dict[str, Any]:
    """Cost per answer ÷ share of right answers: judged answers speak for those nobody judged."""
    row: dict[str, Any] = {n: sums[n] for n in ("cost_nusd", "answers", "judged", "correct")}
    row |= {"nusd_per_correct": None, "low": None, "high": None}
    if sums["answers"] and sums["judged"]:
        each = Fraction(sums["cost_nusd"], sums["answers"])
        worst, best = wilson(sums["correct"], sums["judged"])
        row["low"] = round(each / Fraction(best)) if best > 0 else None
        row["high"] = round(each / Fraction(worst)) if worst > 0 else None
        if sums["correct"]:
            row["nusd_per_correct"] = round(each * sums["judged"] / sums["correct"])
    return row


def cost_per_correct(
    *,
    scope: Scope,
    start: datetime,
    end: datetime,
    group: str = "lob",
    lob: str | None = None,
    tz: str = "UTC",
) -> Report:
    """Rows {"key", "cost_nusd", "answers", "judged", "correct", "nusd_per_correct", "low", "high"}; None where nothing was
    judged or right."""
    found = _grouped(_rows(scope, start, end, lob), _groups(group), _zone(tz))
    rows = [{"key": key} | _per_correct(sums) for key, sums in found.items()]
    return Report("cost-per-correct", as_of(), rows, _per_correct(_totals(found.values())))


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
    _groups(group), _zone(tz)  # the rows are always workloads; what is wrong is refused all the same
    sums = (
        _rows(scope, start, end, lob)
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
        organisation_id=scope.organisation_id, start__gte=hour_of(start), start__lt=end
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
    first = _groups(group)[0]
    if first == "side":
        raise ValueError("The share is of the sides already: group it by something else.")
    found = _grouped(_rows(scope, start, end, lob), [first, "side"], _zone(tz))
    rows: dict[str, dict[str, Any]] = {}
    for both, sums in found.items():
        key, _, side = both.rpartition("|")
        row = rows.setdefault(key, {"key": key, "private": 0, "external": 0})
        row[side] += sums["requests"]
    totals = {side: sum(row[side] for row in rows.values()) for side in ("private", "external")}
    return Report("share", as_of(), list(rows.values()), totals)


def trial_balance(
    *,
    scope: Scope,
    start: datetime,
    end: datetime,
    group: str = "lob",
    lob: str | None = None,
    tz: str = "UTC",
) -> Report:
    """Rows {"key": account, "debit_nusd", "credit_nusd"}; the totals are equal, always."""
    rows = LedgerEntry.objects.for_tenant(scope).filter(at__gte=start, at__lt=end)
    if lob:
        rows = rows.filter(lob=lob)
    found = ledger.balances(rows)
    out = [{"key": account, "debit_nusd": d, "credit_nusd": c} for account, (d, c) in found.items()]
    totals = {n: sum(row[n] for row in out) for n in ("debit_nusd", "credit_nusd")}
    return Report("trial-balance", as_of(), out, totals)
