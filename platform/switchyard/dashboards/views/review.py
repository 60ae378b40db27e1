"""The review list: answers the guard found risky, and why it withholds or only observes."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.db.models import Count, Q
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from modelhub import artifacts
from routing.models import Interception
from routing.services.reviews import review
from switchyard.core.errors import BudgetExhausted
from switchyard.dashboards.pages import PageRequest, page, require_role, show

PAGE_SIZE = 50
REVIEWERS = ("risk",)


@page
def reviews(request: PageRequest) -> HttpResponse:
    ask = request.ask
    rows = Interception.objects.for_tenant(ask.scope).filter(at__gte=ask.period.start, at__lt=ask.period.end)
    if ask.lob:
        rows = rows.filter(lob=ask.lob)
    counts = rows.aggregate(
        total=Count("pk"),
        withheld=Count("pk", filter=Q(withheld=True)),
        open=Count("pk", filter=Q(state="open")),
        confirmed=Count("pk", filter=Q(state="confirmed")),
        released=Count("pk", filter=Q(state="released")),
    )
    state = request.GET.get("state", "")
    if state in ("open", "confirmed", "released"):
        rows = rows.filter(state=state)
    elif state == "appealed":
        rows = rows.filter(appealed_at__isnull=False, state="open")
    before = request.GET.get("before", "")
    if before.isdecimal():
        rows = rows.filter(pk__lt=int(before))
    found = list(rows.order_by("-pk")[: PAGE_SIZE + 1])
    return show(
        request,
        "routing/reviews.html",
        {
            "rows": found[:PAGE_SIZE],
            "next": found[PAGE_SIZE - 1].pk if len(found) > PAGE_SIZE else None,
            "counts": counts,
            "guard": _guard(),
            "lobs": ask.lobs,
            "may_review": ask.scope.has_role(*REVIEWERS),
            "states": ("open", "appealed", "confirmed", "released"),
        },
    )


def _guard() -> dict[str, Any] | None:
    """The risk model's measured errors, from its manifest; None when no guard is installed."""
    try:
        manifest = artifacts.load_manifest(artifacts.find("risk-guard"))
    except (artifacts.ArtifactMissing, artifacts.ArtifactCorrupt):
        return None
    hatecheck = manifest.get("metrics", {}).get("hatecheck", {})
    return {
        "threshold": manifest.get("thresholds", {}).get("default"),
        "may_enforce": manifest.get("may_enforce", False),
        "blocked": hatecheck.get("harmless_naming_a_group_blocked"),
        "missed": hatecheck.get("missed_hate"),
        "business": manifest.get("metrics", {}).get("business_texts_blocked"),
        "groups": sorted((hatecheck.get("by_group") or {}).items()),
    }


@require_POST
@page
def review_action(request: PageRequest, interception_id: int) -> HttpResponse:
    """confirmed | released (a false alarm)."""
    scope = require_role(request, *REVIEWERS)
    row = get_object_or_404(Interception.objects.for_tenant(scope), pk=interception_id)
    state = request.POST.get("state", "")
    if state not in ("confirmed", "released"):
        messages.error(request, _("Say whether it is confirmed or a false alarm."))
    else:
        try:
            review(interception=row, state=state, user=request.user)  # type: ignore[arg-type]
            messages.success(request, _("Noted, thank you."))
        except BudgetExhausted as error:  # a review is paid as a label
            messages.error(request, error.message)
    return redirect("dashboards:review")
