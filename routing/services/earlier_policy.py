"""A period's requests decided again by the policies that were live when the month before it ended. Changes nothing.

The facts, the worst cases and what the other side would have cost are the records' own; the deployments are those of today,
as far as a record knew them. A request that the earlier policy would have kept on the side that answered counts at what it
cost; one that it would have sent to the other side at what that side would have asked; one that it would have refused, or
sent where no price is known, counts at what it cost and is counted apart.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from datetime import datetime
from fractions import Fraction
from typing import Any

from costs.reports.counterfactual import Key, Replayed
from routing.contracts import DeploymentInfo, Facts
from routing.models import DecisionRecord, Policy
from routing.policy.engine import CompiledPolicies, Rollout, can_do
from routing.policy.facts import FactError, whole
from routing.selectors.policies import document_of, label_of
from routing.selectors.world import snapshot_of
from switchyard.audit.models import AuditEvent
from switchyard.core.errors import ValidationFailed
from switchyard.tenancy.models import Organisation
from switchyard.tenancy.querysets import Scope

SEED = 20_261
CHUNK = 400
NO_POLICY = "no policy was live when the month before ended"


def replay(
    *, scope: Scope, start: datetime, end: datetime, lob: str | None, sample: int
) -> dict[Key, Replayed]:
    """See costs.reports.counterfactual.PolicyReplay: at most `sample` decisions a workload, drawn with a fixed seed."""
    organisation = Organisation.objects.filter(pk=scope.organisation_id).first()
    if organisation is None:
        return {}
    compiled = live_at(organisation, start.replace(day=1, hour=0, minute=0, second=0, microsecond=0))
    deployments = list(snapshot_of(organisation).deployments.values())
    rows = DecisionRecord.objects.for_tenant(scope).filter(at__gte=start, at__lt=end, answers__gt=0)
    rows = rows.filter(lob=lob) if lob else rows
    found = {}
    for workload, of_lob in rows.order_by().values_list("workload", "lob").distinct():
        own = rows.filter(workload=workload, lob=of_lob).order_by("at", "pk")
        keys = list(own.values_list("pk", flat=True))
        if compiled is None:
            found[workload, of_lob] = Replayed("", 0, len(keys), 0, 0, 0, NO_POLICY)
            continue
        drawn = keys if len(keys) <= sample else random.Random(SEED).sample(keys, sample)
        found[workload, of_lob] = _one(_records(drawn), compiled, deployments, of=len(keys))
    return found


def _records(keys: list[str]) -> Iterable[DecisionRecord]:
    for first in range(0, len(keys), CHUNK):
        yield from DecisionRecord.objects.filter(pk__in=keys[first : first + CHUNK]).defer("sealed_answers")


def _one(
    records: Iterable[DecisionRecord],
    compiled: CompiledPolicies,
    deployments: list[DeploymentInfo],
    *,
    of: int,
) -> Replayed:
    n = moved = unknown = cost = 0
    versions: dict[str, int] = {}
    for record in records:
        n += 1
        side, version = _decide(record, compiled, deployments)
        versions[version] = versions.get(version, 0) + 1
        if side == record.side:
            cost += record.cost_nusd
        elif side and record.other_side_cost_nusd is not None:
            moved += 1
            cost += record.other_side_cost_nusd
        else:
            unknown += 1
            cost += record.cost_nusd
    version = max(versions, key=lambda v: versions[v], default="")
    return Replayed(version, n, of, round(Fraction(cost * of, n)) if n else 0, moved, unknown)


def _decide(
    record: DecisionRecord, compiled: CompiledPolicies, deployments: list[DeploymentInfo]
) -> tuple[str, str]:
    """(side of the first hop, policy's version); no side where it would have been refused or can't be decided again."""
    try:
        facts = Facts(whole(record.detail.get("facts", {})))
    except FactError:
        return "", ""
    worst = {
        c["deployment"]: c["cost_nusd"]
        for c in record.detail.get("candidates", [])
        if c.get("cost_nusd") is not None
    }
    known = [
        d for d in deployments
        if d.name in worst and can_do(d, facts.values["workload"]["task"]) and (not d.lobs or record.lob in d.lobs)
    ]  # fmt: skip
    decision = compiled.decide(facts, known, lob=record.lob, worst_case=worst, sticky=record.request_id)
    if not decision.hops:
        return "", decision.policy_version
    by_name: Mapping[str, Any] = {d.name: d.side for d in known}
    return by_name[decision.hops[0].deployment], decision.policy_version


def live_at(organisation: Organisation, at: datetime) -> CompiledPolicies | None:
    """The documents in force at a moment, as the audit log tells of publishing and rolling back; None without the
    organisation's own. Shares of a rollout count as whole: the log says which version was being tried, not on whom."""
    events = AuditEvent.objects.filter(
        organisation_id=organisation.pk, at__lt=at, action__in=("policy.published", "policy.rolled_back")
    )
    policies = {
        f"policy:{p.pk}": p for p in Policy.objects.filter(organisation=organisation).select_related("lob")
    }
    latest: dict[str | None, Policy] = {}
    for target in events.order_by("sequence").values_list("target", flat=True):
        policy = policies.get(target)
        if policy is not None:
            latest[policy.lob.slug if policy.lob else None] = policy
    rollouts = {}
    for scope, policy in latest.items():
        try:
            rollouts[scope] = Rollout(document_of(policy))
        except ValidationFailed as error:
            raise ValueError(f"The policy {label_of(policy)} can no longer be read: {error}") from None
    own = rollouts.pop(None, None)
    if own is None:
        return None
    return CompiledPolicies(own, {slug: r for slug, r in rollouts.items() if slug is not None})
