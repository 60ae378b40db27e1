"""What every report shares: its shape, its period, its grouping. Read from roll-ups alone.

Money is nano-dollars, rates are in [0, 1]. Every report takes the same keywords; `start` and `end` are taken to whole hours
(the hour of `start` is in, and the hour that `end` falls into when it has begun). ValueError for a group or time zone that
doesn't exist.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.db.models import QuerySet, Sum

from costs.models import LEGS, SpendHour
from costs.rollups import hour_of
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


def groups_of(group: str) -> list[str]:
    names = [name.strip() for name in group.split(",")]
    wrong = next((n for n in names if n not in NAMES and n not in TIMES), None)
    if wrong is not None or len(names) > 2 or len(set(names)) != len(names):
        known = ", ".join([*NAMES, *TIMES])
        raise ValueError(f"{group!r} is no grouping: one of {known}, or two of them with a comma.")
    return names


def spend_rows(scope: Scope, start: datetime, end: datetime, lob: str | None) -> QuerySet[SpendHour]:
    rows = SpendHour.objects.for_tenant(scope).filter(start__gte=hour_of(start), start__lt=end)
    return rows.filter(lob=lob) if lob else rows


def grouped(rows: QuerySet[SpendHour], groups: list[str], zone: tzinfo) -> dict[str, dict[str, int]]:
    """Key → sums, sorted by key. Hours are put into local days here: there are few of them."""
    names = [g for g in groups if g in NAMES]
    by_time = any(g in TIMES for g in groups)
    fields = [*names, "start"] if by_time else names
    found: dict[str, dict[str, int]] = {}
    for row in rows.order_by().values(*fields).annotate(**{f"{n}_": Sum(n) for n in SUMS}):
        parts = [row[g] if g in NAMES else row["start"].astimezone(zone).strftime(TIMES[g]) for g in groups]
        sums = found.setdefault("|".join(parts), dict.fromkeys(SUMS, 0))
        for name in SUMS:
            sums[name] += row[f"{name}_"] or 0
    return dict(sorted(found.items()))


def totals_of(found: Iterable[dict[str, int]]) -> dict[str, int]:
    total = dict.fromkeys(SUMS, 0)
    for sums in found:
        for name in SUMS:
            total[name] += sums[name]
    return total
