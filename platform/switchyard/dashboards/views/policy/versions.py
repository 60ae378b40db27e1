"""Every scope with its versions; one version with its document, its proof, its approvals, and what may be done with it."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from routing.approvals.selectors import waiting_for
from routing.approvals.services import is_stale, standing
from routing.models import Policy
from routing.rollout.watch import told as rollout_told
from routing.selectors import policies as read
from routing.services import policies as write
from routing.services.evidence import ask_for_approval
from routing.services.shadows import start_shadow, stop_shadow
from routing.whatif.services import latest, pending
from switchyard.core.errors import SwitchyardError, ValidationFailed
from switchyard.dashboards.pages import PageRequest, page, show
from switchyard.dashboards.views.policy.access import (
    AUTHORS,
    PUBLISHERS,
    in_words,
    may,
    must,
    version_of,
    visible,
)
from switchyard.dashboards.views.policy.words import hops_by_invariant, warnings_of

STEPS = (1, 5, 10, 25, 50, 100)


@page
def policies(request: PageRequest) -> HttpResponse:
    """Every scope the reader may see, the organisation's first, each with its versions."""
    rows = visible(request).select_related("lob", "created_by", "approved_by").defer("document")
    scopes: dict[Any, dict[str, Any]] = {None: {"lob": None, "versions": []}}
    for lob in request.ask.lobs:
        scopes[lob.pk] = {"lob": lob, "versions": []}
    for row in rows.order_by("-version"):
        if row.lob_id in scopes:
            scopes[row.lob_id]["versions"].append(row)
    gone = read.missing_deployments(request.ask.scope.organisation_id or 0)
    for scope in scopes.values():
        scope["live"] = next((v for v in scope["versions"] if v.state == "live"), None)
        scope["missing"] = read.gone_of(scope["live"], gone)
        scope["may_write"] = may(request, scope["lob"].pk if scope["lob"] else None, *AUTHORS)
    shown = [
        s for s in scopes.values() if not request.ask.lob or (s["lob"] and s["lob"].slug == request.ask.lob)
    ]
    return show(
        request,
        "routing/policies.html",
        {"scopes": shown, "waiting": waiting_for(request.user, request.ask.scope).count()},
    )


@page
def policy(request: PageRequest, policy_id: str) -> HttpResponse:
    row = version_of(request, policy_id)
    live = read.live(row.organisation_id, row.lob_id)
    asked = row.approvals.select_related("requested_by", "decided_by").first()
    return show(request, "routing/policy.html", {
        "policy": row, "live": live, "may_write": may(request, row.lob_id, *AUTHORS),
        "may_publish": may(request, row.lob_id, *PUBLISHERS), "steps": STEPS, "asked": asked,
        "asked_is_stale": asked is not None and asked.state in ("requested", "approved") and is_stale(asked),
        "four_eyes": row.organisation.four_eyes, "approved": standing(row),
        "what_if": latest(row), "what_if_pending": pending(row),
        "watch": _watch(row), "warnings": warnings_of(row.report), "hops": hops_by_invariant(row.report.get("hops", [])),
        "missing": read.gone_of(row, read.missing_deployments(row.organisation_id)) if row.state == "live" else [],
    })  # fmt: skip


def _watch(row: Policy) -> dict[str, Any] | None:
    """The newest watch with the guards that have seen an answer."""
    found = rollout_told(row)
    return found and found | {"metrics": [metric for metric in found["metrics"] if metric["n"]]}


@require_POST
@page
def policy_action(request: PageRequest, policy_id: str, action: str) -> HttpResponse:
    """One of ACTIONS; what is refused comes back as a message that names the place."""
    if action not in ACTIONS:
        raise Http404
    row = version_of(request, policy_id)
    do, roles = ACTIONS[action]
    must(request, row.lob_id, *roles)
    try:
        shown, text = do(row, request)
    except SwitchyardError as error:
        for sentence in in_words(error):
            messages.error(request, sentence)
        return redirect("dashboards:policy", row.pk)
    messages.success(request, text)
    return redirect("dashboards:policy", shown.pk)


def _validate(row: Policy, request: PageRequest) -> tuple[Policy, str]:
    user: Any = request.user
    return write.validate(policy=row, user=user), _("Proven: no request can break an invariant.")


def _ask(row: Policy, request: PageRequest) -> tuple[Policy, str]:
    user: Any = request.user
    ask_for_approval(policy=row, user=user, note=request.POST.get("note", ""))
    return row, _("Asked for: an approver finds it in the queue, with the evidence as it is now.")


def _publish(row: Policy, request: PageRequest) -> tuple[Policy, str]:
    user: Any = request.user
    percent = request.POST.get("percent", "100")
    if not (percent.isdecimal() and percent.isascii() and 1 <= int(percent[:9]) <= 100):
        raise ValidationFailed(_("Percent is a whole number from 1 to 100."))
    done = write.publish(policy=row, user=user, percent=int(percent), expected=request.POST.get("seen"))
    said = {"version": done.version, "percent": done.percent}
    if done.percent < 100:
        return done, _(
            "Version %(version)s takes %(percent)s %% of the traffic in every process within 2 seconds."
        ) % said
    return done, _("Version %(version)s is live in every process within 2 seconds.") % said


def _shadow(row: Policy, request: PageRequest) -> tuple[Policy, str]:
    user: Any = request.user
    return start_shadow(policy=row, user=user), _(
        "It is asked beside the live version from now on; nobody is called by what it says."
    )


def _unshadow(row: Policy, request: PageRequest) -> tuple[Policy, str]:
    user: Any = request.user
    return stop_shadow(policy=row, user=user), _("It is no longer asked; what it said is kept.")


def _rollback(row: Policy, request: PageRequest) -> tuple[Policy, str]:
    user: Any = request.user
    done = write.rollback(
        organisation=row.organisation, lob=row.lob, user=user, only=row.pk, reason=request.POST.get("reason", "")
    )  # fmt: skip
    return done, _("Rolled back: version %(version)s is live again.") % {"version": done.version}


ACTIONS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "validate": (_validate, AUTHORS), "ask": (_ask, AUTHORS), "publish": (_publish, PUBLISHERS),
    "rollback": (_rollback, PUBLISHERS), "shadow": (_shadow, (*AUTHORS, *PUBLISHERS)),
    "unshadow": (_unshadow, (*AUTHORS, *PUBLISHERS)),
}  # fmt: skip
