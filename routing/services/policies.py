"""Writes of policies: draft → validated → live → superseded. A document never changes once it is saved."""

from __future__ import annotations

import difflib
from typing import Any

from django.db import transaction
from django.db.models import Max

from routing.models import Policy
from routing.policy.document import Faults, digest, parse_document
from routing.policy.rules import Document
from routing.policy.verify import counter_examples, unknown_deployments
from routing.selectors import policies as read
from switchyard.audit.services import record
from switchyard.core.clock import now
from switchyard.core.errors import Conflict, ValidationFailed
from switchyard.core.ids import new_id
from switchyard.tenancy.models import LineOfBusiness, Organisation, User
from switchyard.tenancy.services import bump_config

MAX_EXAMPLES = 10


def check_document(*, organisation: Organisation, lob: LineOfBusiness | None, document: str) -> Document:
    """Everything save refuses. Raises ValidationFailed with path, line and column of each fault."""
    parsed = parse_document(document, organisation=lob is None)
    faults = Faults(parsed.positions)
    known = read.target_facts(organisation.pk)
    for path, name in unknown_deployments(parsed, set(known)):
        near = difflib.get_close_matches(name, known, n=1)
        hint = (
            f" Did you mean {near[0]!r}?" if near else f" There are {', '.join(sorted(known)) or 'none yet'}."
        )
        faults.add(path, f"Unknown deployment {name!r}.{hint}")
    faults.raise_if_any()
    invariants = parsed.invariants
    if lob is not None:
        base = read.live(organisation.pk, None)
        invariants = read.document_of(base).invariants if base else ()
    examples = counter_examples(
        parsed, invariants, read.workload_facts(organisation.pk), known, lob=lob.slug if lob else None
    )
    for example in examples[:MAX_EXAMPLES]:
        path = next((f"rules[{i}]" for i, r in enumerate(parsed.rules) if r.name == example.rule), "default")
        faults.add(path, example.sentence(), counter_example=example.as_json())
    faults.raise_if_any()
    return parsed


@transaction.atomic
def create_draft(
    *,
    organisation: Organisation,
    lob: LineOfBusiness | None,
    document: str,
    user: User | None,
    note: str = "",
) -> Policy:
    """Save a new version as a draft. Raises ValidationFailed for what `check_document` refuses."""
    check_document(organisation=organisation, lob=lob, document=document)
    rows = Policy.objects.select_for_update().filter(organisation=organisation, lob=lob)
    version = (rows.aggregate(top=Max("version"))["top"] or 0) + 1
    policy = Policy.objects.create(
        id=new_id("pol"), organisation=organisation, lob=lob, version=version, document=document,
        hash=digest(document), created_by=user, note=note,
    )  # fmt: skip
    _note(policy, "created", user)
    return policy


@transaction.atomic
def validate(*, policy: Policy, user: User | None) -> Policy:
    """Check a draft against the company as it is now; a good one becomes `validated`."""
    parsed = check_document(organisation=policy.organisation, lob=policy.lob, document=policy.document)
    proven = [i.name for i in parsed.invariants] or [i.name for i in _inherited(policy)]
    policy.report = {
        "checked_at": now().isoformat(), "rules": len(parsed.rules), "invariants_proven": proven,
        "workloads": len(read.workload_facts(policy.organisation_id)),
    }  # fmt: skip
    if policy.state == "draft":
        policy.state = "validated"
    policy.save(update_fields=["report", "state"])
    return policy


def _inherited(policy: Policy) -> Any:
    base = read.live(policy.organisation_id, None)
    return read.document_of(base).invariants if base and policy.lob_id else ()


@transaction.atomic
def publish(*, policy: Policy, user: User | None, percent: int = 100) -> Policy:
    """Make a version live. With four eyes somebody else than its author must do it (Conflict `approval_required`)."""
    if policy.state == "live" and policy.percent == percent:
        return policy
    if policy.organisation.four_eyes and user is not None and policy.created_by_id == user.pk:
        raise Conflict(
            "Four eyes are on: somebody else than the author must publish this.", code="approval_required"
        )
    validate(policy=policy, user=user)
    if policy.lob_id is None:
        _check_lob_documents(policy)
    _go_live(policy, percent)
    if user is not None and policy.created_by_id != user.pk:
        policy.approved_by = user
        policy.save(update_fields=["approved_by"])
    _note(policy, "published", user, percent=percent)
    return policy


def _check_lob_documents(policy: Policy) -> None:
    """A new organisation policy must not make a live one of a line of business unprovable."""
    parsed = read.document_of(policy)
    known, workloads = read.target_facts(policy.organisation_id), read.workload_facts(policy.organisation_id)
    for live in Policy.objects.filter(
        organisation=policy.organisation, state="live", lob__isnull=False
    ).select_related("lob"):
        examples = counter_examples(
            read.document_of(live), parsed.invariants, workloads, known, lob=live.lob.slug
        )
        if examples:
            raise ValidationFailed(f"The live policy {live} would break it: {examples[0].sentence()}")


def _go_live(policy: Policy, percent: int) -> None:
    live = Policy.objects.filter(organisation=policy.organisation, lob=policy.lob, state="live").exclude(
        pk=policy.pk
    )
    live.update(state="superseded")
    policy.state, policy.percent, policy.published_at = "live", percent, now()
    policy.save(update_fields=["state", "percent", "published_at"])
    bump_config()


@transaction.atomic
def rollback(*, organisation: Organisation, lob: LineOfBusiness | None, user: User | None) -> Policy:
    """Put the version before the live one back, checked against the company as it is now."""
    current = read.live(organisation.pk, lob.pk if lob else None)
    previous = read.previous_of(current) if current else None
    if current is None or previous is None:
        raise Conflict("There is no earlier version to go back to.", code="nothing_to_roll_back")
    check_document(organisation=organisation, lob=lob, document=previous.document)
    published = previous.published_at
    _go_live(previous, 100)
    # The one rolled back is not what the next rollback returns to: it loses its place in the order.
    Policy.objects.filter(pk=current.pk).update(published_at=None)
    _note(previous, "rolled_back", user, from_version=current.version, first_published=published)
    return previous


def diff(old: Policy, new: Policy) -> list[str]:
    """A unified diff of two versions' documents."""
    return list(
        difflib.unified_diff(
            old.document.splitlines(),
            new.document.splitlines(),
            f"version {old.version}",
            f"version {new.version}",
            lineterm="",
        )
    )


def _note(policy: Policy, action: str, user: User | None, **detail: Any) -> None:
    record(
        actor=user, action=f"policy.{action}", target=f"policy:{policy.pk}", lob=policy.lob.slug if policy.lob else "",
        organisation_id=policy.organisation_id, detail={"version": policy.version, "hash": policy.hash, **detail},
    )  # fmt: skip
