"""What an approver is shown, gathered and kept with the request: proof, difference from what is live, what-if report."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from routing.approvals.models import PolicyApproval
from routing.approvals.services import request_approval
from routing.models import Policy
from routing.policy.difference import by_rule
from routing.selectors import policies as read
from routing.services.policies import diff, validate
from routing.whatif.services import latest
from switchyard.core.errors import ValidationFailed
from switchyard.tenancy.models import User


@transaction.atomic
def ask_for_approval(*, policy: Policy, user: User | None, note: str = "") -> PolicyApproval:
    """Prove the version against the company as it is, gather its evidence, and ask. Raises as validate and
    request_approval do."""
    validate(policy=policy, user=user)
    return request_approval(policy=policy, user=user, evidence=evidence_of(policy), note=note)


def evidence_of(policy: Policy) -> dict[str, Any]:
    """See PolicyApproval.evidence. The what-if is the newest that is finished; null without one."""
    live = read.live(policy.organisation_id, policy.lob_id)
    against = live if live is not None and live.pk != policy.pk else None
    found = latest(policy)
    return {
        "against": {"id": against.pk, "version": against.version} if against else None,
        "difference": diff(against, policy) if against else [],
        "rules": changes(against, policy) if against else [],
        "report": policy.report,
        "what_if": {"id": found.pk, "at": found.created_at.isoformat(), "report": found.report} if found else None,
    }  # fmt: skip


def changes(old: Policy, new: Policy) -> list[dict[str, Any]]:
    """The difference by rule; empty when one of the two can no longer be read (the text still shows it)."""
    try:
        return [change.as_json() for change in by_rule(read.document_of(old), read.document_of(new))]
    except ValidationFailed:
        return []
