"""How often answers were right, and what a right one cost."""

from __future__ import annotations

from datetime import datetime
from fractions import Fraction
from typing import Any

from costs.reports.base import Asked, Report, grouped, groups_of, totals_of, zone_of
from costs.rollups import as_of
from costs.statistics import wilson
from switchyard.tenancy.querysets import Scope


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
    found = grouped(Asked(scope, start, end, lob, judged=True), groups_of(group), zone_of(tz))
    rows = [{"key": key} | _accuracy_row(sums) for key, sums in found.items()]
    return Report("accuracy", as_of(), rows, _accuracy_row(totals_of(found.values())))


def _per_correct(sums: dict[str, int]) -> dict[str, Any]:
    """Cost per answer ÷ share of right answers: judged answers speak for those nobody judged.

    What the answers cost is metered, every one of them: it has no error. How many were right is known of those that somebody
    judged; their share has a Wilson interval, and dividing by its upper end gives the lower end of the cost, by its lower end
    the upper one (the quotient falls as the share grows, so 95 % stay 95 %). Both hold as far as the judged are like the rest:
    answers are judged as feedback comes, and a group that mixes workloads leans towards those judged most. `judged_share`
    stands beside it, and finer groups lean less.
    """
    row: dict[str, Any] = {n: sums[n] for n in ("cost_nusd", "answers", "judged", "correct")}
    row |= {"nusd_per_correct": None, "low": None, "high": None, "judged_share": None}
    if sums["answers"]:
        row["judged_share"] = sums["judged"] / sums["answers"]
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
    """Rows {"key", "cost_nusd", "answers", "judged", "correct", "nusd_per_correct", "low", "high", "judged_share"};
    None where nothing was judged or right.

    `cost_nusd` (nano-dollars) is what answers cost, their failed attempts in it: shadows, judges, evaluations and training
    answer nobody, so their cost is divided by nobody's right answers.
    """
    found = grouped(Asked(scope, start, end, lob, {"purpose": "answer"}), groups_of(group), zone_of(tz))
    rows = [{"key": key} | _per_correct(sums) for key, sums in found.items()]
    return Report("cost-per-correct", as_of(), rows, _per_correct(totals_of(found.values())))
