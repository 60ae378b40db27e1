"""Restatement: closed hours billed again under what is known now. Both versions are kept, and what moved is said."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Max, Min

from costs.models import Node, NodeInterval, Restatement
from costs.nodes.checks import moment_faults
from costs.nodes.intervals import Hour, plan, write
from costs.nodes.timeline import Timeline
from costs.nodes.versions import check, ensure_first, stored_timeline
from costs.rollups import HOUR, hour_of
from switchyard.audit.services import record

IDLE = "idle"  # in `moved`: time that no line of business carries


@transaction.atomic
def restate(
    *, node: Node, start: datetime, end: datetime, reason: str, actor: Any, dry_run: bool = False
) -> Restatement:
    """Bill the node's closed hours of [start, end) again; gives what moved, saved unless it is a preview or nothing did.

    Raises ValidationFailed for an empty period or a missing reason.
    """
    faults = moment_faults("from", start) | moment_faults("to", end)
    if end <= start:
        faults["to"] = "The period ends before it begins."
    if not reason.strip():
        faults["reason"] = "A restatement takes a reason."
    check(faults)
    locked = Node.objects.select_for_update().get(pk=node.pk)
    ensure_first(locked)
    timeline = stored_timeline(locked, locked.costs.all())
    return restate_hours(
        node=locked, start=start, end=end, reason=reason, actor=actor, dry_run=dry_run, timeline=timeline
    )


def restate_hours(
    *,
    node: Node,
    start: datetime,
    end: datetime,
    reason: str,
    actor: Any,
    dry_run: bool,
    timeline: Timeline,
) -> Restatement:
    """The work of `restate`, under any timeline; the caller holds the node's row. Hours that were never closed are left
    to the closing."""
    closed = NodeInterval.objects.filter(
        organisation_id=node.organisation_id,
        node=node.name,
        current=True,
        start__gte=hour_of(start),
        start__lt=end,
    )
    span = closed.aggregate(first=Min("start"), last=Max("start"))
    if span["first"] is None:
        return _row(node, start, end, [], reason, actor)
    first, after = span["first"], span["last"] + HOUR
    hours = [hour for hour in plan(node, timeline, first, after) if hour.old is not None]
    changed = [hour for hour in hours if hour.rebooked]
    row = _row(node, first, after, changed, reason, actor)
    if not dry_run:
        write(node, hours, reason=f"restated: {reason}")
        if changed:
            row.save()
            record(
                actor=actor, action="node.restated", target=f"node:{node.name}", organisation_id=node.organisation_id,
                detail={"from": first, "to": after, "hours": row.hours, "before_nusd": row.before_nusd,
                        "after_nusd": row.after_nusd, "reason": reason},
            )  # fmt: skip
    return row


def _row(
    node: Node, start: datetime, end: datetime, changed: list[Hour], reason: str, actor: Any
) -> Restatement:
    moved: dict[str, int] = {}
    for hour in changed:
        assert hour.old is not None
        for sign, interval in ((-1, hour.old), (1, hour.new)):
            for lob, nusd in by_carrier(interval).items():
                moved[lob] = moved.get(lob, 0) + sign * nusd
    olds = [hour.old for hour in changed if hour.old is not None]
    return Restatement(
        organisation_id=node.organisation_id, node=node.name, start=start, end=end, hours=len(changed),
        old_version=_versions(olds), new_version=_versions([hour.new for hour in changed]),
        before_nusd=sum(row.bill_nusd for row in olds), after_nusd=sum(hour.new.bill_nusd for hour in changed),
        moved={lob: nusd for lob, nusd in sorted(moved.items()) if nusd}, reason=reason[:300],
        by=str(getattr(actor, "username", None) or actor or "system")[:150],
    )  # fmt: skip


def by_carrier(interval: NodeInterval) -> dict[str, int]:
    """Line of business (or "idle") → what of the bill it carries; they sum to the bill exactly."""
    found = dict(interval.shares)
    for lob, nusd in interval.idle_shares.items():
        found[lob] = found.get(lob, 0) + nusd
    found[IDLE] = found.get(IDLE, 0) + interval.idle_nusd - sum(interval.idle_shares.values())
    return found


def _versions(rows: list[NodeInterval]) -> str:
    """Each once, in order of time; shortened to what the column holds."""
    text = ", ".join(dict.fromkeys(row.cost_version or "from before versions were kept" for row in rows))
    return text if len(text) <= 200 else text[:197] + "…"
