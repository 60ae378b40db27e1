"""Usage events → attempts and ledger rows, in bulk, exactly once. Event times and origins are kept as they came, but for
clocks that went wrong and for closed periods: those are booked when they were recorded, and say so."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import DataError, IntegrityError, transaction
from django.utils.translation import gettext as _

from costs import rollups
from costs.books import fiscal, partitions, rows
from costs.books.conflicts import settle_conflicts
from costs.books.sanity import skewed
from costs.books.writing import write
from costs.contracts import NodeRate
from costs.models import Alert
from costs.pricing import private_cost
from switchyard.core.bulk import Row, collector_paused, stored
from switchyard.core.clock import from_ns, now

log = logging.getLogger(__name__)
Event = Mapping[str, Any]
UNREADABLE = (KeyError, TypeError, ValueError, OverflowError, AttributeError)


@dataclass(slots=True)
class Recorded:
    """What a batch came to."""

    events: int = 0
    attempts: int = 0
    entries: int = 0
    rejected: list[str] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Batch:
    """Rows on their way to the tables. `moment` is when all of them are recorded."""

    moment: datetime
    moment_ns: int
    closed: dict[int, fiscal.Closed]
    attempts: list[Row] = field(default_factory=list)
    alerts: dict[str, Alert] = field(default_factory=dict)
    recorded_at: str = field(init=False)

    def __post_init__(self) -> None:
        self.recorded_at = stored(self.moment)

    def alert(self, alert: Alert) -> None:
        self.alerts.setdefault(alert.unique_key, alert)


def record_events(events: Iterable[Event]) -> Recorded:
    """Write the usage events of a batch (other kinds are passed over), in the caller's transaction or one of its own.

    Idempotent: attempts are unique by (request, attempt, revision), entries by event id; the same again is passed over, and
    another content under a known id is refused with an alert. An event that can't be read or says what can't be true raises
    an alert and is named in `rejected` rather than holding up the others.
    """
    usage = [event for event in events if event.get("kind") == "usage"]
    try:
        with transaction.atomic():
            return _record(usage)
    except IntegrityError:  # a period was closed meanwhile: with what is closed now, its events are late
        with transaction.atomic():
            return _record(usage)
    except DataError:
        if len(usage) == 1:
            done = Recorded(events=1, rejected=[str(usage[0].get("event_id"))])
            _alert(
                _rejected(usage[0], ValueError("a name is longer than its column, or holds a NUL character"))
            )
            return done
        return _joined([record_events([event]) for event in usage])


def _record(usage: list[Event]) -> Recorded:
    done = Recorded(events=len(usage))
    if not usage:
        return done
    moment = now()
    batch = _Batch(moment, int(moment.timestamp() * 1e9), {})
    batch.closed = fiscal.closed_spans({e.get("organisation_id") or 0 for e in usage})
    times = [ns for e in usage if type(ns := e.get("at_ns")) is int and not skewed(ns, batch.moment_ns)]
    if times:
        partitions.prepare(from_ns(min(times)), from_ns(max(times)))
    with collector_paused():
        written = write(batch.attempts, _transfers(batch, usage, done))
    done.attempts, done.entries = written.attempts, written.entries
    if written.conflicts or written.refused:
        corrected: list[datetime] = []
        done.conflicts = settle_conflicts(written, corrected)
        rollups.refresh_hours(corrected)
    _alert(*batch.alerts.values())
    return done


def _transfers(batch: _Batch, usage: list[Event], done: Recorded) -> Iterator[Row]:
    """The events' transfers; their attempts are in `batch` when it ends."""
    for event in usage:
        try:
            entries = _add(batch, event)
        except UNREADABLE as error:
            batch.alert(_rejected(event, error))
            done.rejected.append(str(event.get("event_id")))
            continue
        yield from entries


def _joined(parts: Iterable[Recorded]) -> Recorded:
    whole = Recorded()
    for part in parts:
        whole.events, whole.attempts, whole.entries = (
            whole.events + part.events, whole.attempts + part.attempts, whole.entries + part.entries,
        )  # fmt: skip
        whole.rejected += part.rejected
        whole.conflicts += part.conflicts
    return whole


def _alert(*alerts: Alert) -> None:
    if alerts:
        Alert.objects.bulk_create(alerts, ignore_conflicts=True)


def _add(batch: _Batch, event: Event) -> list[Row]:
    """An event's rows, all or none: attempts into the batch; gives transfers. The answers, and what the other side
    would have cost, are on the attempt that answered."""
    told = event.get("attempts") or []
    answering = rows.answering(event, told)
    attempts, entries = [], []
    for index, item in enumerate(told):
        values = rows.attempt_values(event, item, index == answering)
        at, memo = _dated(batch, event, item.get("at_ns") or event["at_ns"])
        values["at"] = stored(at)
        attempts.append(rows.attempt_row(values))
        if values["cost_nusd"]:
            entries.append(rows.transfer_row(values, batch.recorded_at, memo))
    batch.attempts += attempts
    return entries


def _dated(batch: _Batch, event: Event, at_ns: int) -> tuple[datetime, str]:
    """When a row is booked, and why that isn't when it happened."""
    organisation_id = event["organisation_id"]
    if skewed(at_ns, batch.moment_ns):
        said = from_ns(max(0, min(at_ns, 4 * 10**18)))
        batch.alert(_skew_alert(event, said, batch.moment))
        return batch.moment, f"clock skew: dated {said:%Y-%m-%dT%H:%M:%SZ}"
    at = from_ns(at_ns)
    if batch.closed and (late := fiscal.lateness(batch.closed.get(organisation_id, []), at)):
        batch.alert(fiscal.late_alert(organisation_id, late, event["request_id"]))
        return batch.moment, f"{late}: {at:%Y-%m-%dT%H:%M:%SZ}"
    return at, ""


def _rejected(event: Event, error: Exception) -> Alert:
    name = str(event.get("event_id"))
    log.error("Usage event %s can't be recorded: %s: %s", name, type(error).__name__, error)
    return Alert(
        organisation_id=event.get("organisation_id") or 0,
        kind="event_rejected",
        lob=str(event.get("lob") or "")[:63],
        subject=name[:120],
        message=(
            _("Usage event %(name)s can't be recorded: %(error)s")
            % {"name": name, "error": f"{type(error).__name__}: {error}"}
        )[:400],
        unique_key=f"event_rejected:{name}"[:160],
    )


def _skew_alert(event: Event, said: datetime, moment: datetime) -> Alert:
    """One a line of business and hour."""
    organisation_id, lob = event["organisation_id"], str(event["lob"])[:63]
    return Alert(
        organisation_id=organisation_id, kind="clock_skew", lob=lob, subject=str(event["request_id"])[:120],
        message=_(
            "%(request)s is dated %(said)s UTC, and came at %(moment)s: a clock is wrong. It is booked when it came; others may "
            "have come with it."
        ) % {"request": event["request_id"], "said": f"{said:%Y-%m-%d %H:%M}", "moment": f"{moment:%Y-%m-%d %H:%M}"},
        unique_key=f"clock_skew:{organisation_id}:{lob}:{moment:%Y%m%d%H}",
    )  # fmt: skip


def record_job_cost(
    *,
    job_id: str,
    kind: str,
    organisation_id: int,
    lob: str,
    rate: NodeRate,
    accelerator_ns: int,
    at: datetime,
    workload: str = "",
    part: int = 0,
    memo: str = "",
    origin: str = "job",
) -> int:
    """A job's measured time on a node at its standard rate, charged to the line of business; gives nano-dollars.

    Idempotent by (job, part); a job that reports as it goes gives each report a part of its own.
    """
    cost = private_cost(accelerator_ns, rate)
    event = {
        "request_id": job_id, "organisation_id": organisation_id, "lob": lob, "workload": workload, "purpose": kind,
        "origin": origin, "at_ns": int(at.timestamp() * 1e6) * 1000,
    }  # fmt: skip
    item = {
        "attempt": part, "deployment": f"job:{kind}", "side": "private", "model": kind, "node": rate.node,
        "accelerator_ns": accelerator_ns, "duration_ms": accelerator_ns / 1e6, "price_version": rate.version,
        "cost_nusd": cost,
    }  # fmt: skip
    moment = now()
    batch = _Batch(moment, int(moment.timestamp() * 1e9), fiscal.closed_spans([organisation_id]))
    values = rows.attempt_values(event, item, False)
    booked_at, said = _dated(batch, event, event["at_ns"])
    values["at"], memo = stored(booked_at), "; ".join(filter(None, (said, memo)))[:200]
    entries = [rows.transfer_row(values, batch.recorded_at, memo, job_id)] if cost else []
    with transaction.atomic():
        partitions.prepare(booked_at, booked_at)
        write([rows.attempt_row(values)], entries)
        _alert(*batch.alerts.values())
    return cost
