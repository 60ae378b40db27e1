"""Ask for approval, approve, send back, withdraw; each once, audited, and never by whoever wrote the version."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from routing.approvals.basis import basis_of
from routing.approvals.models import PolicyApproval
from routing.models import Policy
from routing.policy.said import _
from switchyard.audit.services import record
from switchyard.core.clock import now
from switchyard.core.errors import Conflict, InvalidRequest
from switchyard.core.ids import new_id
from switchyard.tenancy.models import Organisation, User

WAITING_STATES = ("draft", "validated", "shadow")


@transaction.atomic
def request_approval(
    *, policy: Policy, user: User | None, evidence: Mapping[str, Any], note: str = ""
) -> PolicyApproval:
    """Ask for a second pair of eyes. `evidence`: see PolicyApproval. Raises Conflict when one is asked for already.

    The version must have been validated against the company as it is now; `routing.services.evidence` does both.
    """
    _lock(policy)
    policy.refresh_from_db()
    if policy.state not in WAITING_STATES:
        raise Conflict(
            _("This version is %(state)s: there is nothing to approve.") % {"state": policy.state},
            code="not_waiting",
        )
    if policy.approvals.filter(state="requested").exists():
        raise Conflict(_("Approval of this version is asked for already."), code="approval_pending")
    row = PolicyApproval.objects.create(
        id=new_id("apr"), policy=policy, basis=basis_of(policy), evidence=dict(evidence), note=note[:500],
        requested_by=user,
    )  # fmt: skip
    _note(row, "approval_requested", user)
    return row


@transaction.atomic
def approve(*, approval: PolicyApproval, user: User, reason: str = "") -> PolicyApproval:
    """Raises Conflict: `own_policy` for its author or who asked, `approval_stale`, `already_decided`."""
    row = _open(approval)
    _refuse_own(row, user)
    if is_stale(row):
        raise Conflict(
            _(
                "The proof this rests on is out of date: deployments, workloads or invariants have changed since. "
                "Send it back, and ask again."
            ),
            code="approval_stale",
        )
    return _decide(row, "approved", user, reason)


@transaction.atomic
def send_back(*, approval: PolicyApproval, user: User, reason: str) -> PolicyApproval:
    """Raises InvalidRequest without a reason, Conflict as `approve` does; a stale one may be sent back."""
    if not reason.strip():
        raise InvalidRequest(_("Say why it goes back: its author will read it."), param="reason")
    row = _open(approval)
    _refuse_own(row, user)
    return _decide(row, "sent_back", user, reason)


@transaction.atomic
def withdraw(*, approval: PolicyApproval, user: User | None) -> PolicyApproval:
    """By whoever may write the version."""
    return _decide(_open(approval), "withdrawn", user, "")


def is_stale(approval: PolicyApproval) -> bool:
    """Whether what was proven then may not hold now."""
    return approval.basis != basis_of(approval.policy)


def standing(policy: Policy) -> PolicyApproval | None:
    """The approval a version may be published on: by somebody else than its author, its proof as it was shown."""
    rows = policy.approvals.filter(state="approved").exclude(decided_by=None).order_by("-decided_at", "-pk")
    return next(
        (row for row in rows if row.decided_by_id != policy.created_by_id and not is_stale(row)), None
    )


def _lock(policy: Policy) -> None:
    Organisation.objects.select_for_update().get(pk=policy.organisation_id)


def _open(approval: PolicyApproval) -> PolicyApproval:
    _lock(approval.policy)
    row = PolicyApproval.objects.select_related("policy__lob", "policy__organisation").get(pk=approval.pk)
    if row.state != "requested":
        raise Conflict(
            _("This request is %(state)s already.") % {"state": row.state.replace("_", " ")},
            code="already_decided",
        )
    return row


def _refuse_own(row: PolicyApproval, user: User) -> None:
    if user.pk in (row.policy.created_by_id, row.requested_by_id):
        raise Conflict(_("Four eyes: somebody else than the author must decide this."), code="own_policy")


def _decide(row: PolicyApproval, state: str, user: User | None, reason: str) -> PolicyApproval:
    row.state, row.decided_by, row.decided_at, row.reason = state, user, now(), reason.strip()[:500]
    row.save(update_fields=["state", "decided_by", "decided_at", "reason"])
    _note(row, state, user)
    return row


def _note(row: PolicyApproval, action: str, user: User | None) -> None:
    policy = row.policy
    record(
        actor=user, action=f"policy.{action}", target=f"policy:{policy.pk}", lob=policy.lob.slug if policy.lob else "",
        organisation_id=policy.organisation_id,
        detail={"version": policy.version, "hash": policy.hash, "approval": row.pk, "note": row.reason or row.note},
    )  # fmt: skip
