"""What was saved, and by what: the way from everything at the external side's list price to what was really paid."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from fractions import Fraction
from typing import Any

from costs.reports.base import Report, groups_of, zone_of
from costs.reports.cells import by, cells
from costs.reports.counterfactual import ANSWERS, Sides, by_workload
from costs.rollups import as_of
from switchyard.tenancy.querysets import Scope

PARTS = ("private", "compression", "routing", "cache", "batch", "retries", "other_purposes")
# (deployment, workload) of a compressed model at home → what its teacher would cost an answer there (nano-dollars), None
# where nobody ever measured the teacher.
Teachers = Mapping[tuple[str, str], int | None]
_teachers: Callable[[int], Teachers] | None = None


def register_teachers(teachers: Callable[[int], Teachers]) -> None:
    """Whoever keeps models says which of them were compressed, and from what; costs knows only names."""
    global _teachers
    _teachers = teachers


def savings(
    *,
    scope: Scope,
    start: datetime,
    end: datetime,
    group: str = "workload",
    lob: str | None = None,
    tz: str = "UTC",
) -> Report:
    """Rows by workload {"key", "lob", "list_nusd", one a part …, "actual_nusd", "saving_nusd", "kept_home_nusd"}; list less
    all parts is the actual cost, to the nano-dollar, and that is all that the spend report shows. A part below zero cost money.

    - list: every answered request at the external side's plain price; where only home may answer, at its own cost.
    - private_nusd: had everything that may move stayed at home instead (with compression's part taken out of it).
    - compression_nusd: answers of compressed models at home against their teachers' measured cost; None: a compressed model
      answered whose teacher was never measured, so its part is still inside `private`.
    - routing_nusd: requests sent out although home could have answered: what home would have cost less what was paid.
    - cache_nusd, batch_nusd: what those prices were under the plain one.
    - retries_nusd: attempts at an answer that gave none; they only cost, so it is never above zero.
    - other_purposes_nusd: shadows, judges, evaluations and training, below zero: what it takes to know which side answers
      how well. Every part above, `list` and `requests` are of answers alone.
    `kept_home_nusd` = private + compression + routing: over the requests that home answered, their external price less
    their cost.
    """
    groups_of(group), zone_of(tz)
    compressed = _compressed(scope, start, end, lob)
    rows = [
        {"key": workload, "lob": of} | _parts(sides, compressed.get((workload, of), (0, False)))
        for (workload, of), sides in by_workload(scope, start, end, lob).items()
    ]
    return Report("savings", as_of(), rows, _totals(rows))


def _parts(sides: Sides, compression: tuple[int, bool]) -> dict[str, Any]:
    zero: dict[str, int] = {}
    home, out = sides.get("private", zero), sides.get("external", zero)
    amount, unknown = compression
    amount = 0 if unknown else amount
    paid = sum(s["cost_nusd"] for s in sides.values())
    other = sum(s["other_purposes_nusd"] for s in sides.values())
    answered = sum(s["answered_cost_nusd"] for s in sides.values())
    kept = home.get("other_side_cost_nusd", 0) - home.get("other_side_own_cost_nusd", 0)
    routing = out.get("other_side_cost_nusd", 0) - out.get("other_side_own_cost_nusd", 0)
    cache = sum(s["saved_cache_nusd"] for s in sides.values())
    batch = sum(s["saved_batch_nusd"] for s in sides.values())
    return {
        "list_nusd": answered + kept + cache + batch,
        "private_nusd": kept - routing - amount,
        "compression_nusd": None if unknown else amount,
        "routing_nusd": routing,
        "cache_nusd": cache,
        "batch_nusd": batch,
        "retries_nusd": answered - paid,
        "other_purposes_nusd": -other,
        "actual_nusd": paid + other,
        "saving_nusd": answered + kept + cache + batch - paid - other,
        "kept_home_nusd": kept,
        "requests": sum(s["requests"] for s in sides.values()),
    }


def _compressed(
    scope: Scope, start: datetime, end: datetime, lob: str | None
) -> dict[tuple[str, str], tuple[int, bool]]:
    """(workload, lob) → (what compressed models saved at home, whether some of their teachers are unmeasured)."""
    if _teachers is None or scope.organisation_id is None:
        return {}
    teachers = _teachers(scope.organisation_id)
    if not teachers:
        return {}
    names = ("lob", "workload", "deployment")
    at_home = by(cells(scope, start, end, lob, purpose=ANSWERS, side="private"), names)
    found: dict[tuple[str, str], tuple[int, bool]] = {}
    for (of, workload, deployment), sums in at_home.items():
        if (deployment, workload) not in teachers or not sums["answers"]:
            continue
        each = teachers[deployment, workload]
        amount, unknown = found.get((workload, of), (0, False))
        saved = 0 if each is None else round(Fraction(each) * sums["answers"]) - sums["answered_cost_nusd"]
        found[workload, of] = (amount + saved, unknown or each is None)
    return found


def _totals(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Unknown compression is not zero: the total says so, and how many workloads it is unknown for."""
    names = [n for n in (rows[0] if rows else {}) if n not in ("key", "lob", "compression_nusd")]
    totals: dict[str, Any] = {n: sum(row[n] for row in rows) for n in names}
    known = [row["compression_nusd"] for row in rows if row["compression_nusd"] is not None]
    totals["compression_nusd"] = sum(known) if known or not rows else None
    totals["compression_unknown"] = len(rows) - len(known)
    return totals
