"""Pure: the calendar period a budget counts in, in its own time zone, right across daylight saving."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def period_bounds(period: str, timezone: str, at: datetime) -> tuple[datetime, datetime | None]:
    """[start, end) in UTC of the day, week (from Monday) or month that `at` lies in; `total` has no end.

    Days are local days: on the two days a year when clocks move they last 23 or 25 hours. ValueError for an unknown
    period, ZoneInfoNotFoundError for an unknown zone.
    """
    if period == "total":
        return EPOCH, None
    zone = ZoneInfo(timezone)
    today = at.astimezone(zone).date()
    if period == "day":
        first, after = today, today + timedelta(days=1)
    elif period == "week":
        first = today - timedelta(days=today.weekday())
        after = first + timedelta(days=7)
    elif period == "month":
        first = today.replace(day=1)
        after = (first + timedelta(days=32)).replace(day=1)
    else:
        raise ValueError(f"{period!r} is no period: day, week, month or total.")
    return _midnight(first, zone), _midnight(after, zone)


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    """The instant a local day begins. Where clocks skip midnight, the instant they skip at."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


@lru_cache(maxsize=4096)
def _bounds_of_hour(period: str, timezone: str, quarter: int) -> tuple[int, int]:
    start, end = period_bounds(period, timezone, datetime.fromtimestamp(quarter * 900, UTC))
    return int(start.timestamp()), int(end.timestamp()) if end else 0


def period_seconds(period: str, timezone: str, at_s: float) -> tuple[int, int]:
    """The same as whole seconds since the epoch (end 0: never). Every zone's midnight falls on a quarter of an hour, so
    one look-up serves all requests of that quarter."""
    return _bounds_of_hour(period, timezone, int(at_s) // 900)


def counter_key(budget_id: int, start_s: int) -> str:
    return f"sy:b:{budget_id}:{start_s}"
