"""The span of time a page shows, read from the query string so that its address can be shared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.utils.translation import gettext_lazy as _

from switchyard.core.clock import now

NAMES = {
    "24h": _("24 hours"),
    "7d": _("7 days"),
    "14d": _("14 days"),
    "month": _("This month"),
    "custom": _("Custom"),
}
DEFAULT = "14d"
_SPANS = {"24h": timedelta(hours=24), "7d": timedelta(days=7), "14d": timedelta(days=14)}
LONGEST = timedelta(days=400)
UTC = ZoneInfo("UTC")
# Offered; any other name of the IANA database can be typed.
ZONES = (
    "UTC", "America/New_York", "America/Los_Angeles", "America/Sao_Paulo", "Europe/London", "Europe/Berlin", "Africa/Lagos",
    "Asia/Kolkata", "Asia/Shanghai", "Asia/Tokyo", "Australia/Sydney",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Period:
    """start inclusive, end exclusive; days and months begin at midnight of `tz`. `fault` says why what was asked for could not
    be shown."""

    name: str
    start: datetime
    end: datetime
    fault: str = ""
    tz: str = "UTC"

    @property
    def bucket(self) -> str:
        """Hours for two days, days beyond."""
        return "hour" if self.end - self.start <= timedelta(days=2) else "day"

    @property
    def first_day(self) -> date:
        return self.start.astimezone(ZoneInfo(self.tz)).date()

    @property
    def last_day(self) -> date:
        return (self.end - timedelta(microseconds=1)).astimezone(ZoneInfo(self.tz)).date()


def period_from(query: Mapping[str, str]) -> Period:
    """Unknown names give the default; a zone or a custom span that can't be read gives the default and says so."""
    name, fault = query.get("period", DEFAULT), ""
    zone = _zone(query.get("tz") or "UTC")
    if zone is None:
        zone, fault = (
            UTC,
            str(_("That is no time zone of the IANA database, such as Asia/Kolkata; showing UTC.")),
        )
    if name == "custom":
        return _custom(query, zone, fault)
    return _named(name if name in NAMES else DEFAULT, zone, fault)


def _zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def _named(name: str, zone: ZoneInfo, fault: str = "") -> Period:
    at = now()
    end = (at + timedelta(hours=1)).replace(
        minute=0, second=0, microsecond=0
    )  # the running hour is shown too
    if name == "month":
        first = at.astimezone(zone).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        return Period(name, first.astimezone(UTC), end, fault, zone.key)
    return Period(name, end - _SPANS[name], end, fault, zone.key)


def _custom(query: Mapping[str, str], zone: ZoneInfo, fault: str) -> Period:
    try:
        first, last = date.fromisoformat(query.get("from", "")), date.fromisoformat(query.get("to", ""))
        start = datetime.combine(first, time(), zone).astimezone(UTC)
        end = datetime.combine(last + timedelta(days=1), time(), zone).astimezone(UTC)
    except (ValueError, OverflowError):
        return _named(DEFAULT, zone, str(_("Dates are written YYYY-MM-DD; showing the last 14 days.")))
    if end <= start or end - start > LONGEST:
        return _named(
            DEFAULT,
            zone,
            str(_("The last day must follow the first, within 400 days; showing the last 14 days.")),
        )
    return Period("custom", start, end, fault, zone.key)
