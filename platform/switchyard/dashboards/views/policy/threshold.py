"""A cascade's threshold from evaluated rows, offered beside the editor."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from routing.services.learned_cascade import cascade_threshold
from switchyard.core.errors import InvalidRequest, SwitchyardError
from switchyard.dashboards.pages import PageRequest, page
from switchyard.dashboards.views.policy.access import AUTHORS, in_words, must
from switchyard.tenancy.models import Workload


@require_POST
@page
def threshold(request: PageRequest) -> HttpResponse:
    """`workload`, `small`, `big`, `goal` (accuracy | cost), `target` in per cent: the offer, or why there is none."""
    rows = Workload.objects.for_tenant(request.ask.scope).select_related("lob", "organisation")
    workload = get_object_or_404(rows, name=request.POST.get("workload", "").replace("\x00", ""))
    must(request, workload.lob_id, *AUTHORS)
    given = {name: request.POST.get(name, "")[:63].replace("\x00", "") for name in ("small", "big", "goal")}
    try:
        offer = cascade_threshold(workload=workload, target=_share(request.POST.get("target", "")), **given)
    except SwitchyardError as error:
        return render(request, "partials/policy_threshold.html", {"faults": in_words(error)}, status=400)
    return render(request, "partials/policy_threshold.html", {"offer": offer, "told": offer.as_json()})


def _share(text: str) -> float | None:
    if not text.strip():
        return None
    try:
        return float(text.replace(",", ".")) / 100
    except ValueError:
        raise InvalidRequest(_("The target is a number of per cent, such as 92."), param="target") from None
