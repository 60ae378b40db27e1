"""Reads of bias in live answers: what was withheld, who says wrongly so, what monitors have seen. Cells under 20 are not told."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import datetime
from typing import Any

from modelhub.ml.fairness.intervals import wilson
from routing.models import BiasMonitor, Interception
from switchyard.tenancy.querysets import Scope

SMALLEST_CELL = 20
MOST_READ = 20_000


def shown(count: int) -> int | None:
    """A count that may be told: none under twenty, but for nothing at all."""
    return None if 0 < count < SMALLEST_CELL else count


def interceptions_by_kind(
    scope: Scope, lob: str | None, start: datetime, end: datetime, workload: str | None = None
) -> list[dict[str, Any]]:
    """One row a line of business, kind of risk and kind of group that the text names ("" for none): found, withheld, reviewed."""
    counted: dict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
    for row in _rows(scope, lob, start, end, workload):
        for axis in row["named"] or [""]:
            cell = counted[row["lob"], row["kind"], axis]
            cell["found"] += 1
            cell["withheld"] += row["withheld"]
            cell["confirmed"] += row["state"] == "confirmed"
            cell["overturned"] += row["state"] == "released"
    names = ("found", "withheld", "confirmed", "overturned")
    return [
        {"lob": lob_, "kind": kind, "axis": axis} | {name: shown(cell[name]) for name in names}
        for (lob_, kind, axis), cell in sorted(counted.items())
    ]


def false_blocks_by_axis(
    scope: Scope, lob: str | None, start: datetime, end: datetime
) -> list[dict[str, Any]]:
    """The guard's own false-block rate: of withheld answers that a person judged, the share overturned, by kind of group."""
    judged: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    for row in _rows(scope, lob, start, end):
        if row["withheld"] and row["state"] in ("confirmed", "released"):
            for axis in row["named"] or [""]:
                judged[axis] += 1
                wrong[axis] += row["state"] == "released"
    found = []
    for axis, n in sorted(judged.items()):
        rate = wilson(wrong[axis], n) if n >= SMALLEST_CELL else None
        told = (
            {"rate": rate.value, "low": rate.low, "high": rate.high}
            if rate
            else dict.fromkeys(("rate", "low", "high"))
        )
        found.append({"axis": axis, "judged": shown(n)} | told)
    return found


def _rows(
    scope: Scope, lob: str | None, start: datetime, end: datetime, workload: str | None = None
) -> list[dict[str, Any]]:
    rows = Interception.objects.for_tenant(scope).filter(at__gte=start, at__lt=end)
    rows = rows.filter(lob=lob) if lob else rows
    rows = rows.filter(workload=workload) if workload else rows
    return list(rows.order_by("-pk").values("lob", "kind", "named", "withheld", "state")[:MOST_READ])


def monitors(scope: Scope, lob: str | None, workload: str | None = None) -> list[dict[str, Any]]:
    """Every monitor the reader may see; rates of fewer than twenty are not told."""
    rows = BiasMonitor.objects.for_tenant(scope)
    rows = rows.filter(lob=lob) if lob else rows
    rows = rows.filter(workload=workload) if workload else rows
    found = []
    for row in rows.order_by("lob", "workload", "deployment", "signal", "axis"):
        enough = row.n >= SMALLEST_CELL
        found.append({
            "lob": row.lob, "workload": row.workload, "deployment": row.deployment, "model": row.model,
            "signal": row.signal,
            "axis": row.axis, "n": shown(row.n), "rate": row.rate if enough else None,
            "rate_rest": row.rate_rest if enough and row.n_rest >= SMALLEST_CELL else None,
            "e_value": row.e_value, "looks": row.looks,
            "alarmed_at": row.alarmed_at, "changed_at": row.changed_at, "began_at": row.began_at,
            "seen_at": row.seen_at,
        })  # fmt: skip
    return found
