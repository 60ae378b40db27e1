"""A period's roll-ups as cells: one row a combination of names, summed over the period, from which every grouping follows.

Whole UTC days are read from the daily rows and the hours at both ends from the hourly ones, so that a year costs little more
than a week. A page that asks many questions of one period reads its cells once (`reading.once`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import F, Q, QuerySet, Sum
from django.db.models.functions import TruncDay

from costs.models import LEGS, QUANTITIES, SpendDay, SpendHour
from costs.reading import once
from costs.rollups import HOUR, day_of, hour_of
from switchyard.tenancy.querysets import Scope

NAMES = ("lob", "application", "workload", "deployment", "model", "side", "node", "purpose")
LEG_SUMS = tuple(f"{leg}_nusd" for leg in LEGS)
SUMS = (
    "requests", "answers", "errors", *QUANTITIES, "accelerator_ns", "cost_nusd", "variance_nusd", "answered_cost_nusd",
    "other_side_cost_nusd", "other_side_known", "other_side_own_cost_nusd", "judged", "correct",
    "saved_cache_nusd", "saved_batch_nusd", *LEG_SUMS,
)  # fmt: skip
DAY = timedelta(days=1)
Cell = tuple[tuple[Any, ...], tuple[int, ...]]  # values of NAMES → of SUMS
_PLACE = {name: place for place, name in enumerate(NAMES)}


@dataclass(frozen=True, slots=True)
class Parts:
    """A span of whole hours as whole UTC days [first_day, last_day) and the hours before and behind them."""

    start: datetime
    end: datetime
    first_day: datetime
    last_day: datetime

    @classmethod
    def of(cls, start: datetime, end: datetime) -> Parts:
        """The hour of `start` is in, and the hour that `end` falls into when it has begun."""
        first, last = hour_of(start), hour_of(end)
        last = last if last == end else last + HOUR
        from_day = day_of(first) if day_of(first) == first else day_of(first) + DAY
        to_day = max(from_day, day_of(last))
        return cls(first, last, from_day, to_day) if from_day < to_day else cls(first, last, last, last)

    def days(self, scope: Scope) -> QuerySet[SpendDay] | None:
        if self.first_day >= self.last_day:
            return None
        rows: QuerySet[SpendDay] = SpendDay.objects.for_tenant(scope)
        return rows.filter(start__gte=self.first_day, start__lt=self.last_day)

    def hours(self, scope: Scope) -> QuerySet[SpendHour] | None:
        """Those that lie in no whole day."""
        edges = Q()
        if self.start < self.first_day:
            edges |= Q(start__gte=self.start, start__lt=self.first_day)
        if self.last_day < self.end:
            edges |= Q(start__gte=self.last_day, start__lt=self.end)
        if not edges:
            return None
        rows: QuerySet[SpendHour] = SpendHour.objects.for_tenant(scope)
        return rows.filter(edges)


def cells(
    scope: Scope, start: datetime, end: datetime, lob: str | None = None, **only: str | None
) -> Iterator[Cell]:
    """The period's cells that a reader may see; `only`: one value of some of NAMES, empty ones let everything through."""
    parts = Parts.of(start, end)
    key = ("cells", scope.organisation_id, scope.lob_slugs, parts.start, parts.end)
    found: list[Cell] = once(key, lambda: _read(scope, parts))
    wanted = [(_PLACE[name], value) for name, value in ({"lob": lob} | only).items() if value]
    for cell in found:
        if all(cell[0][place] == value for place, value in wanted):
            yield cell


def _read(scope: Scope, parts: Parts) -> list[Cell]:
    merged: dict[tuple[Any, ...], tuple[int, ...]] = {}
    for rows in (parts.days(scope), parts.hours(scope)):
        if rows is not None:
            _add(merged, summed(rows, NAMES), len(NAMES))
    return sorted(merged.items())


def summed(rows: QuerySet[Any], fields: Sequence[str], sums: Sequence[str] = SUMS) -> QuerySet[Any]:
    """Tuples of the fields' values and then of the sums."""
    return rows.order_by().values_list(*fields).annotate(**{f"{name}_": Sum(name) for name in sums})


def _add(merged: dict[tuple[Any, ...], tuple[int, ...]], rows: Iterable[Sequence[Any]], names: int) -> None:
    for row in rows:
        key, values = tuple(row[:names]), tuple(row[names:])
        known = merged.get(key)
        merged[key] = values if known is None else tuple(map(int.__add__, known, values))


def by(
    found: Iterable[Cell], groups: Sequence[str], keep: Callable[[dict[str, int]], bool] | None = None
) -> dict[tuple[Any, ...], dict[str, int]]:
    """Values of `groups` → sums. `keep`: which cells count at all."""
    places = [_PLACE[name] for name in groups]
    merged: dict[tuple[Any, ...], tuple[int, ...]] = {}
    for names, values in found:
        if keep is not None and not keep(dict(zip(SUMS, values, strict=True))):
            continue
        key = tuple(names[place] for place in places)
        known = merged.get(key)
        merged[key] = values if known is None else tuple(map(int.__add__, known, values))
    return {key: dict(zip(SUMS, values, strict=True)) for key, values in merged.items()}


def daily(
    scope: Scope, start: datetime, end: datetime, names: Sequence[str], narrow: Callable[[Any], Any]
) -> list[tuple[datetime, tuple[Any, ...], dict[str, int]]]:
    """(UTC day, values of `names`, sums): the hours at both ends as parts of their days. `narrow` filters the rows."""
    parts = Parts.of(start, end)
    merged: dict[tuple[Any, ...], tuple[int, ...]] = {}
    days, hours = parts.days(scope), parts.hours(scope)
    if days is not None:
        _add(merged, summed(narrow(days).annotate(day=F("start")), ("day", *names)), 1 + len(names))
    if hours is not None:
        hours = narrow(hours).annotate(day=TruncDay("start", tzinfo=UTC))
        _add(merged, summed(hours, ("day", *names)), 1 + len(names))
    return [(key[0], key[1:], dict(zip(SUMS, values, strict=True))) for key, values in merged.items()]
