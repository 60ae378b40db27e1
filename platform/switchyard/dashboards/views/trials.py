"""Try a request: what would be decided, and why, without sending anything."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.shortcuts import get_object_or_404

from routing.services.trial import try_text
from switchyard.core.errors import SwitchyardError
from switchyard.dashboards.pages import PageRequest, page, show
from switchyard.dashboards.selectors import workloads
from switchyard.dashboards.views.decisions import flat_facts
from switchyard.dashboards.views.policies import visible
from switchyard.tenancy.models import SENSITIVITIES, Workload


@page
def trial(request: PageRequest) -> HttpResponse:
    """GET shows the form, POST the decision. `policy`: a version to try in place of the live one of its scope."""
    context: dict[str, Any] = {
        "workloads": workloads(request.ask), "sensitivities": SENSITIVITIES, "given": request.POST or request.GET, "trial": None,
        "versions": visible(request).select_related("lob").defer("document").order_by("lob__slug", "-version")[:100],
    }  # fmt: skip
    if request.method == "POST":
        context |= _decide(request)
    return show(request, "routing/trial.html", context, status=400 if context.get("fault") else 200)


def _decide(request: PageRequest) -> dict[str, Any]:
    rows = Workload.objects.for_tenant(request.ask.scope).select_related("lob")
    workload = get_object_or_404(rows, name=request.POST.get("workload", ""))
    draft = None
    wanted = request.POST.get("policy")
    if wanted:
        draft = get_object_or_404(visible(request), pk=wanted)
        if draft.lob_id not in (None, workload.lob_id):
            return {"fault": f"{draft} is not a policy of {workload.lob.slug}."}
    try:
        found = try_text(
            workload=workload, text=request.POST.get("text", "")[:20_000], sensitivity=request.POST.get("sensitivity", ""),
            wish=request.POST.get("wish", ""), draft=draft,
        )  # fmt: skip
    except SwitchyardError as error:
        return {"fault": error.message}
    return {"trial": found, "facts": flat_facts(found.facts.values)}
