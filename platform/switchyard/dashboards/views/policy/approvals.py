"""The queue of versions that wait for a second pair of eyes, and one of them beside its evidence."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from routing.approvals import services as write
from routing.approvals.models import PolicyApproval
from switchyard.core.errors import SwitchyardError
from switchyard.dashboards.pages import PageRequest, page, show
from switchyard.dashboards.views.policy.access import AUTHORS, PUBLISHERS, in_words, may, must
from switchyard.dashboards.views.policy.words import hops_by_invariant, warnings_of

SHOWN = 50


@page
def approvals(request: PageRequest) -> HttpResponse:
    """What waits, oldest first, and what was decided lately."""
    rows = _visible(request).defer("evidence")
    if request.ask.lob:
        rows = rows.filter(policy__lob__slug=request.ask.lob)
    waiting = [
        (row, write.is_stale(row)) for row in rows.filter(state="requested").order_by("requested_at")[:SHOWN]
    ]
    decided = rows.exclude(state="requested").order_by("-decided_at")[:SHOWN]
    return show(request, "routing/policy_approvals.html", {"queue": waiting, "decided": decided})


def _visible(request: PageRequest) -> Any:
    rows = PolicyApproval.objects.for_tenant(request.ask.scope)
    return rows.select_related("policy__lob", "policy__created_by", "requested_by", "decided_by")


def _one(request: PageRequest, approval_id: str) -> PolicyApproval:
    if "\x00" in approval_id:
        raise Http404
    rows = _visible(request).select_related("policy__organisation")
    found: PolicyApproval = get_object_or_404(rows, pk=approval_id)
    return found


@page
def approval(request: PageRequest, approval_id: str) -> HttpResponse:
    row = _one(request, approval_id)
    own = request.user.pk in (row.policy.created_by_id, row.requested_by_id)
    report = (row.evidence.get("what_if") or {}).get("report") or {}
    return show(request, "routing/policy_approval.html", {
        "approval": row, "policy": row.policy, "stale": row.state in ("requested", "approved") and write.is_stale(row),
        "own": own, "may_decide": may(request, row.policy.lob_id, *PUBLISHERS) and row.state == "requested" and not own,
        "may_withdraw": may(request, row.policy.lob_id, *AUTHORS) and row.state == "requested",
        "evidence": row.evidence, "report": report, "warnings": warnings_of(row.evidence.get("report") or {}),
        "hops": hops_by_invariant((row.evidence.get("report") or {}).get("hops", [])),
    })  # fmt: skip


@require_POST
@page
def decide(request: PageRequest, approval_id: str, action: str) -> HttpResponse:
    """approve | send-back | withdraw."""
    if action not in ("approve", "send-back", "withdraw"):
        raise Http404
    row = _one(request, approval_id)
    must(request, row.policy.lob_id, *(AUTHORS if action == "withdraw" else PUBLISHERS))
    user: Any = request.user
    reason = request.POST.get("reason", "")
    try:
        if action == "approve":
            write.approve(approval=row, user=user, reason=reason)
            messages.success(request, _("Approved: it may be published while its proof stands."))
        elif action == "send-back":
            write.send_back(approval=row, user=user, reason=reason)
            messages.success(request, _("Sent back to its author, with your reason."))
        else:
            write.withdraw(approval=row, user=user)
            messages.success(request, _("Withdrawn."))
    except SwitchyardError as error:
        for sentence in in_words(error):
            messages.error(request, sentence)
    return redirect("dashboards:policy-approval", row.pk)
