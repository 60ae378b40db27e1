"""Usage events → attempts and ledger rows, in bulk, exactly once. Event times and origins are kept as they came, but for
clocks that went wrong and for closed periods: those are booked when they were recorded, and say so."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from operator import itemgetter
from typing import Any

from django.db import DataError, IntegrityError, transaction

from costs.books import fiscal, partitions
from costs.books.conflicts import settle_conflicts
from costs.books.sanity import MAX_ACCELERATOR_NS, check_amounts, check_span, skewed
from costs.books.writing import ATTEMPTS, ENTRIES, write
from costs.contracts import NodeRate
from costs.ledger import credit_account, expense_account
from costs.models import LEGS, Alert
from costs.pricing import private_cost
from switchyard.core.bulk import Row, collector_paused, stored
from switchyard.core.clock import from_ns, now

log = logging.getLogger(__name__)
Event = Mapping[str, Any]
_LEGS = frozenset(LEGS)
_NO_LEGS = {f"{leg}_nusd": 0 for leg in (*LEGS, "saved_cache", "saved_batch")}
_attempt_row, _transfer_row = itemgetter(*ATTEMPTS.columns), itemgetter(*ENTRIES.columns)
_prepared: set[tuple[int, int]] = set()  # months whose partitions this process has seen to
_QUANTITIES = ("tokens_in", "tokens_out", "cached_tokens_in", "cache_write_tokens", "reasoning_tokens")
UNREADABLE = (KeyError, TypeError, ValueError, OverflowError, AttributeError)


@dataclass(slots=True)
class Recorded:
    """What a batch came to. `times` are those its attempts are dated at, for the roll-ups."""

    events: int = 0
    attempts: int = 0
    entries: int = 0
    rejected: list[str] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)
    times: list[datetime] = field(default_factory=list)


@dataclass(slots=True)
class _Batch:
    """Rows on their way to the tables. `moment` is when all of them are recorded."""

    moment: datetime
    moment_ns: int
    closed: dict[int, fiscal.Closed]
    attempts: list[Row] = field(default_factory=list)
    entries: list[Row] = field(default_factory=list)
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
    moment = now()
    batch = _Batch(moment, int(moment.timestamp() * 1e9), {})
    batch.closed = fiscal.closed_spans({e.get("organisation_id") or 0 for e in usage}) if usage else {}
    with collector_paused():
        for event in usage:
            try:
                done.times += _add(batch, event)
            except UNREADABLE as error:
                batch.alert(_rejected(event, error))
                done.rejected.append(str(event.get("event_id")))
    _prepare(done.times)
    written = write(batch.attempts, batch.entries)
    done.attempts, done.entries = written.attempts, written.entries
    if written.conflicts or written.refused:
        done.conflicts = settle_conflicts(written, done.times)
    _alert(*batch.alerts.values())
    return done


def _joined(parts: Iterable[Recorded]) -> Recorded:
    whole = Recorded()
    for part in parts:
        whole.events, whole.attempts, whole.entries = (
            whole.events + part.events, whole.attempts + part.attempts, whole.entries + part.entries,
        )  # fmt: skip
        whole.rejected += part.rejected
        whole.conflicts += part.conflicts
        whole.times += part.times
    return whole


def _prepare(times: Iterable[datetime]) -> None:
    """Partitions of the months that came; once a month and process."""
    months = {(at.year, at.month) for at in times} - _prepared
    if months:
        partitions.ensure_partitions([datetime(y, m, 1, tzinfo=fiscal.UTC) for y, m in months])
        _prepared.update(months)


def _alert(*alerts: Alert) -> None:
    if alerts:
        Alert.objects.bulk_create(alerts, ignore_conflicts=True)


def _add(batch: _Batch, event: Event) -> list[datetime]:
    """An event's rows, all or none; gives their times. The answers, and what the other side would have cost, are on the
    attempt that answered."""
    told = event.get("attempts") or []
    answering = _answering(event, told)
    attempts, entries, times = [], [], []
    for index, item in enumerate(told):
        values = _attempt_values(event, item, index == answering)
        at, memo = _dated(batch, event, item.get("at_ns") or event["at_ns"])
        values["at"] = stored(at)
        attempts.append(_attempt_row(values))
        times.append(at)
        if values["cost_nusd"]:
            entries.append(_entry_row(values, batch.recorded_at, memo))
    batch.attempts += attempts
    batch.entries += entries
    return times


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


def _answering(event: Event, told: list[Event]) -> int | None:
    """Index of the last good attempt of the deployment that answered; None when nobody did."""
    for index in range(len(told) - 1, -1, -1):
        item = told[index]
        if item["deployment"] == event.get("deployment") and item.get("status") != "error":
            return index
    return None


def _attempt_values(event: Event, item: Event, answered: bool) -> dict[str, Any]:
    """A row of ATTEMPTS by column, less its time. ValueError for what can't be true."""
    cost, side, get = item["cost_nusd"], item["side"], item.get
    if side not in ("private", "external"):
        raise ValueError(f"side {side!r}")
    values = {
        **_NO_LEGS,
        "request_id": event["request_id"],
        "attempt": get("attempt", 0),
        "revision": get("revision", 0),
        "superseded": False,
        "organisation_id": event["organisation_id"],
        "lob": event["lob"],
        "application": event.get("application", ""),
        "key_id": event.get("key_id", ""),
        "workload": event.get("workload", ""),
        "deployment": item["deployment"],
        "side": side,
        "model": get("model", ""),
        "node": get("node") or "",
        "purpose": event.get("purpose", "answer"),
        "upstream_id": get("upstream_id", ""),
        "status": get("status", "ok"),
        "tokens_in": get("tokens_in", 0),
        "tokens_out": get("tokens_out", 0),
        "cached_tokens_in": get("cached_tokens_in", 0),
        "cache_write_tokens": get("cache_write_tokens", 0),
        "reasoning_tokens": get("reasoning_tokens", 0),
        "accelerator_ns": get("accelerator_ns", 0),
        "duration_ms": get("duration_ms", 0.0),
        "batch": bool(get("batch")),
        "usage_source": get("usage_source", "reported"),
        "price_version": get("price_version", ""),
        "cost_nusd": cost,
        "other_side_cost_nusd": event.get("other_side_cost_nusd") if answered else None,
        "answered": answered,
        "answers": event.get("answers", 0) if answered else 0,
        "origin": event.get("origin", "live"),
    }
    check_amounts(cost_nusd=cost, **{name: values[name] for name in _QUANTITIES})
    check_span("accelerator_ns", values["accelerator_ns"], MAX_ACCELERATOR_NS)
    check_span("duration_ms", values["duration_ms"], MAX_ACCELERATOR_NS / 1e6)
    _add_legs(values, item, cost)
    return values


def _add_legs(values: dict[str, Any], item: Event, cost: int) -> None:
    """The parts that the gateway told; an event that tells none has one. ValueError when they don't sum to the cost."""
    legs = item.get("legs") or {"compute" if item["side"] == "private" else "input": cost}
    if sum(legs.values()) != cost or not legs.keys() <= _LEGS:
        raise ValueError(f"legs {legs} of a cost of {cost}")
    for leg, amount in legs.items():
        values[f"{leg}_nusd"] = amount
    for what, amount in (item.get("saved") or {}).items():
        if what in ("cache", "batch"):
            values[f"saved_{what}_nusd"] = amount


def _entry_row(values: Mapping[str, Any], recorded_at: str, memo: str, job_id: str = "") -> Row:
    """The transfer of an attempt, as a row of ENTRIES."""
    if values["usage_source"] != "reported":
        memo = f"{values['usage_source']}; {memo}" if memo else values["usage_source"]
    entry = {
        "event_id": f"{values['request_id']}/{values['attempt']}/{values['revision']}",
        "organisation_id": values["organisation_id"],
        "at": values["at"],
        "recorded_at": recorded_at,
        "debit": expense_account(values["lob"]),
        "credit": credit_account(values["side"], values["deployment"], values["node"]),
        "amount_nusd": values["cost_nusd"],
        "lob": values["lob"],
        "application": values["application"],
        "key_id": values["key_id"],
        "workload": values["workload"],
        "purpose": values["purpose"],
        "request_id": values["request_id"],
        "attempt": values["attempt"],
        "job_id": job_id,
        "memo": memo,
        "price_version": values["price_version"],
        "reverses_id": None,
        "origin": values["origin"],
    }
    return _transfer_row(entry)


def _rejected(event: Event, error: Exception) -> Alert:
    name = str(event.get("event_id"))
    log.error("Usage event %s can't be recorded: %s: %s", name, type(error).__name__, error)
    return Alert(
        organisation_id=event.get("organisation_id") or 0,
        kind="event_rejected",
        lob=str(event.get("lob") or "")[:63],
        subject=name[:120],
        message=f"Usage event {name} can't be recorded: {type(error).__name__}: {error}"[:400],
        unique_key=f"event_rejected:{name}"[:160],
    )


def _skew_alert(event: Event, said: datetime, moment: datetime) -> Alert:
    """One a line of business and hour."""
    organisation_id, lob = event["organisation_id"], str(event["lob"])[:63]
    return Alert(
        organisation_id=organisation_id, kind="clock_skew", lob=lob, subject=str(event["request_id"])[:120],
        message=f"{event['request_id']} is dated {said:%Y-%m-%d %H:%M} UTC, and came at {moment:%Y-%m-%d %H:%M}: a clock is "
        "wrong. It is booked when it came; others may have come with it.",
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
    values = _attempt_values(event, item, False)
    values["at"], said = _dated(batch, event, event["at_ns"])
    entries = (
        [_entry_row(values, moment, "; ".join(filter(None, (said, memo)))[:200], job_id)] if cost else []
    )
    with transaction.atomic():
        _prepare([values["at"]])
        write([_attempt_row(values)], entries)
        _alert(*batch.alerts.values())
    return cost
