"""Hourly node bills: bill = used + idle to the nano-dollar, used shared out by measured time, idle on its own line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Min

from costs.ledger import append, reverse
from costs.models import Attempt, LedgerEntry, Node, NodeInterval
from costs.pricing import HOUR_NS, Unpriced
from costs.rollups import HOUR, hour_of
from costs.selectors import hourly_nusd
from switchyard.core.clock import now
from switchyard.core.money import largest_remainder

SETTLE_AFTER = timedelta(minutes=5)  # events of an hour that just ended may still be on their way


@dataclass(frozen=True, slots=True)
class Allocation:
    """An interval's bill by who used it, and what nobody used."""

    shares: Mapping[str, int]
    idle_nusd: int

    @property
    def used_nusd(self) -> int:
        return sum(self.shares.values())


def allocate(bill_nusd: int, used_ns: Mapping[str, int], capacity_ns: int) -> Allocation:
    """Share a bill by measured nanoseconds; what is left of the capacity is idle. Everything sums to the bill exactly.

    When more was measured than the clock gave (work side by side on several cores), nothing is idle.
    """
    names = sorted(used_ns)
    weights = [used_ns[name] for name in names]
    idle_ns = max(0, capacity_ns - sum(weights))
    *shares, idle = largest_remainder(bill_nusd, [*weights, idle_ns])
    return Allocation(dict(zip(names, shares, strict=True)), idle)


def close_intervals(organisation_id: int, since: datetime, until: datetime) -> int:
    """Bill every whole hour of [since, until) for every node; gives how many intervals changed.

    Idempotent. When late attempts or another rate change an hour that was closed, its entries are reversed and booked
    anew. Hours before the node was set up belong to the demonstration: they are billed from its first replayed answer on.
    """
    changed = 0
    last = min(until, now() - SETTLE_AFTER)
    for node in Node.objects.filter(organisation_id=organisation_id):
        try:
            rate = hourly_nusd(node)
        except Unpriced:
            continue
        hour, end = max(hour_of(since), _begins(node)), hour_of(last)
        used = _used_ns(node, hour, end)
        while hour < end:
            changed += _close(node, hour, rate, used.get(hour, {}))
            hour += HOUR
    return changed


def _begins(node: Node) -> datetime:
    """The node's first hour: set up, or the first replayed answer before that."""
    attempts = Attempt.objects.filter(organisation_id=node.organisation_id, node=node.name)
    first = attempts.aggregate(at=Min("at"))["at"]
    return hour_of(min(first, node.created_at) if first else node.created_at)


def _used_ns(node: Node, start: datetime, end: datetime) -> dict[datetime, dict[str, int]]:
    """Hour → LOB → accelerator nanoseconds."""
    found: dict[datetime, dict[str, int]] = {}
    attempts = Attempt.objects.filter(organisation_id=node.organisation_id, node=node.name)
    rows = attempts.filter(at__gte=start, at__lt=end, accelerator_ns__gt=0)
    for at, lob, ns in rows.values_list("at", "lob", "accelerator_ns").iterator(chunk_size=5000):
        of_hour = found.setdefault(hour_of(at), {})
        of_hour[lob] = of_hour.get(lob, 0) + ns
    return found


@transaction.atomic
def _close(node: Node, hour: datetime, rate_nusd: int, used_ns: Mapping[str, int]) -> bool:
    """One hour of one node; whether anything changed."""
    parts = allocate(rate_nusd, used_ns, HOUR_NS)
    values = {
        "seconds": 3600,
        "bill_nusd": rate_nusd,
        "used_nusd": parts.used_nusd,
        "idle_nusd": parts.idle_nusd,
        "accelerator_ns": sum(used_ns.values()),
        "shares": dict(parts.shares),
        "origin": "demonstration" if hour + HOUR <= node.created_at else "live",
    }
    names = {"organisation_id": node.organisation_id, "node": node.name, "start": hour}
    known = NodeInterval.objects.filter(**names).first()
    if known is not None and all(getattr(known, field) == value for field, value in values.items()):
        return False
    NodeInterval.objects.update_or_create(**names, defaults=values)
    _book(node, hour, values)
    return True


def _book(node: Node, hour: datetime, values: Mapping[str, object]) -> None:
    """The node is owed its bill: the used part was absorbed by requests, the idle part by nobody."""
    stem = f"node:{node.pk}:{hour:%Y%m%dT%H}"
    booked = list(LedgerEntry.objects.filter(event_id__startswith=f"{stem}:", reverses__isnull=True))
    for entry in booked:
        reverse(entry, memo="the hour was billed again")
    revision = len({entry.event_id.rsplit(":", 1)[1] for entry in booked})
    for kind, debit in (("used", f"absorbed:{node.name}"), ("idle", f"expense:idle:{node.name}")):
        amount = values[f"{kind}_nusd"]
        if amount:
            append(
                event_id=f"{stem}:{kind}:{revision}",
                organisation_id=node.organisation_id,
                debit=debit,
                credit=f"payable:node:{node.name}",
                amount_nusd=amount,  # type: ignore[arg-type]
                at=hour,
                memo=f"{kind} share of {node.name}, {hour:%Y-%m-%d %H}h",
                origin=str(values["origin"]),
            )
