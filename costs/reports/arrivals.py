"""Arrivals and service times as they were: the one place where a report reads attempts, and never more than a bounded block.

Short windows are read whole. Of long ones the busiest neighbouring hours are taken, by the roll-up, so that the queue sees
real bursts at their real distances: thinned arrivals would look calmer than they were. What was read is kept while the
roll-up says the same of those hours: the busiest of a period seldom changes while somebody looks at it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from django.core.exceptions import EmptyResultSet
from django.db import connections
from django.db.models import F, FloatField, Func, Sum, TextField
from django.db.models.functions import Cast

from costs.models import Attempt, SpendHour
from costs.planning.queueing import Trace
from costs.reading import Kept
from costs.rollups import HOUR, hour_of
from switchyard.tenancy.querysets import Scope

MOST_ROWS = 20_000
ONLINE = ("answer", "shadow", "judge")  # jobs wait for a quiet hour; these don't


class NothingToQueue(ValueError):
    """Fewer than two answers with a measured time: there is no queue to replay."""


@dataclass(frozen=True)
class Sample:
    """Attempts in their order: microseconds since the epoch, nanoseconds of service, milliseconds as they were."""

    at_us: np.ndarray
    service_ns: np.ndarray
    duration_ms: np.ndarray


KEPT: Kept[Sample] = Kept(16)  # of at most half a megabyte each


@dataclass(frozen=True)
class Arrivals:
    """`whole`: the sample is everything in the period. `measured_p95_ms`: attempts' own duration, as it was."""

    trace: Trace
    start: datetime
    end: datetime
    rows: int
    whole: bool
    measured_p95_ms: float


def private_arrivals(
    scope: Scope,
    start: datetime,
    end: datetime,
    *,
    lob: str | None = None,
    workload: str | None = None,
    nodes: Collection[str] | None = None,
    most: int = MOST_ROWS,
) -> Arrivals:
    """Attempts of the private side in their order. Raises NothingToQueue."""
    names: dict[str, Any] = {"side": "private", "purpose__in": ONLINE}
    names |= {"lob": lob} if lob else {}
    names |= {"workload": workload} if workload else {}
    names |= {"node__in": sorted(nodes)} if nodes is not None else {}
    hours = _hours(scope, hour_of(start), end, names)
    first, last, whole = _block(hours, hour_of(start), end, most)
    rows = Attempt.objects.for_tenant(scope).filter(at__gte=first, at__lt=last, superseded=False, **names)
    told = tuple(sorted((hour, *sums) for hour, sums in hours.items() if first <= hour < last))
    key = (scope.organisation_id, scope.lob_slugs, repr(sorted(names.items())), first, last, most, told)
    timed = rows.filter(accelerator_ns__gt=0).order_by("at")[:most]
    found = KEPT.get(key, lambda: _fetch(timed)) if told else _fetch(timed)
    if len(found.at_us) < 2 or found.at_us[0] == found.at_us[-1]:
        raise NothingToQueue
    trace = Trace((found.at_us - found.at_us[0]) / 1e6, found.service_ns / 1e9)
    count = len(found.at_us)
    return Arrivals(
        trace, first, last, count, whole and count < most, float(np.percentile(found.duration_ms, 95))
    )


def _hours(
    scope: Scope, start: datetime, end: datetime, names: dict[str, Any]
) -> dict[datetime, tuple[int, int, float]]:
    """Hour → requests, accelerator nanoseconds and duration of what is asked for."""
    rows = SpendHour.objects.for_tenant(scope).filter(start__gte=start, start__lt=end, **names)
    sums = rows.order_by("start").values_list("start").annotate(
        n=Sum("requests"), ns=Sum("accelerator_ns"), ms=Sum("duration_ms")
    )  # fmt: skip
    return {hour: (n, ns, ms) for hour, n, ns, ms in sums}


def _block(
    told: dict[datetime, tuple[int, int, float]], start: datetime, end: datetime, most: int
) -> tuple[datetime, datetime, bool]:
    """(from, until, whether it is everything): hours around the busiest one while they fit into `most` rows."""
    hours = {hour: sums[0] for hour, sums in told.items()}
    if not hours or sum(hours.values()) <= most:
        return start, end, True
    first = last = max(hours, key=lambda hour: (hours[hour], hour))
    taken = hours[first]
    while True:
        ahead, behind = last + HOUR, first - HOUR
        wider = [hour for hour in (ahead, behind) if start <= hour < end]
        if not wider:
            break
        hour = max(wider, key=lambda h: (hours.get(h, 0), h))
        taken += hours.get(hour, 0)
        if taken > most:
            break
        first, last = min(first, hour), max(last, hour)
    return first, last + HOUR, False


def _fetch(rows: Any) -> Sample:
    """By cursor, with times as numbers, or in SQLite as the texts they are kept as: turning twenty thousand of them into
    datetimes one by one is what a page would spend its time on."""
    texts = connections[rows.db].vendor == "sqlite"
    seconds: Any = Func(
        F("at"),
        function="date_part",
        template="date_part('epoch', %(expressions)s)",
        output_field=FloatField(),
    )
    rows = rows.annotate(moment=Cast("at", TextField()) if texts else seconds)
    query = rows.values_list("moment", "accelerator_ns", "duration_ms").query
    try:
        statement, parameters = query.get_compiler(using=rows.db).as_sql()
    except EmptyResultSet:  # a reader who may see nothing
        raise NothingToQueue from None
    with connections[rows.db].cursor() as cursor:
        cursor.execute(statement, parameters)
        found = cursor.fetchall()
    if not found:
        return Sample(np.empty(0), np.empty(0), np.empty(0))
    if not texts:
        table = np.array(found, dtype=np.float64)
        return Sample(np.round(table[:, 0] * 1e6), table[:, 1].copy(), table[:, 2].copy())
    moments, service_ns, duration_ms = zip(*found, strict=True)
    at_us = np.array(moments, dtype="datetime64[us]").astype(np.int64).astype(np.float64)
    return Sample(at_us, np.array(service_ns, dtype=np.float64), np.array(duration_ms, dtype=np.float64))
