"""A node's hours in the books: the node is owed its bill; the used part was absorbed by requests, idle by who carries it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from costs.books import fiscal
from costs.books.writing import append_many
from costs.models import Alert, LedgerEntry, Node, NodeInterval
from costs.nodes.allocation import IdleRule
from switchyard.core.clock import now

BATCH = 500
UNVERSIONED = 20  # revisions that hours closed before cost versions were kept may have been booked under


@dataclass(slots=True)
class Bookings:
    """Reversals and new transfers of some hours, not yet appended."""

    organisation_id: int
    entries: list[LedgerEntry] = field(default_factory=list)

    def append(self) -> None:
        """What is dated into a closed period is booked now, with a memo and an alert."""
        spans = fiscal.closed_spans([self.organisation_id]).get(self.organisation_id, [])
        alerts = {}
        for entry in self.entries if spans else ():
            if late := fiscal.lateness(spans, entry.at):
                entry.at, entry.memo = now(), f"{late}: {entry.memo}"[:200]
                alert = fiscal.late_alert(self.organisation_id, late, entry.event_id)
                alerts.setdefault(alert.unique_key, alert)
        Alert.objects.bulk_create(alerts.values(), ignore_conflicts=True)
        append_many(self.entries)


def book(
    node: Node, hours: Sequence[tuple[NodeInterval | None, NodeInterval, IdleRule]], reason: str
) -> Bookings:
    """What the books need so that each hour stands as its new interval says; sets the new intervals' revisions."""
    booked = _booked(node, [old for old, _new, _rule in hours if old is not None])
    done = Bookings(node.organisation_id)
    for old, new, rule in hours:
        earlier = booked.get(new.start, []) if old is not None else []
        known = [int(entry.event_id.rsplit(":", 1)[1]) for entry in earlier]
        new.revision = max([-1 if old is None else old.revision, *known]) + 1
        done.entries += [_reversal(entry, reason) for entry in earlier]
        done.entries += _transfers(node, new, rule)
    return done


def _stem(node: Node, hour: datetime) -> str:
    return f"node:{node.pk}:{hour.astimezone(UTC):%Y%m%dT%H}"


def _booked(node: Node, intervals: Sequence[NodeInterval]) -> dict[datetime, list[LedgerEntry]]:
    """Hour → its transfers that still stand, found by the ids they must have: the ledger is far too long to search."""
    ids = [event_id for row in intervals for event_id in _ids(node, row)]
    found: dict[datetime, list[LedgerEntry]] = {}
    hours = {_stem(node, row.start): row.start for row in intervals}
    for at in range(0, len(ids), BATCH):
        chunk = ids[at : at + BATCH]
        for entry in LedgerEntry.objects.filter(event_id__in=chunk, reversed_by__isnull=True):
            found.setdefault(hours[entry.event_id.rsplit(":", 2)[0]], []).append(entry)
    return found


def _ids(node: Node, row: NodeInterval) -> Iterator[str]:
    revisions = range(UNVERSIONED) if not row.cost_version else [row.revision]
    kinds = ["used", "idle", *(f"l{i}" for i in range(len(row.idle_shares)))]
    for revision in revisions:
        for kind in kinds:
            yield f"{_stem(node, row.start)}:{kind}:{revision}"


def _transfers(node: Node, new: NodeInterval, rule: IdleRule) -> list[LedgerEntry]:
    carried = sorted(new.idle_shares.items())
    legs = [
        ("used", f"absorbed:{node.name}", new.used_nusd, ""),
        ("idle", rule.account(node.name), new.idle_nusd - sum(new.idle_shares.values()), ""),
        *(
            (f"l{i}", f"loaded:lob:{lob}" if lob else "loaded:unattributed", amount, lob)
            for i, (lob, amount) in enumerate(carried)
        ),
    ]
    return [
        LedgerEntry(
            event_id=f"{_stem(node, new.start)}:{kind}:{new.revision}", organisation_id=node.organisation_id, at=new.start,
            recorded_at=now(), debit=debit, credit=f"payable:node:{node.name}", amount_nusd=amount, lob=lob,
            memo=f"{'used' if kind == 'used' else 'idle'} share of {node.name}, {new.start:%Y-%m-%d %H}h",
            price_version=new.cost_version, origin=new.origin,
        )
        for kind, debit, amount, lob in legs
        if amount
    ]  # fmt: skip


def _reversal(entry: LedgerEntry, reason: str) -> LedgerEntry:
    return LedgerEntry(
        event_id=f"reversal:{entry.event_id}", organisation_id=entry.organisation_id, at=entry.at, recorded_at=now(),
        debit=entry.credit, credit=entry.debit, amount_nusd=entry.amount_nusd, lob=entry.lob,
        price_version=entry.price_version, reverses=entry, memo=f"the hour was billed again: {reason}"[:200],
        origin=entry.origin,
    )  # fmt: skip
