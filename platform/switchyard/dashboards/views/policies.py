"""Policies: versions by scope, a document with its colours, difference, publish and rollback, a new version."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from routing.models import Policy
from routing.policy import facts
from routing.services import policies as write
from switchyard.core.errors import SwitchyardError, ValidationFailed
from switchyard.dashboards.pages import PageRequest, page, require_role, show
from switchyard.tenancy.models import LineOfBusiness, Organisation

AUTHORS, PUBLISHERS = ("policy_author",), ("policy_approver",)
EMPTY = "rules: []\n"


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
    for scope in scopes.values():
        scope["live"] = next((v for v in scope["versions"] if v.state == "live"), None)
        scope["may_write"] = _may(request, scope["lob"].pk if scope["lob"] else None, *AUTHORS)
    shown = [
        s for s in scopes.values() if not request.ask.lob or (s["lob"] and s["lob"].slug == request.ask.lob)
    ]
    return show(request, "routing/policies.html", {"scopes": shown})


def visible(request: PageRequest) -> Any:
    """Own lines of business, and the organisation's documents: they apply to everyone."""
    scope = request.ask.scope
    rows = Policy.objects.filter(organisation_id=scope.organisation_id)
    if scope.lob_ids is None:
        return rows
    return rows.filter(lob__in=scope.lob_ids) | rows.filter(lob__isnull=True)


def _may(request: PageRequest, lob_id: int | None, *roles: str) -> bool:
    """Whether a role reaches a scope's documents; the organisation's take a role in all lines of business."""
    part = request.ask.scope.narrowed(*roles)
    return part.organisation_id is not None and (part.lob_ids is None or lob_id in part.lob_ids)


def _may_touch(request: PageRequest, lob_id: int | None, *roles: str) -> None:
    """PermissionDenied without the role; 404 where it does not reach."""
    require_role(request, *roles)
    if not _may(request, lob_id, *roles):
        raise Http404


@page
def policy(request: PageRequest, policy_id: str) -> HttpResponse:
    row = get_object_or_404(visible(request).select_related("lob", "created_by", "approved_by"), pk=policy_id)
    others = visible(request).filter(lob=row.lob).exclude(pk=row.pk).order_by("-version")
    against = request.GET.get("against")
    old = others.filter(pk=against).first() if against else others.filter(version__lt=row.version).first()
    return show(request, "routing/policy.html", {
        "policy": row, "others": others.defer("document"), "old": old, "difference": write.diff(old, row) if old else [],
        "may_write": _may(request, row.lob_id, *AUTHORS), "may_publish": _may(request, row.lob_id, *PUBLISHERS),
    })  # fmt: skip


@page
def new_policy(request: PageRequest) -> HttpResponse:
    """A new version: checked on save; what is wrong is shown with line, column and the request that proves it."""
    lob = _scope_lob(request)
    _may_touch(request, lob.pk if lob else None, *AUTHORS)
    organisation = Organisation.objects.get(pk=request.ask.scope.organisation_id)
    context: dict[str, Any] = {"target": lob, "facts": facts.describe(), "note": "", "errors": []}
    if request.method != "POST":
        start = visible(request).filter(lob=lob).order_by("-version").first()
        return show(
            request, "routing/policy_form.html", context | {"document": start.document if start else EMPTY}
        )
    document, note = (
        request.POST.get("document", "").replace("\r\n", "\n"),
        request.POST.get("note", "")[:300],
    )
    try:
        row = write.create_draft(
            organisation=organisation, lob=lob, document=document, user=request.user, note=note
        )  # type: ignore[arg-type]
    except ValidationFailed as error:
        context |= {"document": document, "note": note, "errors": error.errors}
        return show(request, "routing/policy_form.html", context, status=400)
    messages.success(request, _("Version %(version)s is saved as a draft.") % {"version": row.version})
    return redirect("dashboards:policy", row.pk)


def _scope_lob(request: PageRequest) -> LineOfBusiness | None:
    slug = request.POST.get("scope", request.GET.get("scope", ""))
    if not slug:
        return None
    return get_object_or_404(LineOfBusiness.objects.for_tenant(request.ask.scope), slug=slug)


@require_POST
@page
def policy_action(request: PageRequest, policy_id: str, action: str) -> HttpResponse:
    """validate | publish | rollback; what is refused comes back as a message that names the place."""
    row = get_object_or_404(visible(request).select_related("lob", "organisation"), pk=policy_id)
    _may_touch(request, row.lob_id, *(AUTHORS if action == "validate" else PUBLISHERS))
    try:
        shown, text = _do(row, action, request)
    except ValidationFailed as error:
        for fault in error.errors:
            where = _("line %(line)s, column %(column)s: ") % fault if fault.get("line") else ""
            messages.error(request, f"{where}{fault['message']}")
        return redirect("dashboards:policy", row.pk)
    except SwitchyardError as error:
        messages.error(request, error.message)
        return redirect("dashboards:policy", row.pk)
    messages.success(request, text)
    return redirect("dashboards:policy", shown.pk)


def _do(row: Policy, action: str, request: PageRequest) -> tuple[Policy, str]:
    user: Any = request.user
    if action == "validate":
        return write.validate(policy=row, user=user), _("Proven: no request can break an invariant.")
    if action == "publish":
        percent = request.POST.get("percent", "100")
        if not (percent.isdecimal() and 1 <= int(percent) <= 100):
            raise ValidationFailed(_("Percent is a whole number from 1 to 100."))
        done = write.publish(policy=row, user=user, percent=int(percent))
        return done, _("Version %(version)s is live in every process within 2 seconds.") % {
            "version": done.version
        }
    if action == "rollback":
        done = write.rollback(organisation=row.organisation, lob=row.lob, user=user)
        return done, _("Rolled back: version %(version)s is live again.") % {"version": done.version}
    raise Http404
