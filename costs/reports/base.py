"""What every report shares: its shape, its period, its grouping. Read from roll-ups alone.

Money is nano-dollars, rates are in [0, 1]. Every report takes the same keywords; `start` and `end` are taken to whole hours
(the hour of `start` is in, and the hour that `end` falls into when it has begun). ValueError for a group or time zone that
doesn't exist.

A local day of a zone that lies half an hour off begins in the middle of an hourly row. Where days are asked for there, the
second half of such an hour is read from the attempts themselves and moved to the day that it belongs to.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.db.models import Q, QuerySet
from django.db.models.functions import TruncHour

from costs.models import Attempt, SpendHour
from costs.reading import Kept
from costs.reports.cells import LEG_SUMS as LEG_SUMS
from costs.reports.cells import NAMES, SUMS, by, cells, daily, summed
from costs.rollups import FROM_ATTEMPTS, LATER_FIELDS, hour_of
from switchyard.core.money import largest_remainder
from switchyard.tenancy.querysets import Scope

Halves = dict[tuple[Any, ...], dict[str, int]]
HALVES: Kept[Halves] = Kept(2_000)
TIMES = {"month": "%Y-%m", "week": "%G-W%V", "day": "%Y-%m-%d", "hour": "%Y-%m-%dT%H:00"}


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


@dataclass(frozen=True, slots=True)
class Asked:
    """Whose spending of when: `only` narrows it to one value of some of NAMES, `judged` to what somebody judged."""

    scope: Scope
    start: datetime
    end: datetime
    lob: str | None = None
    only: Mapping[str, str | None] = field(default_factory=dict)
    judged: bool = False

    def narrow(self, rows: Any) -> Any:
        """The roll-up's rows that are meant."""
        rows = narrowed(rows, {"lob": self.lob, **self.only})
        return rows.filter(judged__gt=0) if self.judged else rows


def grouped(asked: Asked, groups: list[str], zone: tzinfo) -> dict[str, dict[str, int]]:
    """Key → sums, sorted by key.

    Without times by the period's cells, by UTC days from the daily roll-up. Hours, and days of other zones, are put together
    from hourly rows here: there are few of them. An hour that lies in two local days is shared out between them.
    """
    names, times = [g for g in groups if g in NAMES], [g for g in groups if g in TIMES]
    found: dict[str, dict[str, int]] = {}
    for start, values, sums in _parts(asked, names, times, zone):
        of = dict(zip(names, values, strict=True))
        parts = [of[g] if g in of else start.astimezone(zone).strftime(TIMES[g]) for g in groups]
        key = "|".join(parts)
        known = found.get(key)
        found[key] = sums if known is None else {name: known[name] + sums[name] for name in SUMS}
    return dict(sorted(found.items()))


def _parts(
    asked: Asked, names: list[str], times: list[str], zone: tzinfo
) -> Iterable[tuple[datetime, tuple[Any, ...], dict[str, int]]]:
    """(when, values of `names`, sums)."""
    if not times:
        kept = (lambda sums: sums["judged"] > 0) if asked.judged else None
        found = by(cells(asked.scope, asked.start, asked.end, asked.lob, **asked.only), names, kept)
        return [(asked.start, values, sums) for values, sums in found.items()]
    if "hour" not in times and str(zone) == "UTC":
        return daily(asked.scope, asked.start, asked.end, names, asked.narrow)
    rows = asked.narrow(spend_rows(asked.scope, asked.start, asked.end, None))
    fields = [*names, "start"]
    plain = [dict(zip((*fields, *SUMS), row, strict=True)) for row in summed(rows, fields)]
    if not asked.judged:
        plain = _shared_out(plain, names, times, zone, asked)
    return [(row["start"], tuple(row[n] for n in names), {n: row[n] for n in SUMS}) for row in plain]


def _shared_out(
    rows: list[dict[str, Any]], names: list[str], times: list[str], zone: tzinfo, asked: Asked
) -> list[dict[str, Any]]:
    """The rows, those of an hour in which a local day (or hour) begins cut in two there."""
    cuts = {}
    for start in {row["start"] for row in rows}:
        cut = _boundary(start, times, zone)
        if cut is not None:
            cuts[start] = cut
    if not cuts:
        return rows
    told: dict[datetime, list[tuple[Any, ...]]] = defaultdict(list)
    for row in rows:
        if row["start"] in cuts:
            told[row["start"]].append(tuple(row.values()))
    later = _second_halves(asked, names, cuts, {hour: tuple(sorted(held)) for hour, held in told.items()})
    out = []
    for row in rows:
        second = later.get((row["start"], *(row[n] for n in names)))
        if second is None:
            out.append(row)
            continue
        out += _halves(row, second, cuts[row["start"]])
    return out


def _second_halves(
    asked: Asked,
    names: list[str],
    cuts: Mapping[datetime, datetime],
    told: Mapping[datetime, tuple[Any, ...]],
) -> Halves:
    """(hour, *names) → sums of what came after its cut. Hours that were read before are kept while the roll-up says the same
    of them (`told`); of the others one index range each, some dozens of them in a query."""
    scope, only = asked.scope, frozenset(asked.only.items())
    keys = {
        hour: (scope.organisation_id, scope.lob_slugs, asked.lob, only, *names, cuts[hour], held)
        for hour, held in told.items()
    }
    known = {hour: HALVES.look(key) for hour, key in keys.items()}
    missing = sorted(hour for hour, halves in known.items() if halves is None)
    for first in range(0, len(missing), 50):
        part = missing[first : first + 50]
        found = _read_halves(asked, names, {hour: cuts[hour] for hour in part})
        for hour in part:
            own = {key: sums for key, sums in found.items() if key[0] == hour}
            known[hour] = HALVES.put(keys[hour], own)
    return {key: sums for halves in known.values() for key, sums in (halves or {}).items()}


def _read_halves(asked: Asked, names: list[str], cuts: Mapping[datetime, datetime]) -> Halves:
    inside = Q()
    for hour, cut in cuts.items():
        inside |= Q(at__gte=cut, at__lt=hour + timedelta(hours=1))
    raw = raw_rows(asked.scope, asked.start, asked.end, asked.lob, **asked.only)
    rows = raw.filter(inside).annotate(hour_=TruncHour("at", tzinfo=UTC)).order_by()
    found = {}
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
