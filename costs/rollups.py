"""Hourly and daily roll-ups: what attempts come to, all that a page ever reads. Who books attempts adds them in the same
transaction (costs.sums); `refresh` makes hours anew from their attempts."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any, TypeVar

from django.db import connection, transaction
from django.db.models import Count, Q, Sum
from django.db.models.functions import TruncDay, TruncHour

from costs.models import LEGS, QUANTITIES, Attempt, RollupMark, Spend, SpendDay, SpendHour
from costs.reading import once
from switchyard.core.bulk import grouped_by_hash
from switchyard.core.clock import now

Row = TypeVar("Row", SpendHour, SpendDay)
HOUR = timedelta(hours=1)
MARK = "spend"
DAY, EPOCH = timedelta(days=1), datetime(1970, 1, 1, tzinfo=UTC)
HOUR_LOCKS, DAY_LOCKS = 1_230_301_262, 1_230_301_263  # advisory, of two numbers
DIFFERENT_LOCKS = 64  # however long a span is
# Figures of an attempt that a roll-up sums as they are.
SUMMED = (
    *QUANTITIES, "accelerator_ns", "duration_ms", "cost_nusd", *(f"{leg}_nusd" for leg in LEGS), "saved_cache_nusd",
    "saved_batch_nusd", "answers",
)  # fmt: skip
# Roll-up field → how it follows from attempts.
FROM_ATTEMPTS: dict[str, Any] = {
    "requests": Count("pk", filter=Q(answered=True)),
    "errors": Count("pk", filter=~Q(status="ok")),
    "answered_cost_nusd": Sum("cost_nusd", filter=Q(answered=True)),
    "other_side_known": Count("pk", filter=Q(answered=True, other_side_cost_nusd__isnull=False)),
    "other_side_cost_nusd_": Sum("other_side_cost_nusd", filter=Q(answered=True)),
    "other_side_own_cost_nusd": Sum("cost_nusd", filter=Q(answered=True, other_side_cost_nusd__isnull=False)),
    **{f"{name}_": Sum(name) for name in SUMMED},
}
SPEND_NAMES = tuple(name for name in Spend.NAMES if name != "start")
SPEND_FIELDS = [name.rstrip("_") for name in FROM_ATTEMPTS]
JUDGED_FIELDS = ["judged", "correct"]
LATER_FIELDS = [*JUDGED_FIELDS, "variance_nusd"]  # written by others, after the attempts


def hour_of(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def day_of(at: datetime) -> datetime:
    return hour_of(at).replace(hour=0)


def lock(locks: int, numbers: Iterable[int], *, alone: bool) -> None:
    """Until the caller's transaction ends: hours (HOUR_LOCKS) or days (DAY_LOCKS) since the epoch, shared by who adds to them,
    `alone` for who makes them anew. Everybody takes hours, then their rows, then days, then theirs. SQLite has one writer."""
    if connection.vendor == "postgresql":
        function = "pg_advisory_xact_lock" if alone else "pg_advisory_xact_lock_shared"
        wanted = sorted({number % DIFFERENT_LOCKS for number in numbers})
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {function}(%s, number) FROM unnest(%s::int[]) number", [locks, wanted])


def _since_epoch(start: datetime, end: datetime, unit: timedelta) -> range:
    """Hours or days of [start, end)."""
    return range((start - EPOCH) // unit, (end - EPOCH) // unit)


def refresh(since: datetime, until: datetime) -> int:
    """Recompute every hour that [since, until] touches, and their days; gives the number of hourly rows.

    Judgements and variances stay as they are: they come by `record_judgements` and when a node's hours are closed. Running
    it twice changes nothing.
    """
    start, end = hour_of(since), hour_of(until) + HOUR
    with transaction.atomic():
        lock(HOUR_LOCKS, _since_epoch(start, end, HOUR), alone=True)
        rows = _hours_from_attempts(start, end)
        gone = _write_changed(SpendHour, rows, SPEND_FIELDS, start, end)
        _clear(gone)
        refresh_days(start, end)
        mark()
    return len(rows)


class _UtcHour(TruncHour):
    """The hour in UTC that a time lies in. PostgreSQL counts it off from 1970 instead of looking a time zone up by name for
    each row: a tenth of a day's roll-up."""

    def as_postgresql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        at, parameters = compiler.compile(self.lhs)
        return f"DATE_BIN('1 hour', {at}, 'epoch'::timestamptz)", parameters


def _hours_from_attempts(start: datetime, end: datetime) -> list[SpendHour]:
    names = [name for name in Spend.NAMES if name != "start"]
    grouped = (
        Attempt.objects.filter(at__gte=start, at__lt=end, superseded=False)
        .annotate(start=_UtcHour("at", tzinfo=UTC))
        .order_by()
        .values("start", *names)
        .annotate(**FROM_ATTEMPTS)
    )
    with grouped_by_hash():
        return [SpendHour(**_plain(row, names)) for row in grouped]


def _plain(row: Mapping[str, Any], names: list[str]) -> dict[str, Any]:
    """Sums over nothing are zero; names stay as they are."""
    return {k.rstrip("_"): v if k in names or k == "start" else v or 0 for k, v in row.items()}


def _names(row: Spend) -> tuple[Any, ...]:
    return tuple(getattr(row, name) for name in Spend.NAMES)


def _write_changed(
    model: type[Row], rows: list[Row], fields: list[str], start: datetime, end: datetime
) -> list[Row]:
    """Write those of `rows` whose `fields` aren't in the table yet; gives the table's rows of [start, end) that `rows` lacks.

    Most hours of a span are as they were: to compare takes a fraction of writing them again.
    """
    before = {_names(row): row for row in model.objects.filter(start__gte=start, start__lt=end)}
    values = attrgetter(*fields)
    changed = []
    for row in rows:
        known = before.pop(_names(row), None)
        if known is None or values(known) != values(row):
            changed.append(row)
    if changed:
        model.objects.bulk_create(
            changed, update_conflicts=True, unique_fields=Spend.NAMES, update_fields=fields, batch_size=200
        )
    return list(before.values())


def _clear(gone: list[SpendHour]) -> None:
    """Rows whose attempts are gone: kept at zero while they hold judgements or a variance, else removed."""
    spent = attrgetter(*SPEND_FIELDS)
    stale = [row.pk for row in gone if any(spent(row)) or not (row.judged or row.variance_nusd)]
    if stale:
        rows = SpendHour.objects.filter(pk__in=stale)
        rows.filter(judged=0, variance_nusd=0).delete()
        rows.update(**dict.fromkeys(SPEND_FIELDS, 0))


def refresh_days(start: datetime, end: datetime) -> None:
    """Sum the hours of every day that [start, end) touches again, in the caller's transaction."""
    first, after = day_of(start), day_of(end - HOUR) + DAY
    lock(DAY_LOCKS, _since_epoch(first, after, DAY), alone=True)
    fields = SPEND_FIELDS + LATER_FIELDS
    grouped = (
        SpendHour.objects.filter(start__gte=first, start__lt=after)
        .annotate(day=TruncDay("start", tzinfo=UTC))
        .order_by()
        .values("day", *SPEND_NAMES)
        .annotate(**{f"{field}_": Sum(field) for field in fields})
    )
    rows = []
    for row in grouped:
        values = {key.rstrip("_"): value for key, value in row.items()}
        rows.append(SpendDay(start=values.pop("day"), **values))
    gone = _write_changed(SpendDay, rows, fields, first, after)
    SpendDay.objects.filter(pk__in=[row.pk for row in gone]).delete()


def record_judgements(rows: Iterable[Mapping[str, Any]]) -> int:
    """Set how many answers of an hour were judged, and how many of them were right; gives the number of rows.

    Each row holds SpendHour's names (`start` any time of the hour) with `judged` and `correct` as absolute counts, so
    telling them twice changes nothing. Who judges stays with the caller: routing knows of feedback, costs doesn't.
    """
    found = [SpendHour(**dict(row) | {"start": hour_of(row["start"])}) for row in rows]
    if not found:
        return 0
    with transaction.atomic():
        _name_nodes(found)
        SpendHour.objects.bulk_create(
            found,
            update_conflicts=True,
            unique_fields=Spend.NAMES,
            update_fields=JUDGED_FIELDS,
            batch_size=200,
        )
        for day in sorted({day_of(row.start) for row in found}):
            refresh_days(day, day + HOUR)
    return len(found)


def _name_nodes(judged: list[SpendHour]) -> None:
    """Who judges doesn't know the node: the row that holds judgements already, else the one with most requests."""
    hours = {row.start for row in judged}
    known: dict[tuple[Any, ...], str] = {}
    rows = SpendHour.objects.filter(start__gte=min(hours), start__lte=max(hours))
    for row in rows.order_by("judged", "requests", "node"):
        known[_names_but_node(row)] = row.node
    for row in judged:
        row.node = known.get(_names_but_node(row), "")


def _names_but_node(row: Spend) -> tuple[Any, ...]:
    return tuple(getattr(row, name) for name in Spend.NAMES if name != "node")


def mark() -> None:
    """The derived tables are level with the ledger as of now."""
    RollupMark.objects.update_or_create(name=MARK, defaults={"at": now()})


def as_of() -> datetime:
    """When the roll-ups were last level with the ledger; now, when nothing ever happened."""
    found = once("as_of", lambda: RollupMark.objects.filter(name=MARK).first())
    return found.at if found else now()


class Refresher:
    """Collects touched times, brings the roll-ups up at most every `every_s` seconds."""

    def __init__(self, every_s: float = 3.0) -> None:
        self._every_s = every_s
        self._hours: set[datetime] = set()
        self._next = 0.0

    def touch(self, times: Iterable[datetime]) -> None:
        self._hours.update(hour_of(at) for at in times)

    def run(self, *, force: bool = False) -> int:
        """Refresh what was touched, when it is time; gives the number of hours. Idle turns only move the mark."""
        if not force and time.monotonic() < self._next:
            return 0
        self._next = time.monotonic() + self._every_s
        hours, self._hours = sorted(self._hours), set()
        try:
            refresh_hours(hours)
        except BaseException:
            self._hours.update(hours)
            raise
        if not hours:
            mark()
        return len(hours)


def refresh_hours(times: Iterable[datetime]) -> None:
    """Recompute the hours that some times lie in, and no other."""
    for first, last in _spans(sorted({hour_of(at) for at in times})):
        refresh(first, last)


def _spans(hours: list[datetime]) -> list[tuple[datetime, datetime]]:
    """Neighbouring hours as one span each."""
    spans: list[tuple[datetime, datetime]] = []
    for hour in hours:
        if spans and hour - spans[-1][1] <= HOUR:
            spans[-1] = (spans[-1][0], hour)
        else:
            spans.append((hour, hour))
    return spans
