"""Any two versions of one scope beside each other: by rule, by text, and by effect once a what-if has replayed both."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404

from routing.models import Policy, WhatIf
from routing.services import policies as write
from routing.services.evidence import changes
from switchyard.dashboards.pages import PageRequest, page, show
from switchyard.dashboards.views.policy.access import AUTHORS, PUBLISHERS, may, version_of, visible


@page
def difference(request: PageRequest, policy_id: str) -> HttpResponse:
    """`against`: the older of the two; without it the version before."""
    new = version_of(request, policy_id)
    others = visible(request).filter(lob=new.lob).exclude(pk=new.pk).order_by("-version")
    old = _old(request, others, new)
    context: dict[str, Any] = {
        "policy": new, "old": old, "others": others.defer("document"), "lines": [], "changes": [], "effect": None,
        "may_replay": may(request, new.lob_id, *AUTHORS, *PUBLISHERS),
    }  # fmt: skip
    if old is not None:
        context |= {"lines": write.diff(old, new), "changes": changes(old, new)}
        rows = WhatIf.objects.filter(policy=new, against=old)
        context |= {"effect": rows.exclude(report={}).first(), "pending": rows.filter(report={}).first()}
    return show(request, "routing/policy_difference.html", context)


def _old(request: PageRequest, others: Any, new: Policy) -> Policy | None:
    wanted = request.GET.get("against")
    if wanted:
        if "\x00" in wanted:
            raise Http404
        found: Policy = get_object_or_404(others, pk=wanted)
        return found
    return others.filter(version__lt=new.version).first()
