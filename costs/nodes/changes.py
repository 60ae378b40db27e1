"""The one way to write what a node costs and who carries its idle time. Versions are added, never edited."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from costs.models import Node, NodeCost, Restatement
from costs.nodes.checks import cost_faults, idle_faults, moment_faults
from costs.nodes.restate import restate_hours
from costs.nodes.versions import (
    COST_FIELDS,
    check,
    ensure_first,
    follow,
    row_of,
    same,
    stored_timeline,
    timeline_of,
    values_of,
)
from switchyard.audit.services import record
from switchyard.core.clock import now
from switchyard.tenancy.models import LineOfBusiness
from switchyard.tenancy.services import bump_config

CARRYING_FIELDS = ("pool", "idle_rule", "idle_shares")


@dataclass(frozen=True, slots=True)
class Change:
    """What a change of cost came to. `version` is None when nothing differs from what is in force there."""

    version: NodeCost | None
    restatement: Restatement | None


@transaction.atomic
def create_node(
    *, organisation_id: int, actor: Any, valid_from: datetime | None = None, **values: Any
) -> Node:
    """A machine with the first version of its cost, in force from `valid_from` (when it was set up). Raises
    ValidationFailed."""
    values |= _typed({name: value for name, value in values.items() if name in COST_FIELDS})
    node = Node(organisation_id=organisation_id, **values)
    check(cost_faults(values_of(node)) | carrying_faults(node) | moment_faults("valid_from", valid_from))
    node.save()
    start = min(valid_from or node.created_at, node.created_at)
    NodeCost.objects.create(
        node=node, valid_from=start, reason="set up", created_by=_name(actor), **values_of(node)
    )
    record(
        actor=actor, action="node.created", target=f"node:{node.name}", organisation_id=organisation_id,
        detail={"cost": values_of(node)},
    )  # fmt: skip
    bump_config()
    return node


@transaction.atomic
def change_cost(
    *,
    node: Node,
    values: Mapping[str, Any],
    valid_from: datetime | None = None,
    reason: str = "",
    actor: Any,
    dry_run: bool = False,
) -> Change:
    """A new version in force from `valid_from` (now) until the next one that is known; what isn't named stays as it was.

    One that begins in the past restates the node's closed hours since then, and takes a reason. `dry_run` changes nothing
    and tells what would move. Raises ValidationFailed, each fault a sentence at its field.
    """
    locked = Node.objects.select_for_update().get(pk=node.pk)
    moment = now()
    start = valid_from or moment
    past = start < moment - timedelta(seconds=1)
    ensure_first(locked)
    known = list(locked.costs.all())
    before = stored_timeline(locked, known)
    unchanged = row_of(before.at(start).version, known, locked)
    check(_unknown(values) | moment_faults("valid_from", valid_from))
    merged = values_of(unchanged) | _typed(values)
    check(cost_faults(merged) | _reason_faults(past, reason))
    if all(same(merged[name], getattr(unchanged, name)) for name in COST_FIELDS):
        return Change(None, None)
    version = NodeCost(
        node=locked, valid_from=start, valid_to=before.next_change(start), reason=reason[:300],
        created_by=_name(actor), **merged,
    )  # fmt: skip
    if not dry_run:
        version.save()
        version.refresh_from_db()
    known.append(version)
    timeline = timeline_of(locked, known)
    restatement = None
    if past:
        # Until now, not only until the next version: a commitment or a life that went on through this one may end with it.
        restatement = restate_hours(
            node=locked,
            start=start,
            end=moment,
            reason=reason,
            actor=actor,
            dry_run=dry_run,
            timeline=timeline,
        )
    if not dry_run:
        values = {n: merged[n] for n in COST_FIELDS if not same(merged[n], getattr(unchanged, n))}
        detail = {"version": version.version, "from": start, "reason": reason, "values": values}
        record(
            actor=actor, action="node.cost_changed", target=f"node:{locked.name}", detail=detail,
            organisation_id=locked.organisation_id,
        )  # fmt: skip
        follow(locked, timeline, known, moment)
        bump_config()
        node.refresh_from_db()
    return Change(version, restatement)


@transaction.atomic
def change_carrying(*, node: Node, actor: Any, **values: Any) -> Node:
    """Who carries idle time, and the pool: from the running hour on; closed hours keep the rule they were closed under.
    Raises ValidationFailed."""
    changed = {name: value for name, value in values.items() if getattr(node, name) != value}
    if not changed:
        return node
    for name, value in changed.items():
        setattr(node, name, value)
    check(carrying_faults(node))
    node.save(update_fields=sorted(changed))
    record(
        actor=actor, action="node.changed", target=f"node:{node.name}", organisation_id=node.organisation_id,
        detail=changed,
    )  # fmt: skip
    bump_config()
    return node


def carrying_faults(node: Node) -> dict[str, str]:
    slugs = LineOfBusiness.objects.filter(organisation_id=node.organisation_id).values_list("slug", flat=True)
    return idle_faults(node.idle_rule, node.pool, node.idle_shares, frozenset(slugs))


def _typed(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values as the columns hold them. Raises ValidationFailed for what they can't hold."""
    found, faults = {}, {}
    for name, value in values.items():
        try:
            found[name] = NodeCost._meta.get_field(name).clean(value, None)  # type: ignore[union-attr]
        except ValidationError as fault:
            faults[name] = f"{value}: {' '.join(fault.messages)}"
    check(faults)
    return found


def _unknown(values: Mapping[str, Any]) -> dict[str, str]:
    known = ", ".join(COST_FIELDS)
    return {
        name: f"{name!r} is no part of a node's cost: {known}." for name in values if name not in COST_FIELDS
    }


def _reason_faults(past: bool, reason: str) -> dict[str, str]:
    if past and not reason.strip():
        return {"reason": "A change from a time in the past restates closed hours: say why."}
    return {}


def _name(actor: Any) -> str:
    return str(getattr(actor, "username", None) or actor or "system")[:150]
