"""What the resources of money share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

from django.utils.dateparse import parse_date, parse_datetime
from rest_framework import serializers

PAGING = ("cursor", "page_size")
EARLIEST, LATEST = datetime(1970, 1, 2, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)


class OrganisationRows:
    """Rows of the organisation as a whole: no line of business owns them, everybody in it may read them."""

    def get_queryset(self) -> Any:
        return self.queryset._chain().filter(organisation_id=self.scope.organisation_id)  # type: ignore[attr-defined]

    def extra(self) -> dict[str, Any]:
        self.require_whole_organisation()  # type: ignore[attr-defined]
        return {"organisation_id": self.scope.organisation_id}  # type: ignore[attr-defined]


class KnownQuery:
    """A parameter that a list doesn't take is refused by name: passed over, the whole would be read as the part asked for.

    `takes`: action → the parameters it takes; of a list and whatever else has pages those of paging besides.
    """

    takes: ClassVar[Mapping[str, Iterable[str]]] = {}

    def initial(self, request: Any, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)  # type: ignore[misc]
        action = getattr(self, "action", None)
        if request.method in ("GET", "HEAD") and action:
            refuse_unknown(request.query_params, (*self.takes.get(action, ()), *PAGING))


def refuse_unknown(query: Mapping[str, Any], known: Iterable[str], what: str = "address") -> None:
    """ValidationError that names each parameter beyond the known ones, and those."""
    names = sorted(known)
    if unknown := sorted(set(query) - {*names, "format"}):
        raise serializers.ValidationError(dict.fromkeys(unknown, f"This {what} takes {', '.join(names)}."))


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
