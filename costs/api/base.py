"""What the resources of money share."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.utils.dateparse import parse_date, parse_datetime
from rest_framework import serializers

EARLIEST, LATEST = datetime(1970, 1, 2, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)


class OrganisationRows:
    """Rows of the organisation as a whole: no line of business owns them, everybody in it may read them."""

    def get_queryset(self) -> Any:
        return self.queryset._chain().filter(organisation_id=self.scope.organisation_id)  # type: ignore[attr-defined]

    def extra(self) -> dict[str, Any]:
        self.require_whole_organisation()  # type: ignore[attr-defined]
        return {"organisation_id": self.scope.organisation_id}  # type: ignore[attr-defined]


def parse_time(name: str, raw: str | None, default: datetime) -> datetime:
    """A date or an ISO time of the query string; without zone it is UTC."""
    if not raw:
        return default
    raw = raw.replace(" ", "+")  # a plus sign that travelled unescaped
    try:
        found = parse_datetime(raw)
        if found is None and (day := parse_date(raw)) is not None:
            found = datetime(day.year, day.month, day.day)
    except ValueError:
        found = None
    if found is None:
        raise serializers.ValidationError({name: f"{raw!r} is not a date or an ISO time."})
    found = found if found.tzinfo else found.replace(tzinfo=UTC)
    if not EARLIEST <= found <= LATEST:  # beyond them, a time zone's difference has no date
        raise serializers.ValidationError({name: f"{raw!r} lies outside of the years 1970 to 9000."})
    return found
