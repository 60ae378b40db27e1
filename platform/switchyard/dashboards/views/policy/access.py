"""Which versions a reader may see, and where a role reaches: own lines of business, and the organisation's documents."""

from __future__ import annotations

from typing import Any

from django.http import Http404
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext as _

from routing.models import Policy
from routing.policy import said
from switchyard.core.errors import SwitchyardError, ValidationFailed
from switchyard.dashboards.pages import PageRequest, require_role
from switchyard.tenancy.models import LineOfBusiness, Organisation

AUTHORS, PUBLISHERS = ("policy_author",), ("policy_approver",)


def visible(request: PageRequest) -> Any:
    """Own lines of business, and the organisation's documents: they apply to everyone."""
    scope = request.ask.scope
    rows = Policy.objects.filter(organisation_id=scope.organisation_id)
    if scope.lob_ids is None:
        return rows
    return rows.filter(lob__in=scope.lob_ids) | rows.filter(lob__isnull=True)


def version_of(request: PageRequest, policy_id: str) -> Policy:
    """One version by its id. Http404 where it isn't the reader's."""
    if "\x00" in policy_id:  # no column holds it, and PostgreSQL refuses to compare with it
        raise Http404
    rows = visible(request).select_related("lob", "organisation", "created_by", "approved_by")
    return get_object_or_404(rows, pk=policy_id)


def may(request: PageRequest, lob_id: int | None, *roles: str) -> bool:
    """Whether a role reaches a scope's documents; the organisation's take a role in all lines of business."""
    part = request.ask.scope.narrowed(*roles)
    return part.organisation_id is not None and (part.lob_ids is None or lob_id in part.lob_ids)


def must(request: PageRequest, lob_id: int | None, *roles: str) -> None:
    """PermissionDenied without the role; 404 where it does not reach."""
    require_role(request, *roles)
    if not may(request, lob_id, *roles):
        raise Http404


def scope_lob(request: PageRequest) -> LineOfBusiness | None:
    """The line of business that `scope` names; None for the organisation."""
    slug = request.POST.get("scope", request.GET.get("scope", ""))
    if not slug:
        return None
    if "\x00" in slug:
        raise Http404
    return get_object_or_404(LineOfBusiness.objects.for_tenant(request.ask.scope), slug=slug)


def organisation_of(request: PageRequest) -> Organisation:
    return Organisation.objects.get(pk=request.ask.scope.organisation_id)


def in_words(error: SwitchyardError) -> list[str]:
    """What a refusal says in the reader's language, one sentence a fault, each with its place."""
    if not isinstance(error, ValidationFailed):
        return [said.in_words(error.message, _)]
    where = _("line %(line)s, column %(column)s: ")
    return [
        (where % fault if fault.get("line") else "") + said.in_words(fault["message"], _)
        for fault in error.errors
    ]
