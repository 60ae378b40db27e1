"""Usage events → attempts and ledger rows, in bulk, exactly once. Event times and origins are kept as they came."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import transaction

from costs.contracts import NodeRate
from costs.ledger import append_many, expense_account
from costs.models import LEGS, Alert, Attempt, LedgerEntry
from costs.pricing import private_cost
from switchyard.core.clock import from_ns, now

log = logging.getLogger(__name__)
_LEGS = frozenset(LEGS)


@dataclass(slots=True)
class Recorded:
    """What a batch came to. `times` are those of its attempts, for the roll-ups."""

    events: int = 0
    attempts: int = 0
    entries: int = 0
    rejected: list[str] = field(default_factory=list)
    times: list[datetime] = field(default_factory=list)


def record_events(events: Iterable[Mapping[str, Any]]) -> Recorded:
    """Write the usage events of a batch (other kinds are passed over), in the caller's transaction or one of its own.

    Idempotent: attempts are unique by (request, attempt, revision), entries by event id. An event that can't be read
    raises an alert and is named in `rejected` rather than holding up the others.
    """
    done = Recorded()
    attempts: list[Attempt] = []
    entries: list[LedgerEntry] = []
    alerts: list[Alert] = []
    for event in events:
        if event.get("kind") != "usage":
            continue
        done.events += 1
        try:
            rows = attempts_of(event)
            booked = [entry for row in rows if (entry := entry_of(row)) is not None]
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            alerts.append(_rejected(event, error))
            done.rejected.append(str(event.get("event_id")))
            continue
        attempts += rows
        entries += booked
    with transaction.atomic():
        Attempt.objects.bulk_create(attempts, ignore_conflicts=True, batch_size=500)
        append_many(entries)
        if alerts:
            Alert.objects.bulk_create(alerts, ignore_conflicts=True)
    done.attempts, done.entries = len(attempts), len(entries)
    done.times = [row.at for row in attempts]
    return done


def attempts_of(event: Mapping[str, Any]) -> list[Attempt]:
    """One row an attempt. The answers, and what the other side would have cost, are on the one that answered."""
    told = event.get("attempts") or []
    answering = _answering(event, told)
    return [_attempt_row(event, item, index == answering) for index, item in enumerate(told)]


def _answering(event: Mapping[str, Any], told: list[Mapping[str, Any]]) -> int | None:
    """Index of the last good attempt of the deployment that answered; None when nobody did."""
    for index in range(len(told) - 1, -1, -1):
        item = told[index]
        if item["deployment"] == event.get("deployment") and item.get("status") != "error":
            return index
    return None


def _attempt_row(event: Mapping[str, Any], item: Mapping[str, Any], answered: bool) -> Attempt:
    cost = int(item["cost_nusd"])
    if cost < 0:
        raise ValueError(f"a cost of {cost}")
    if item["side"] not in ("private", "external"):
        raise ValueError(f"side {item['side']!r}")
    return Attempt(
        **_legs_of(item, cost),
        request_id=event["request_id"],
        attempt=item.get("attempt", 0),
        revision=item.get("revision", 0),
        organisation_id=event["organisation_id"],
        at=from_ns(item.get("at_ns") or event["at_ns"]),
        lob=event["lob"],
        application=event.get("application", ""),
        key_id=event.get("key_id", ""),
        workload=event.get("workload", ""),
        deployment=item["deployment"],
        side=item["side"],
        model=item.get("model", ""),
        node=item.get("node") or "",
        purpose=event.get("purpose", "answer"),
        upstream_id=item.get("upstream_id", ""),
        status=item.get("status", "ok"),
        tokens_in=item.get("tokens_in", 0),
        tokens_out=item.get("tokens_out", 0),
        cached_tokens_in=item.get("cached_tokens_in", 0),
        cache_write_tokens=item.get("cache_write_tokens", 0),
        reasoning_tokens=item.get("reasoning_tokens", 0),
        accelerator_ns=item.get("accelerator_ns", 0),
        duration_ms=item.get("duration_ms", 0.0),
        batch=bool(item.get("batch")),
        usage_source=item.get("usage_source", "reported"),
        price_version=item.get("price_version", ""),
        cost_nusd=cost,
        other_side_cost_nusd=event.get("other_side_cost_nusd") if answered else None,
        answered=answered,
        answers=event.get("answers", 0) if answered else 0,
        origin=event.get("origin", "live"),
    )


def _legs_of(item: Mapping[str, Any], cost: int) -> dict[str, int]:
    """The parts that the gateway told; an event that tells none has one. ValueError when they don't sum to the cost."""
    legs = item.get("legs") or {"compute" if item["side"] == "private" else "input": cost}
    if sum(legs.values()) != cost or not set(legs) <= _LEGS:
        raise ValueError(f"legs {legs} of a cost of {cost}")
    saved = item.get("saved") or {}
    return {f"{leg}_nusd": amount for leg, amount in legs.items()} | {
        f"saved_{what}_nusd": amount for what, amount in saved.items() if what in ("cache", "batch")
    }


def credit_account(row: Attempt) -> str:
    """Whom it is owed to: a vendor, or the node that did the work."""
    if row.side == "external":
        return f"payable:{row.deployment}"
    return f"absorbed:{row.node or row.deployment}"


def entry_of(row: Attempt) -> LedgerEntry | None:
    """The transfer of an attempt; None when it cost nothing."""
    if row.cost_nusd == 0:
        return None
    return LedgerEntry(
        event_id=f"{row.request_id}/{row.attempt}/{row.revision}",
        organisation_id=row.organisation_id,
        at=row.at,
        recorded_at=now(),
        debit=expense_account(row.lob),
        credit=credit_account(row),
        amount_nusd=row.cost_nusd,
        lob=row.lob,
        application=row.application,
        key_id=row.key_id,
        workload=row.workload,
        purpose=row.purpose,
        request_id=row.request_id,
        attempt=row.attempt,
        memo="" if row.usage_source == "reported" else "estimated",
        price_version=row.price_version,
        origin=row.origin,
    )


def _rejected(event: Mapping[str, Any], error: Exception) -> Alert:
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


@transaction.atomic
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
    row = Attempt(
        request_id=job_id,
        attempt=part,
        organisation_id=organisation_id,
        at=at,
        lob=lob,
        workload=workload,
        deployment=f"job:{kind}",
        side="private",
        model=kind,
        node=rate.node,
        accelerator_ns=accelerator_ns,
        duration_ms=accelerator_ns / 1e6,
        price_version=rate.version,
        cost_nusd=(cost := private_cost(accelerator_ns, rate)),
        compute_nusd=cost,
        purpose=kind,
        answered=False,
        answers=0,
        origin=origin,
    )
    entry = entry_of(row)
    Attempt.objects.bulk_create([row], ignore_conflicts=True)
    if entry is not None:
        entry.job_id, entry.memo = job_id, memo[:200]
        append_many([entry])
    return row.cost_nusd


def record_label_cost(
    *,
    event_id: str,
    organisation_id: int,
    lob: str,
    labels: int,
    label_price_nusd: int,
    at: datetime,
    workload: str = "",
    origin: str = "live",
) -> int:
    """Labelled rows, reviews and accepted feedback at the line of business's price per label; gives nano-dollars."""
    amount = labels * label_price_nusd
    if amount > 0:
        entry = LedgerEntry(
            event_id=f"labels:{event_id}"[:80],
            organisation_id=organisation_id,
            at=at,
            recorded_at=now(),
            debit=expense_account(lob),
            credit="payable:labels",
            amount_nusd=amount,
            lob=lob,
            workload=workload,
            memo=f"{labels} labels",
            origin=origin,
        )
        append_many([entry])
    return amount
