"""Reads of policies: the live documents compiled for the snapshot, and what a verifier needs to know."""

from __future__ import annotations

from django.db.models import Q

from modelhub.models import Deployment
from routing.models import Policy
from routing.policy.document import parse_document
from routing.policy.engine import CompiledPolicies, Rollout
from routing.policy.rules import Document
from routing.policy.verify import TargetFact, WorkloadFact
from switchyard.tenancy.models import Workload


def document_of(policy: Policy) -> Document:
    """The parsed document of a stored version, labelled `org@3` or `legal@2`."""
    scope = policy.lob.slug if policy.lob else "org"
    return parse_document(
        policy.document, organisation=policy.lob_id is None, label=f"{scope}@{policy.version}"
    )


def compiled(organisation_id: int) -> CompiledPolicies:
    """Everything live in an organisation, ready to decide."""
    rows = Policy.objects.filter(organisation_id=organisation_id, state="live").select_related("lob")
    rollouts = {policy.lob.slug if policy.lob else None: _rollout(policy) for policy in rows}
    organisation = rollouts.pop(None, None)
    return CompiledPolicies(organisation, {slug: r for slug, r in rollouts.items() if slug is not None})


def _rollout(policy: Policy) -> Rollout:
    previous = None
    if policy.percent < 100:
        before = previous_of(policy)
        previous = document_of(before) if before else None
    return Rollout(document_of(policy), policy.percent, previous)


def previous_of(policy: Policy) -> Policy | None:
    """The version that was live before this one."""
    rows = Policy.objects.filter(
        organisation_id=policy.organisation_id, lob_id=policy.lob_id, state="superseded"
    )
    return rows.filter(published_at__isnull=False).exclude(pk=policy.pk).order_by("-published_at").first()


def live(organisation_id: int, lob_id: int | None) -> Policy | None:
    lob = Q(lob_id=lob_id) if lob_id else Q(lob__isnull=True)
    return Policy.objects.filter(lob, organisation_id=organisation_id, state="live").first()


def workload_facts(organisation_id: int) -> list[WorkloadFact]:
    rows = Workload.objects.filter(organisation_id=organisation_id).select_related("lob")
    return [WorkloadFact(w.name, w.lob.slug, w.task, w.tier, w.sensitivity) for w in rows]


def target_facts(organisation_id: int) -> dict[str, TargetFact]:
    rows = Deployment.objects.filter(organisation_id=organisation_id)
    return {d.name: TargetFact(d.name, d.side, d.model, d.region) for d in rows}
