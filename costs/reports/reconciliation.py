"""What bills and books disagree on."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

from costs.models import BillCheck
from costs.reconciliation.service import checks_of
from costs.reports.base import Report, groups_of, zone_of
from costs.rollups import as_of
from switchyard.tenancy.querysets import Scope

DAY = timedelta(days=1)


def reconciliation(
    *,
    scope: Scope,
    start: datetime,
    end: datetime,
    group: str = "lob",
    lob: str | None = None,
    tz: str = "UTC",
) -> Report:
    """Rows {"key": "day|model|lob|cause", "day", "kind", "name", "model", "lob", "cause", "detail", "state", "rows",
    "billed_nusd", "booked_nusd", "gap_nusd"}; totals besides by state: corrected, claim, open.

    The newest check of a day speaks for it. Bills are the whole organisation's: nobody but its finance gets rows.
    """
    (
        groups_of(group),
        zone_of(tz),
    )  # the rows are days and models as billed; what is wrong is refused all the same
    rows = [
        _row(check, found)
        for check, found in _newest(list(checks_of(scope).filter(start__lt=end, end__gt=start)))
        if start.date() <= date.fromisoformat(found["day"]) <= end.date() and (not lob or found["lob"] == lob)
    ]
    names = ("rows", "billed_nusd", "booked_nusd", "gap_nusd")
    totals: dict[str, Any] = {name: sum(row[name] for row in rows) for name in names}
    for state in ("corrected", "claim", "open"):
        totals[f"{state}_nusd"] = sum(row["gap_nusd"] for row in rows if row["state"] == state)
    return Report("reconciliation", as_of(), rows, totals)


def _newest(checks: list[BillCheck]) -> list[tuple[BillCheck, dict[str, Any]]]:
    """Findings of days that no newer check of the same bill covers whole."""
    covered: dict[tuple[str, str], list[tuple[date, date]]] = {}
    out = []
    for check in sorted(checks, key=lambda c: (c.made_at, c.pk), reverse=True):
        spans = covered.setdefault((check.kind, check.name), [])
        for found in check.findings:
            day = date.fromisoformat(found["day"])
            if not any(first <= day < after for first, after in spans):
                out.append((check, found))
        spans.append((check.start.date(), (check.end + DAY - timedelta(microseconds=1)).date()))
    return out


def _row(check: BillCheck, found: dict[str, Any]) -> dict[str, Any]:
    key = "|".join(str(found[name]) for name in ("day", "model", "lob", "cause"))
    names = (
        "day", "model", "lob", "cause", "detail", "state", "rows", "billed_nusd", "booked_nusd", "gap_nusd", "samples",
    )  # fmt: skip
    return {"key": key, "kind": check.kind, "name": check.name} | {name: found[name] for name in names}
