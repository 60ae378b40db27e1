"""Hourly node bills: bill = used + idle to the nano-dollar, used shared out by measured time, idle on its own line.

What an hour comes to is planned first and written afterwards, in bulk: closing, closing again after late work, a restatement
and its preview are the same plan.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db import connection, transaction

from costs import rollups
from costs.models import Node, NodeInterval, SpendHour
from costs.nodes.allocation import IdleRule, allocate, spread
from costs.nodes.booking import book
from costs.nodes.isolation import apart
from costs.nodes.rules import Rules, rules_of
from costs.nodes.terms import Terms, bill_of
from costs.nodes.timeline import Timeline
from costs.nodes.versions import ensure_first, timeline_of
from costs.pricing import HOUR_NS
from costs.rollups import HOUR, hour_of
from switchyard.core.clock import now

SETTLE_AFTER = timedelta(minutes=5)  # events of an hour that just ended may still be on their way
MONEY = ("bill_nusd", "used_nusd", "idle_nusd", "shares", "idle_shares")  # what the books say of an hour
REST = ("accelerator_ns", "cost_version", "absorbed", "origin", "seconds")
BATCH = 500


@dataclass(slots=True)
class Hour:
    """One hour of one node as it is and as it should be."""

    old: NodeInterval | None
    new: NodeInterval
    rule: IdleRule
    variances: list[tuple[int, int]] = field(
        default_factory=list
    )  # (roll-up row, loaded less metered), where it moved

    @property
    def rebooked(self) -> bool:
        return self.old is None or any(getattr(self.old, n) != getattr(self.new, n) for n in MONEY)

    @property
    def touched(self) -> bool:
        return self.rebooked or any(getattr(self.old, n) != getattr(self.new, n) for n in REST)


def close_intervals(organisation_id: int, since: datetime, until: datetime) -> int:
    """Bill every whole hour of [since, until) for every node; gives how many hours were booked or booked anew.

    Idempotent. When late attempts or another rate change an hour that was closed, its entries are reversed and booked
    anew. Hours before the node was set up belong to the demonstration: they are billed from its first replayed answer on.
    A node that can't be billed is left out, and an alert says so.
    """
    changed = 0
    last = min(until, now() - SETTLE_AFTER)
    for node in Node.objects.filter(organisation_id=organisation_id):
        with apart(node):
            changed += _close_node(node, since, last)
    return changed


@transaction.atomic
def _close_node(node: Node, since: datetime, last: datetime) -> int:
    node = Node.objects.select_for_update().get(pk=node.pk)  # one at a time
    ensure_first(node)
    start = max(hour_of(since), _begins(node))
    hours = list(plan(node, timeline_of(node, node.costs.all()), start, hour_of(last)))
    return write(node, hours, reason="late work")


def _begins(node: Node) -> datetime:
    """The node's first hour: set up, or the first replayed answer before that."""
    rows = SpendHour.objects.filter(organisation_id=node.organisation_id, node=node.name)
    first = rows.order_by("start").values_list("start", flat=True).first()
    return hour_of(min(first, node.created_at) if first else node.created_at)


def plan(node: Node, timeline: Timeline, start: datetime, end: datetime) -> Iterator[Hour]:
    """What every whole hour of [start, end) comes to; writes nothing. Hours from before the node had a cost are left out."""
    names = {
        "organisation_id": node.organisation_id,
        "node": node.name,
        "start__gte": start,
        "start__lt": end,
    }
    known = {row.start: row for row in NodeInterval.objects.filter(**names, current=True)}
    work: dict[datetime, list[tuple[int, str, int, int, int]]] = {}
    fields = ("pk", "lob", "accelerator_ns", "cost_nusd", "variance_nusd")
    for at, *row in SpendHour.objects.filter(**names).order_by("pk").values_list("start", *fields):
        work.setdefault(at, []).append(tuple(row))  # type: ignore[arg-type]
    rules, hour = rules_of(node.organisation_id).get(node.name) or Rules(node, ()), start
    while hour < end:
        spans = [span for span in timeline.spans(hour, hour + HOUR) if span[0].priced]
        if spans:
            yield _hour(node, spans, rules.at(hour + HOUR), hour, known.get(hour), work.get(hour, ()))
        hour += HOUR


def _hour(
    node: Node,
    spans: Sequence[tuple[Terms, datetime, datetime]],
    rule: IdleRule,
    hour: datetime,
    old: NodeInterval | None,
    rows: Sequence[tuple[int, str, int, int, int]],
) -> Hour:
    used_ns: dict[str, int] = {}
    absorbed: dict[str, int] = {}
    for _pk, lob, ns, cost, _variance in rows:
        absorbed[lob] = absorbed.get(lob, 0) + cost
        if ns > 0:
            used_ns[lob] = used_ns.get(lob, 0) + ns
    bill = bill_of(spans).nusd
    parts = allocate(bill, used_ns, HOUR_NS, rule)
    new = NodeInterval(
        organisation_id=node.organisation_id, node=node.name, start=hour, seconds=3600, bill_nusd=bill,
        used_nusd=parts.used_nusd, idle_nusd=parts.idle_nusd, accelerator_ns=sum(used_ns.values()),
        shares=dict(parts.shares), idle_shares=dict(parts.carried), absorbed=absorbed,
        cost_version="+".join(dict.fromkeys(terms.version for terms, _a, _b in spans))[:60],
        origin="demonstration" if hour + HOUR <= node.created_at else "live",
    )  # fmt: skip
    return Hour(old, new, rule, _variances(new, rows))


def _variances(
    interval: NodeInterval, rows: Iterable[tuple[int, str, int, int, int]]
) -> list[tuple[int, int]]:
    """(row, loaded less metered) where it differs from what the row holds. A line of business's loaded cost is its used
    share and, in an hour with use, the idle time it carries; it is spread over its rows by measured time."""
    by_lob: dict[str, list[tuple[int, str, int, int, int]]] = {}
    for row in rows:
        by_lob.setdefault(row[1], []).append(row)
    carried = interval.idle_shares if interval.accelerator_ns else {}
    found = []
    for lob, of_lob in by_lob.items():
        loaded = interval.shares.get(lob, 0) + carried.get(lob, 0)
        shares = spread(loaded, [max(0, row[2]) for row in of_lob])
        for (pk, _lob, _ns, cost, variance), share in zip(of_lob, shares, strict=True):
            if share - cost != variance:
                found.append((pk, share - cost))
    return found


def write(node: Node, hours: Sequence[Hour], *, reason: str) -> int:
    """Store what was planned: revisions, their bookings, variances on the roll-ups; gives how many hours were booked.
    Call it in a transaction that holds the node's row."""
    fresh = [h for h in hours if h.rebooked]
    for hour in hours:
        if hour.old is not None and hour.touched and not hour.rebooked:
            NodeInterval.objects.filter(pk=hour.old.pk).update(**{n: getattr(hour.new, n) for n in REST})
    entries = book(node, [(h.old, h.new, h.rule) for h in fresh], reason)  # also tells each its revision
    outdated = [h.old.pk for h in fresh if h.old is not None]
    for at in range(0, len(outdated), BATCH):
        NodeInterval.objects.filter(pk__in=outdated[at : at + BATCH]).update(current=False)
    for hour in fresh:
        hour.new.reason = reason[:200] if hour.old is not None else ""
    NodeInterval.objects.bulk_create([h.new for h in fresh], batch_size=BATCH)
    entries.append()
    _write_variances(hours)
    return len(fresh)


def _write_variances(hours: Iterable[Hour]) -> None:
    pairs, days = [], set()
    for hour in hours:
        if hour.variances:
            pairs += [(variance, pk) for pk, variance in hour.variances]
            days.add(rollups.day_of(hour.new.start))
    if not pairs:
        return
    with (
        connection.cursor() as cursor
    ):  # one prepared statement; thousands of CASE branches take minutes to plan
        cursor.executemany(f"UPDATE {SpendHour._meta.db_table} SET variance_nusd = %s WHERE id = %s", pairs)
    for first, last in _runs(sorted(days)):
        rollups.refresh_days(first, last + timedelta(days=1))


def _runs(days: list[datetime]) -> list[tuple[datetime, datetime]]:
    """Neighbouring days as one run each."""
    runs: list[tuple[datetime, datetime]] = []
    for day in days:
        if runs and day - runs[-1][1] <= timedelta(days=1):
            runs[-1] = (runs[-1][0], day)
        else:
            runs.append((day, day))
    return runs
