"""What every report shares: its shape, its period, its grouping. Read from roll-ups alone.

Money is nano-dollars, rates are in [0, 1]. Every report takes the same keywords; `start` and `end` are taken to whole hours
(the hour of `start` is in, and the hour that `end` falls into when it has begun). ValueError for a group or time zone that
doesn't exist.

A local day of a zone that lies half an hour off begins in the middle of an hourly row. Where days are asked for there, the
second half of such an hour is read from the attempts themselves and moved to the day that it belongs to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.db.models import Q, QuerySet, Sum
from django.db.models.functions import TruncHour

from costs.models import LEGS, Attempt, SpendHour
from costs.rollups import FROM_ATTEMPTS, LATER_FIELDS, hour_of
from switchyard.core.money import largest_remainder
from switchyard.tenancy.querysets import Scope

NAMES = ("lob", "application", "workload", "deployment", "model", "side", "node", "purpose")
TIMES = {"month": "%Y-%m", "week": "%G-W%V", "day": "%Y-%m-%d", "hour": "%Y-%m-%dT%H:00"}
LEG_SUMS = tuple(f"{leg}_nusd" for leg in LEGS)
SUMS = (
    "requests", "answers", "errors", "tokens_in", "tokens_out", "cached_tokens_in", "cache_write_tokens",
    "reasoning_tokens", "accelerator_ns", "cost_nusd", "variance_nusd", "answered_cost_nusd", "other_side_cost_nusd",
    "other_side_known", "other_side_own_cost_nusd", "judged", "correct", "saved_cache_nusd", "saved_batch_nusd",
    *LEG_SUMS,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Report:
    name: str
    as_of: datetime
    rows: list[dict[str, Any]]
    totals: dict[str, Any] = field(default_factory=dict)


def zone_of(tz: str) -> tzinfo:
    try:
        return ZoneInfo(tz)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{tz!r} is not a time zone of the IANA database.") from None


def groups_of(group: str, also: tuple[str, ...] = ()) -> list[str]:
    """One or two names. `also`: what this report groups by beside the names and times that all of them know."""
    names = [name.strip() for name in group.split(",")]
    known = [*NAMES, *TIMES, *also]
    if any(n not in known for n in names) or len(names) > 2 or len(set(names)) != len(names):
        raise ValueError(f"{group!r} is no grouping: one of {', '.join(known)}, or two of them with a comma.")
    return names


def spend_rows(
    scope: Scope, start: datetime, end: datetime, lob: str | None, **only: str | None
) -> QuerySet[SpendHour]:
    """The hourly rows a reader may see; `only` narrows them to one value of some of NAMES."""
    rows = SpendHour.objects.for_tenant(scope).filter(start__gte=hour_of(start), start__lt=end)
    return narrowed(rows.filter(lob=lob) if lob else rows, only)


def raw_rows(
    scope: Scope, start: datetime, end: datetime, lob: str | None, **only: str | None
) -> QuerySet[Attempt]:
    """The attempts behind `spend_rows`; `only` as there."""
    rows = Attempt.objects.for_tenant(scope).filter(
        at__gte=hour_of(start), at__lt=_whole_hour(end), superseded=False
    )
    return narrowed(rows.filter(lob=lob) if lob else rows, only)


def _whole_hour(end: datetime) -> datetime:
    """The end of the last hour that `spend_rows` takes."""
    return end if end == hour_of(end) else hour_of(end) + timedelta(hours=1)


def narrowed(rows: Any, only: Mapping[str, str | None]) -> Any:
    """`only`: name of NAMES → the one value that is let through; empty ones let everything."""
    return rows.filter(**{name: value for name, value in only.items() if value})


def grouped(
    rows: QuerySet[SpendHour], groups: list[str], zone: tzinfo, raw: QuerySet[Attempt] | None = None
) -> dict[str, dict[str, int]]:
    """Key → sums, sorted by key. Hours are put into local days here: there are few of them.

    `raw`: the attempts behind the rows; given, an hour that lies in two days is shared out between them.
    """
    names = [g for g in groups if g in NAMES]
    times = [g for g in groups if g in TIMES]
    fields = [*names, "start"] if times else names
    found: dict[str, dict[str, int]] = {}
    sums_of = {f"{n}_": Sum(n) for n in SUMS}
    asked = rows.order_by().values(*fields).annotate(**sums_of) if fields else [rows.aggregate(**sums_of)]
    plain = [{**{f: row[f] for f in fields}, **{n: row[f"{n}_"] or 0 for n in SUMS}} for row in asked]
    if times and raw is not None:
        plain = _shared_out(plain, names, times, zone, raw)
    for row in plain:
        parts = [row[g] if g in NAMES else row["start"].astimezone(zone).strftime(TIMES[g]) for g in groups]
        sums = found.setdefault("|".join(parts), dict.fromkeys(SUMS, 0))
        for name in SUMS:
            sums[name] += row[name]
    return dict(sorted(found.items()))


def _shared_out(
    rows: list[dict[str, Any]], names: list[str], times: list[str], zone: tzinfo, raw: QuerySet[Attempt]
) -> list[dict[str, Any]]:
    """The rows, those of an hour in which a local day (or hour) begins cut in two there."""
    cuts = {}
    for start in {row["start"] for row in rows}:
        cut = _boundary(start, times, zone)
        if cut is not None:
            cuts[start] = cut
    if not cuts:
        return rows
    later = _second_halves(raw, names, cuts)
    out = []
    for row in rows:
        second = later.get((row["start"], *(row[n] for n in names)))
        if second is None:
            out.append(row)
            continue
        out += _halves(row, second, cuts[row["start"]])
    return out


def _second_halves(
    raw: QuerySet[Attempt], names: list[str], cuts: Mapping[datetime, datetime]
) -> dict[tuple[Any, ...], dict[str, int]]:
    """(hour, *names) → sums of what came after its cut; one index range an hour, some dozens of them in a query."""
    found = {}
    hours = sorted(cuts)
    for first in range(0, len(hours), 50):
        inside = Q()
        for hour in hours[first : first + 50]:
            inside |= Q(at__gte=cuts[hour], at__lt=hour + timedelta(hours=1))
        rows = raw.filter(inside).annotate(hour_=TruncHour("at", tzinfo=UTC)).order_by()
        for row in rows.values("hour_", *names).annotate(**FROM_ATTEMPTS):
            sums = {n.rstrip("_"): row[n] or 0 for n in FROM_ATTEMPTS}
            found[(row["hour_"], *(row[n] for n in names))] = sums
    return found


def _halves(row: dict[str, Any], second: Mapping[str, int], cut: datetime) -> list[dict[str, Any]]:
    """What comes later than attempts (judgements, variances) is shared by requests: nobody knows its minute."""
    moved = {name: second.get(name, 0) for name in SUMS}
    weights = [max(0, row["requests"] - moved["requests"]), moved["requests"]]
    for name in LATER_FIELDS:
        if name in SUMS and sum(weights):
            sign = -1 if row[name] < 0 else 1
            moved[name] = sign * largest_remainder(abs(row[name]), weights)[1]
    first = {**row, **{name: row[name] - moved[name] for name in SUMS}}
    return [half for half in (first, {**row, **moved, "start": cut}) if any(half[name] for name in SUMS)]


def _boundary(start: datetime, times: list[str], zone: tzinfo) -> datetime | None:
    """The moment inside this UTC hour at which its local time falls into another bucket; None when there is none."""
    offset = start.astimezone(zone).utcoffset() or timedelta(0)
    past = (offset.total_seconds() // 60) % 60
    if not past:
        return None
    cut = start + timedelta(minutes=60 - past)
    before, after = start.astimezone(zone), cut.astimezone(zone)
    return cut if any(before.strftime(TIMES[t]) != after.strftime(TIMES[t]) for t in times) else None


def totals_of(found: Iterable[dict[str, int]]) -> dict[str, int]:
    total = dict.fromkeys(SUMS, 0)
    for sums in found:
        for name in SUMS:
            total[name] += sums[name]
    return total
