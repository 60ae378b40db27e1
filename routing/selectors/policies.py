"""Reads of policies: the live documents compiled for the snapshot, and what a proof needs to know."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from modelhub.models import Deployment
from routing.contracts import Trial
from routing.models import Policy
from routing.policy.document import parse_document
from routing.policy.engine import CompiledPolicies, Rollout
from routing.policy.rules import Document
from routing.policy.verify import TargetFact, WorkloadFact, unknown_deployments
from switchyard.core.errors import ValidationFailed
from switchyard.tenancy.models import LineOfBusiness, Workload

log = logging.getLogger(__name__)


def label_of(policy: Policy) -> str:
    """`org@3` or `legal@2`: how decisions name the version."""
    return f"{policy.lob.slug if policy.lob else 'org'}@{policy.version}"


@lru_cache(maxsize=256)
def _parsed(text: str, organisation: bool, label: str) -> Document:
    """Versions never change, and the snapshot is rebuilt for every key that is made: parse each once."""
    return parse_document(text, organisation=organisation, label=label, strict=False)


def document_of(policy: Policy) -> Document:
    """The parsed document of a stored version. Raises ValidationFailed when it can no longer be read."""
    return _parsed(policy.document, policy.lob_id is None, label_of(policy))


def _in_force(policy: Policy) -> Document:
    """As `document_of`; one that can't be read refuses everything instead of leaving the snapshot without policies."""
    try:
        return document_of(policy)
    except ValidationFailed as error:
        log.error("policy %s can't be read and refuses all of its requests: %s", label_of(policy), error)
        return _refuse_all(policy)


def _refuse_all(policy: Policy) -> Document:
    text = "rules: [{name: unreadable policy, when: true, route: {deny: true}}]"
    if policy.lob_id is None:
        text += "\ninvariants: [{name: unreadable policy, never: true}]\ndefault: deny"
    return parse_document(text, organisation=policy.lob_id is None, label=label_of(policy))


def compiled(organisation_id: int) -> CompiledPolicies:
    """Everything live in an organisation, ready to decide."""
    rows = Policy.objects.filter(organisation_id=organisation_id, state="live").select_related("lob")
    rollouts = {policy.lob.slug if policy.lob else None: _rollout(policy) for policy in rows}
    organisation = rollouts.pop(None, None)
    return CompiledPolicies(organisation, {slug: r for slug, r in rollouts.items() if slug is not None})


def trials(organisation_id: int) -> tuple[Trial, ...]:
    """Every shadow version, in the place of what is live in its scope."""
    rows = Policy.objects.filter(organisation_id=organisation_id, state="shadow").select_related("lob")
    shadows = list(rows)
    return tuple(
        Trial(policy.pk, policy.lob.slug if policy.lob else "", _tried(policy)) for policy in shadows
    )


def _tried(policy: Policy) -> CompiledPolicies:
    live = compiled(policy.organisation_id)
    own = Rollout(_in_force(policy))
    if policy.lob is None:
        return CompiledPolicies(own, live.lobs)
    return CompiledPolicies(live.organisation, {**live.lobs, policy.lob.slug: own})


def _rollout(policy: Policy) -> Rollout:
    before = previous_of(policy) if policy.percent < 100 else None
    return Rollout(_in_force(policy), policy.percent, _in_force(before) if before else None)


def previous_of(policy: Policy) -> Policy | None:
    """The version that was live before this one."""
    rows = Policy.objects.filter(
        organisation_id=policy.organisation_id, lob_id=policy.lob_id, state="superseded"
    )
    rows = rows.filter(published_at__isnull=False).exclude(pk=policy.pk).select_related("lob")
    return rows.order_by("-published_at", "-version").first()


def live(organisation_id: int, lob_id: int | None) -> Policy | None:
    rows = Policy.objects.filter(organisation_id=organisation_id, lob_id=lob_id, state="live")
    return rows.select_related("lob").first()


def missing_deployments(organisation_id: int) -> dict[str, list[str]]:
    """Live version (`org@3`) → deployments that it names and that are no longer there: the gateway passes over them."""
    known = set(Deployment.objects.filter(organisation_id=organisation_id).values_list("name", flat=True))
    found = {}
    for policy in Policy.objects.filter(organisation_id=organisation_id, state="live").select_related("lob"):
        try:
            names = {name for _path, name in unknown_deployments(document_of(policy), known)}
        except ValidationFailed:
            continue  # told where it is read: it refuses everything
        if names:
            found[label_of(policy)] = sorted(names)
    return found


def gone_of(policy: Policy | None, missing: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """[{"name", "stranded"}] of what `missing_deployments` found for this version. `stranded`: rules (and `default`) all of whose
    deployments are gone, so that the requests they match are refused; elsewhere the others that a rule names answer."""
    names = missing.get(label_of(policy), ()) if policy is not None and policy.state == "live" else ()
    if policy is None or not names:
        return []
    document = document_of(policy)
    routes = [(rule.name, rule.route) for rule in document.rules]
    routes += [("default", document.default)] if document.default is not None else []
    gone = set(names)
    return [
        {"name": name, "stranded": [
            rule for rule, route in routes
            if name in (answering := {*route.targets, *route.fallback}) and answering <= gone
        ]}
        for name in names
    ]  # fmt: skip


def workload_facts(organisation_id: int) -> list[WorkloadFact]:
    rows = Workload.objects.filter(organisation_id=organisation_id).select_related("lob")
    return [WorkloadFact(w.name, w.lob.slug, w.task, w.tier, w.sensitivity) for w in rows]


def target_facts(organisation_id: int) -> dict[str, TargetFact]:
    rows = Deployment.objects.filter(organisation_id=organisation_id)
    return {d.name: TargetFact(d.name, d.side, d.model, d.region) for d in rows}


def lob_slugs(organisation_id: int) -> list[str]:
    return list(LineOfBusiness.objects.filter(organisation_id=organisation_id).values_list("slug", flat=True))
