"""Alerts, where they are sent, and what became of each delivery."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from costs.alerts import resolve
from costs.models import Alert, AlertDelivery, AlertTarget
from costs.notify import targets
from switchyard.core.errors import SwitchyardError
from switchyard.dashboards.pages import PageRequest, page, require_role, show
from switchyard.dashboards.typed import keep_typed, typed_in
from switchyard.tenancy.models import LineOfBusiness
from switchyard.tenancy.querysets import Scope

ROLES = ("operator", "finance")


@page
def alerts(request: PageRequest) -> HttpResponse:
    scope = request.ask.scope
    rows = Alert.objects.for_tenant(scope)
    if request.ask.lob:
        rows = rows.filter(lob=request.ask.lob)
    owned = (
        AlertTarget.objects.for_tenant(scope).select_related("lob").order_by("lob__slug", "kind", "address")
    )
    acting = scope.narrowed(*ROLES)
    return show(
        request,
        "costs/alerts.html",
        {
            "typed": typed_in(request, "alert-target"),
            "open": rows.filter(resolved_at__isnull=True)[:200],
            "resolved": rows.filter(resolved_at__isnull=False)[:50],
            "may_resolve": scope.has_role(*ROLES),
            "targets": owned,
            "mine": set(AlertTarget.objects.for_tenant(acting).values_list("pk", flat=True)),
            "lobs": LineOfBusiness.objects.for_tenant(acting),
            "whole": acting.organisation_id is not None and acting.lob_ids is None,
            "deliveries": AlertDelivery.objects.filter(target__in=owned)
            .select_related("alert", "target")
            .order_by("-pk")[:50],
        },
    )


@require_POST
@page
def resolve_alert(request: PageRequest, alert_id: int) -> HttpResponse:
    scope = require_role(request, *ROLES)
    row = get_object_or_404(Alert.objects.for_tenant(scope), pk=alert_id)
    resolve(alert=row, user=request.user)  # type: ignore[arg-type]
    messages.success(request, _("Marked as resolved."))
    return redirect("dashboards:alerts")


@require_POST
@page
def new_target(request: PageRequest) -> HttpResponse:
    """The secret of a webhook is told here once, when it was made for whoever asked."""
    scope = require_role(request, *ROLES)
    lob, given = _lob(scope, request.POST.get("lob", "")), request.POST.get("secret", "")
    organisation_id = scope.organisation_id
    assert organisation_id is not None
    kinds = request.POST.get("kinds", "").replace(",", " ").split()
    try:
        _target, plain = targets.create_target(
            organisation_id=organisation_id, lob=lob, kind=request.POST.get("kind", ""), secret=given,
            address=request.POST.get("address", ""), user=request.user,  # type: ignore[arg-type]
            kinds=kinds,
        )  # fmt: skip
    except SwitchyardError as error:
        messages.error(request, error.message)
        keep_typed(request, "alert-target")
    else:
        messages.success(request, _("Alerts raised from now on are sent there."))
        seen = set(Alert.objects.for_tenant(scope).filter(kind__in=kinds).values_list("kind", flat=True))
        if unseen := sorted(set(kinds) - seen):
            words = _("No alert of this kind was raised so far, so look at its spelling: %s")
            messages.warning(request, words % ", ".join(unseen))
        if plain and not given:
            messages.info(request, _("The secret that signs its messages, shown this once: %s") % plain)
    return redirect("dashboards:alerts")


def _lob(scope: Scope, slug: str) -> LineOfBusiness | None:
    if slug:
        return get_object_or_404(LineOfBusiness.objects.for_tenant(scope), slug=slug)
    if scope.lob_ids is not None:
        raise PermissionDenied
    return None


@require_POST
@page
def target_action(request: PageRequest, target_id: int, action: str) -> HttpResponse:
    scope = require_role(request, *ROLES)
    row = get_object_or_404(AlertTarget.objects.for_tenant(scope), pk=target_id)
    user: Any = request.user
    actions: dict[str, tuple[Callable[[], Any], str]] = {
        "test": (
            lambda: targets.send_test(target=row, user=user),
            _("A test alert is on its way; see its state below."),
        ),
        "pause": (lambda: targets.change_target(target=row, user=user, active=False), _("Switched off.")),
        "resume": (lambda: targets.change_target(target=row, user=user, active=True), _("Switched on.")),
        "delete": (lambda: targets.delete_target(target=row, user=user), _("Removed.")),
    }
    if action not in actions:
        raise Http404
    act, said = actions[action]
    act()
    messages.success(request, said)
    return redirect("dashboards:alerts")
