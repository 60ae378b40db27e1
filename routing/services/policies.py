"""Writes of policies: draft → validated → shadow → live → superseded. A document never changes once it is saved.

Writers of one organisation queue up behind its row, so two who publish at once do so one after the other; who says what they
saw live (`expected`) is told when it is no longer.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Max

from routing.approvals.services import standing
from routing.caching import verdict
from routing.models import Policy
from routing.policy.document import digest, parse_document
from routing.policy.rules import Document, Invariant
from routing.policy.said import Said, _, kept
from routing.policy.source import Faults
from routing.policy.verify import Proof, prove, unknown_deployments
from routing.rollout import watches
from routing.selectors import policies as read
from switchyard.audit.services import record
from switchyard.core.clock import now
from switchyard.core.errors import Conflict, InvalidRequest, ValidationFailed
from switchyard.core.ids import new_id
from switchyard.tenancy.models import LineOfBusiness, Organisation, User
from switchyard.tenancy.services import bump_config

MAX_EXAMPLES = 10


def check_document(
    *, organisation: Organisation, lob: LineOfBusiness | None, document: str
) -> tuple[Document, Proof]:
    """Everything save refuses. Raises ValidationFailed with path, line and column of each fault."""
    parsed = parse_document(document, organisation=lob is None)
    faults = Faults(parsed.source)
    known = read.target_facts(organisation.pk)
    for path, name in unknown_deployments(parsed, set(known)):
        near = difflib.get_close_matches(name, known, n=1)
        there = ", ".join(sorted(known)) or _("none yet")
        hint = (
            _("Did you mean %(word)s?") % {"word": repr(near[0])} if near else _("There are %(names)s.") % {"names": there}
        )  # fmt: skip
        faults.add(path, _("Unknown deployment %(name)s.") % {"name": repr(name)} + " " + hint)
    for i, rule in enumerate(parsed.rules):
        similarity = rule.route.cache.semantic if rule.route.cache is not None else None
        if similarity is not None and (why := verdict.refusal(similarity, Path(settings.HOME))):
            faults.add(f"rules[{i}].route.cache.semantic", why)
    faults.raise_if_any()
    invariants = parsed.invariants if lob is None else _inherited(organisation)
    lobs = [lob.slug] if lob is not None else read.lob_slugs(organisation.pk)
    proof = prove(parsed, invariants, read.workload_facts(organisation.pk), known, lobs=lobs)
    for example in proof.examples[:MAX_EXAMPLES]:
        faults.add(example.path, example.sentence(), counter_example=example.as_json())
    faults.raise_if_any()
    return parsed, proof


def _inherited(organisation: Organisation) -> Sequence[Invariant]:
    """What a line of business can't weaken. Without an organisation's policy nothing may leave at all."""
    base = read.live(organisation.pk, None)
    return read.document_of(base).invariants if base is not None else ()


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
    parsed, proof = check_document(organisation=organisation, lob=lob, document=document)
    lock(organisation)
    rows = Policy.objects.filter(organisation=organisation, lob=lob)
    version = (rows.aggregate(top=Max("version"))["top"] or 0) + 1
    policy = Policy.objects.create(
        id=new_id("pol"), organisation=organisation, lob=lob, version=version, document=document,
        hash=digest(document), created_by=user, note=note, report=_report(parsed, proof),
    )  # fmt: skip
    tell(policy, "created", user)
    return policy


def lock(organisation: Organisation) -> None:
    """Writers of policies queue up behind one row, so that versions count up and one is live."""
    Organisation.objects.select_for_update().get(pk=organisation.pk)


def _report(parsed: Document, proof: Proof) -> dict[str, Any]:
    return {
        "checked_at": now().isoformat(), "rules": len(parsed.rules), "cases": proof.cases, "warnings": proof.warnings,
        "invariants": [invariant.name for invariant in parsed.invariants],
        "hops": [verdict.as_json() for verdict in proof.hops],
        "warning_parts": [kept(warning) for warning in proof.warnings],  # so that pages can say them in other languages
    }  # fmt: skip


@transaction.atomic
def validate(*, policy: Policy, user: User | None) -> Policy:
    """Check a version against the company as it is now; a good draft becomes `validated`."""
    parsed, proof = check_document(organisation=policy.organisation, lob=policy.lob, document=policy.document)
    policy.report = _report(parsed, proof)
    fields = ["report"]
    if policy.state == "draft":
        policy.state = "validated"
        fields.append("state")
        tell(policy, "validated", user)
    policy.save(update_fields=fields)
    return policy


@transaction.atomic
def publish(*, policy: Policy, user: User | None, percent: int = 100, expected: str | None = None) -> Policy:
    """Make a version live, for a share of the traffic or all of it, and begin to watch it.

    `expected`: id of the version that the publisher saw live in this scope ("" for none). Raises ValidationFailed when the
    version no longer holds for the company as it is; Conflict `approval_required` when four eyes are on and its author
    publishes, `live_changed` when another than the expected is live, `rollout_running` when another one is being rolled out
    and this one shall take a part only.
    """
    if not 1 <= percent <= 100:
        raise InvalidRequest(
            _("percent is %(percent)s; expected 1 to 100.") % {"percent": percent}, param="percent"
        )
    lock(policy.organisation)
    policy.refresh_from_db()
    if policy.state == "live" and policy.percent == percent:
        return policy
    current = read.live(policy.organisation_id, policy.lob_id)
    _check_live(policy, current, percent, expected)
    approver = policy.approved_by if policy.state == "live" else _second_pair_of_eyes(policy, user)
    validate(policy=policy, user=user)
    if policy.lob_id is None:
        _check_lob_documents(policy)
    _go_live(policy, percent)
    if approver is not None and approver.pk != policy.created_by_id:
        policy.approved_by = approver
        policy.save(update_fields=["approved_by"])
    watches.begin(policy, read.previous_of(policy))
    tell(policy, "published", user, percent=percent)
    return policy


def _check_live(policy: Policy, current: Policy | None, percent: int, expected: str | None) -> None:
    if expected is not None and expected != (current.pk if current else ""):
        now_live: Said = _("nothing is live now")
        if current:
            now_live = _("%(version)s is live now") % {"version": read.label_of(current)}
        raise Conflict(
            _(
                "Somebody else has published meanwhile: %(now)s. Look at the difference from it, then publish again."
            )
            % {"now": now_live},
            code="live_changed",
        )
    if current is not None and current.pk != policy.pk and current.percent < 100 and percent < 100:
        raise Conflict(
            _(
                "%(version)s is being rolled out to %(percent)s %%. Finish it or roll it back first: the rest of the traffic "
                "can't be shared among three versions."
            )
            % {"version": read.label_of(current), "percent": current.percent},
            code="rollout_running",
        )


def _second_pair_of_eyes(policy: Policy, user: User | None) -> User | None:
    """Who answers for it beside its author: whoever approved it, its proof as it was shown, else whoever publishes.

    Raises Conflict `approval_required` where four eyes are on and that is nobody but the author.
    """
    approval = standing(policy)
    own = user is not None and policy.created_by_id == user.pk
    if policy.organisation.four_eyes and own and approval is None:
        raise Conflict(
            _("Four eyes are on: somebody else than the author must approve or publish this."),
            code="approval_required",
        )
    return approval.decided_by if approval is not None else user


def _check_lob_documents(policy: Policy) -> None:
    """A new organisation's policy must not leave a live one of a line of business sending what it now forbids."""
    parsed = read.document_of(policy)
    known, workloads = read.target_facts(policy.organisation_id), read.workload_facts(policy.organisation_id)
    faults = Faults(parsed.source)
    rows = Policy.objects.filter(organisation=policy.organisation, state="live", lob__isnull=False)
    for live in rows.select_related("lob"):
        proof = prove(read.document_of(live), parsed.invariants, workloads, known, lobs=[live.lob.slug])
        for example in proof.examples[:1]:
            message = _("The live policy %(version)s stands against it: %(why)s") % {
                "version": read.label_of(live), "why": example.sentence()
            }  # fmt: skip
            faults.add("invariants", message, counter_example=example.as_json())
    faults.raise_if_any()


def _go_live(policy: Policy, percent: int) -> None:
    rows = Policy.objects.filter(organisation=policy.organisation, lob=policy.lob, state="live")
    others = rows.exclude(pk=policy.pk)
    watches.end(others, "another version was published")
    # What never had all of the traffic is nothing to go back to.
    others.filter(percent__lt=100).update(state="superseded", published_at=None)
    others.update(state="superseded")
    policy.state, policy.percent, policy.published_at = "live", percent, _moment(policy)
    policy.save(update_fields=["state", "percent", "published_at"])
    bump_config()


def _moment(policy: Policy) -> datetime:
    """Now, but after everything published before in this scope, even where the clock was put back: versions are gone back to in
    this order."""
    rows = Policy.objects.filter(organisation=policy.organisation, lob=policy.lob).exclude(pk=policy.pk)
    latest = rows.aggregate(at=Max("published_at"))["at"]
    at = now()
    return at if latest is None or latest < at else latest + timedelta(microseconds=1)


@transaction.atomic
def rollback(
    *,
    organisation: Organisation,
    lob: LineOfBusiness | None,
    user: User | None,
    reason: str = "",
    only: str | None = None,
) -> Policy:
    """Put the version before the live one back. Raises Conflict when there is none.

    It works in an emergency too: nothing of the company as it is now can refuse it, since the invariants in force are
    asked at every hop anyway. What a check finds goes into the report as warnings. `only`: id of the version to take back;
    Conflict `live_changed` when it is no longer live.
    """
    lock(organisation)
    current = read.live(organisation.pk, lob.pk if lob else None)
    if only is not None and (current is None or current.pk != only):
        raise Conflict(_("This version is no longer live."), code="live_changed")
    previous = read.previous_of(current) if current else None
    if current is None or previous is None:
        raise Conflict(_("There is no earlier version to go back to."), code="nothing_to_roll_back")
    try:
        parsed, proof = check_document(organisation=organisation, lob=lob, document=previous.document)
        previous.report = _report(parsed, proof)
    except ValidationFailed as error:
        found = [e["message"] for e in error.errors]
        previous.report = previous.report | {"warnings": found, "warning_parts": [kept(w) for w in found]}
    previous.save(update_fields=["report"])
    first_published = previous.published_at
    _go_live(previous, 100)
    # The one rolled back is not what the next rollback returns to: it loses its place in the order.
    Policy.objects.filter(pk=current.pk).update(published_at=None)
    tell(
        previous, "rolled_back", user, from_version=current.version, from_percent=current.percent,
        first_published=first_published, reason=reason[:400], automatic=bool(reason) and user is None,
    )  # fmt: skip
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


def tell(policy: Policy, action: str, user: User | None, **detail: Any) -> None:
    record(
        actor=user, action=f"policy.{action}", target=f"policy:{policy.pk}", lob=policy.lob.slug if policy.lob else "",
        organisation_id=policy.organisation_id, detail={"version": policy.version, "hash": policy.hash, **detail},
    )  # fmt: skip
