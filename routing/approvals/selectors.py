"""Who may decide what: the queue of one person."""

from __future__ import annotations

from typing import Any

from routing.approvals.models import PolicyApproval
from switchyard.tenancy.models import User
from switchyard.tenancy.querysets import Scope

APPROVERS = ("policy_approver",)


def waiting_for(user: User, scope: Scope) -> Any:
    """Open requests that `user` may decide: where they approve, and neither wrote the version nor asked."""
    part = scope.narrowed(*APPROVERS)
    rows = PolicyApproval.objects.for_tenant(part).filter(state="requested")
    return rows.exclude(requested_by=user).exclude(policy__created_by=user)
