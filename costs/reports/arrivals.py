"""Arrivals and service times as they were: the one place where a report reads attempts, and never more than a bounded block.

Short windows are read whole. Of long ones the busiest neighbouring hours are taken, by the roll-up, so that the queue sees
real bursts at their real distances: thinned arrivals would look calmer than they were.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from django.core.exceptions import EmptyResultSet
from django.db import connections
from django.db.models import F, Sum, TextField
from django.db.models.functions import Cast

from costs.models import Attempt, SpendHour
from costs.planning.queueing import Trace
from costs.rollups import HOUR, hour_of
from switchyard.tenancy.querysets import Scope

MOST_ROWS = 20_000
ONLINE = ("answer", "shadow", "judge")  # jobs wait for a quiet hour; these don't


class NothingToQueue(ValueError):
    """Fewer than two answers with a measured time: there is no queue to replay."""


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
    first, last, whole = _block(scope, hour_of(start), end, names, most)
    rows = Attempt.objects.for_tenant(scope).filter(at__gte=first, at__lt=last, superseded=False, **names)
    found = _fetch(rows.filter(accelerator_ns__gt=0).order_by("at")[:most])
    at_us, service_ns, duration_ms = found
    if len(at_us) < 2 or at_us[0] == at_us[-1]:
        raise NothingToQueue
    trace = Trace((at_us - at_us[0]) / 1e6, service_ns / 1e9)
    return Arrivals(
        trace, first, last, len(at_us), whole and len(at_us) < most, float(np.percentile(duration_ms, 95))
    )


def _block(
    scope: Scope, start: datetime, end: datetime, names: dict[str, Any], most: int
) -> tuple[datetime, datetime, bool]:
    """(from, until, whether it is everything): hours around the busiest one while they fit into `most` rows."""
    rows = SpendHour.objects.for_tenant(scope).filter(start__gte=start, start__lt=end, **names)
    hours = dict(rows.order_by("start").values_list("start").annotate(n=Sum("requests")))
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


def _fetch(rows: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Microseconds since the epoch, nanoseconds, milliseconds. By cursor, and SQLite's times as the texts they are kept as:
    turning twenty thousand of them into datetimes one by one is what a page would spend its time on."""
    texts = connections[rows.db].vendor == "sqlite"
    rows = rows.annotate(moment=Cast("at", TextField()) if texts else F("at"))
    query = rows.values_list("moment", "accelerator_ns", "duration_ms").query
    try:
        statement, parameters = query.get_compiler(using=rows.db).as_sql()
    except EmptyResultSet:  # a reader who may see nothing
        raise NothingToQueue from None
    with connections[rows.db].cursor() as cursor:
        cursor.execute(statement, parameters)
        found = cursor.fetchall()
    if not found:
        return np.empty(0), np.empty(0), np.empty(0)
    moments, service_ns, duration_ms = zip(*found, strict=True)
    if not texts:
        moments = tuple(at.astimezone(UTC).replace(tzinfo=None) for at in moments)
    at_us = np.array(moments, dtype="datetime64[us]").astype(np.int64).astype(np.float64)
    return at_us, np.array(service_ns, dtype=np.float64), np.array(duration_ms, dtype=np.float64)
