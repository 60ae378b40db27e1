"""What a month will come to: the latest estimates, with their interval and their own past error."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

from django.db.models import Count, Min

from costs.models import Forecast, SpendDay
from costs.reports.base import Report, groups_of, zone_of
from costs.rollups import as_of, day_of
from switchyard.tenancy.querysets import Scope

ORGANISATION = "organisation"
MIN_DAYS = 14
FIELDS = ("spent_nusd", "estimate_nusd", "low_nusd", "high_nusd", "method", "mape", "coverage", "backtests")


def forecast(
    *,
    scope: Scope,
    start: datetime,
    end: datetime,
    group: str = "lob",
    lob: str | None = None,
    tz: str = "UTC",
) -> Report:
    """Rows {"key": line of business or "organisation", "month", "spent_nusd", "estimate_nusd", "low_nusd", "high_nusd",
    "method", "mape", "coverage", "backtests", "made_at", "note", "points"}.

    The month is that of the last moment asked for, or the latest that was foreseen (UTC). `low` to `high` is a 90 % interval;
    `mape` and `coverage` are the method's own backtest on this series. Without an estimate the note says what is missing.
    The organisation's row is there for those who may see all of it.
    """
    groups_of(group), zone_of(tz)
    rows = Forecast.objects.for_tenant(scope)
    rows = rows.filter(lob=lob) if lob else rows
    asked = (end - timedelta(microseconds=1)).date().replace(day=1)
    month = rows.filter(month__lte=asked).order_by("-month").values_list("month", flat=True).first() or asked
    found = {row.lob: _row(row) for row in rows.filter(month=month).order_by("lob")}
    for name, days in _days(scope, lob, month).items():
        if name not in found:
            note = f"not enough days: {days} whole days are there, {MIN_DAYS} are needed"
            found[name] = _nothing(name, month, note if days < MIN_DAYS else "not yet foreseen")
    whole = found.get("")
    totals = {n: whole[n] for n in FIELDS[:4]} if whole else {}
    return Report("forecast", as_of(), [found[name] for name in sorted(found)], totals)


def _row(row: Forecast) -> dict[str, Any]:
    points = [
        {
            "day": p["day"],
            "actual_nusd": p["actual"],
            "nusd": p["nusd"],
            "low_nusd": p["low"],
            "high_nusd": p["high"],
        }
        for p in row.points
    ]
    return {
        "key": row.lob or ORGANISATION, "month": row.month.isoformat()[:7], **{n: getattr(row, n) for n in FIELDS},
        "made_at": row.made_at.isoformat(), "note": "", "points": points,
    }  # fmt: skip


def _nothing(lob: str, month: date, note: str) -> dict[str, Any]:
    empty: dict[str, Any] = dict.fromkeys(FIELDS)
    return {
        "key": lob or ORGANISATION,
        "month": month.isoformat()[:7],
        **empty,
        "made_at": None,
        "note": note,
        "points": [],
    }


def _days(scope: Scope, lob: str | None, month: date) -> dict[str, int]:
    """Line of business → whole days since its first; "" is the organisation, for those who may see it."""
    rows = SpendDay.objects.for_tenant(scope)
    rows = rows.filter(lob=lob) if lob else rows
    today = day_of(as_of())
    found = {
        row["lob"]: max(0, (today - row["first"]).days)
        for row in rows.order_by().values("lob").annotate(first=Min("start"), n=Count("pk"))
    }
    if found and scope.lob_slugs is None and not lob:
        found[""] = max(found.values())
    return found
