"""The span of time a page shows, read from the query string so that its address can be shared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

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


@dataclass(frozen=True, slots=True)
class Period:
    """start inclusive, end exclusive, UTC. `fault` says why what was asked for could not be shown."""

    name: str
    start: datetime
    end: datetime
    fault: str = ""

    @property
    def bucket(self) -> str:
        """Hours for two days, days beyond."""
        return "hour" if self.end - self.start <= timedelta(days=2) else "day"

    @property
    def last_day(self) -> date:
        return (self.end - timedelta(microseconds=1)).date()


def period_from(query: Mapping[str, str]) -> Period:
    """Unknown names give the default; a custom span that can't be read gives the default and says so."""
    name = query.get("period", DEFAULT)
    if name == "custom":
        return _custom(query)
    return _named(name if name in NAMES else DEFAULT)


def _named(name: str, fault: str = "") -> Period:
    at = now()
    end = (at + timedelta(hours=1)).replace(
        minute=0, second=0, microsecond=0
    )  # the running hour is shown too
    if name == "month":
        return Period(name, at.replace(day=1, hour=0, minute=0, second=0, microsecond=0), end, fault)
    return Period(name, end - _SPANS[name], end, fault)


def _custom(query: Mapping[str, str]) -> Period:
    try:
        first, last = date.fromisoformat(query.get("from", "")), date.fromisoformat(query.get("to", ""))
    except ValueError:
        return _named(DEFAULT, str(_("Dates are written YYYY-MM-DD; showing the last 14 days.")))
    start = datetime.combine(first, time(), UTC)
    end = datetime.combine(last, time(), UTC) + timedelta(days=1)
    if end <= start or end - start > LONGEST:
        return _named(
            DEFAULT, str(_("The last day must follow the first, within 400 days; showing the last 14 days."))
        )
    return Period("custom", start, end)
