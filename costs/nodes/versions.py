"""Dated versions of what a node costs, read as a timeline. What was written is never edited."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from costs.models import Node, NodeCost, NodeCosts, RollupMark
from costs.nodes.checks import bands_of
from costs.nodes.isolation import apart
from costs.nodes.terms import Terms
from costs.nodes.timeline import Dated, Timeline, Unreadable
from costs.pricing import Unpriced
from switchyard.core.clock import now
from switchyard.core.errors import ValidationFailed
from switchyard.tenancy.services import bump_config

COST_FIELDS = tuple(field.name for field in NodeCosts._meta.get_fields())
MARK = "node-costs"


def values_of(row: NodeCosts) -> dict[str, Any]:
    return {name: getattr(row, name) for name in COST_FIELDS}


def terms_of(row: NodeCosts, version: str) -> Terms:
    """Raises Unpriced when what is stored can't be read."""
    values = {
        name: _number(value) for name, value in values_of(row).items() if name not in ("tariff", "source")
    }
    try:
        tariff = bands_of(row.tariff or [])
    except ValueError as fault:
        raise Unpriced(f"The stored tariff can't be read: {fault}") from None
    return Terms(version=version, tariff=tariff, **values)


def _number(value: Any) -> Any:
    """Rows that were not read from the database may still hold text or floats."""
    return Decimal(str(value)) if isinstance(value, float | str) and _is_decimal(value) else value


def _is_decimal(value: Any) -> bool:
    try:
        return Decimal(str(value)).is_finite()
    except InvalidOperation:
        return False


def timeline_of(node: Node, rows: Iterable[NodeCost]) -> Timeline:
    """What holds when. A node without a version is what its own fields say, always."""
    dated = [Dated(terms_of(r, r.version), r.valid_from, r.valid_to, r.pk or 2**62) for r in rows]
    return Timeline(dated or [Dated(terms_of(node, f"node:{node.pk}"), node.created_at, None, 0)])


def timelines(organisation_id: int) -> dict[Node, Timeline]:
    """Every node of the organisation, by name; two queries. One whose costs can't be read is Unreadable, and the others
    are none the worse for it."""
    nodes = Node.objects.filter(organisation_id=organisation_id).order_by("name").prefetch_related("costs")
    return {node: _readable(node) for node in nodes}


def _readable(node: Node) -> Timeline:
    try:
        return timeline_of(node, node.costs.all())
    except Unpriced as fault:
        return Unreadable(str(fault))


def stored_timeline(node: Node, rows: Iterable[NodeCost]) -> Timeline:
    """For whoever writes: ValidationFailed where what is stored can't be read, since nothing can follow on it."""
    try:
        return timeline_of(node, rows)
    except Unpriced as fault:
        check({"tariff": f"{fault} What was written is never edited: a new machine takes its place."})
        raise


def check(faults: Mapping[str, str]) -> None:
    """Raises ValidationFailed when there are any."""
    if faults:
        errors = [
            {"path": path, "line": None, "column": None, "message": text} for path, text in faults.items()
        ]
        raise ValidationFailed(next(iter(faults.values())), errors)


def ensure_first(node: Node) -> None:
    """A node from before there were versions gets its first from its own fields."""
    if not node.costs.exists():
        NodeCost.objects.create(
            node=node, valid_from=node.created_at, reason="as it stood", **values_of(node)
        )


def bring_into_force(moment: datetime | None = None) -> int:
    """Node fields follow versions that came into force, and the gateway's rates follow commitments that ran out; gives
    how many nodes changed. Idempotent."""
    moment = moment or now()
    mark = RollupMark.objects.filter(name=MARK).first()
    since = mark.at if mark else moment - timedelta(days=1)
    changed = 0
    failed: list[Node] = []
    for node in Node.objects.prefetch_related("costs"):
        with apart(node, failed):
            known = list(node.costs.all())
            timeline = timeline_of(node, known)
            if known and any(since < at <= moment for at in timeline.moments()):
                follow(node, timeline, known, moment)
                changed += 1
    if changed:
        bump_config()
    if not failed:  # the mark is everybody's: one that failed must be looked at again from here
        RollupMark.objects.update_or_create(name=MARK, defaults={"at": moment})
    return changed


def follow(node: Node, timeline: Timeline, known: list[NodeCost], moment: datetime) -> None:
    row = row_of(timeline.at(moment).version, known, node)
    values = values_of(row)
    if any(not same(getattr(node, name), value) for name, value in values.items()):
        for name, value in values.items():
            setattr(node, name, value)
        node.save(update_fields=list(values))


def row_of(version: str, known: Iterable[NodeCost], node: Node) -> NodeCosts:
    return next((row for row in known if row.version == version), node)


def same(one: Any, other: Any) -> bool:
    one, other = _number(one), _number(other)
    return one == other
