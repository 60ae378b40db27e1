"""Days and hours that stood out, and why."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from costs.models import Anomaly
from costs.reports.base import Report, groups_of, zone_of
from costs.rollups import as_of
from switchyard.tenancy.querysets import Scope


def anomalies(
    *,
    scope: Scope,
    start: datetime,
    end: datetime,
    group: str = "workload",
    lob: str | None = None,
    tz: str = "UTC",
) -> Report:
    """Rows {"key": workload, "lob", "day", "spent_nusd", "expected_nusd", "low_nusd", "high_nusd", "score", "cause",
    "parts_nusd": {requests, price, tokens, mix}, "found_at"}, newest first; parts sum to spent less expected.

    Days are UTC days; what is judged is the cost of answers alone (no evaluations, shadows or training). `score`: how rare such a
    day is, once in ten to the power of it; of an hour, times the dearest one before.
    Totals: how many, and what they cost beyond what was expected.
    """
    groups_of(group), zone_of(tz)
    first, last = start.astimezone(UTC).date(), (end - timedelta(microseconds=1)).astimezone(UTC).date()
    found = Anomaly.objects.for_tenant(scope).filter(day__gte=first, day__lte=last)
    found = found.filter(lob=lob) if lob else found
    rows = [
        {
            "key": row.workload or row.lob, "lob": row.lob, "day": row.day.isoformat(), "spent_nusd": row.spent_nusd,
            "expected_nusd": row.expected_nusd, "low_nusd": row.low_nusd, "high_nusd": row.high_nusd, "score": row.score,
            "cause": row.cause, "parts_nusd": row.parts, "found_at": row.found_at.isoformat(),
        }
        for row in found.order_by("-day", "-score")
    ]  # fmt: skip
    beyond = sum(row["spent_nusd"] - row["expected_nusd"] for row in rows)
    return Report("anomalies", as_of(), rows, {"count": len(rows), "beyond_nusd": beyond})
