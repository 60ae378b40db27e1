"""Accuracy objectives: what is promised, how much of the error budget is left, and who rests because it burns."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from modelhub.models import AccuracyBurn, AccuracyObjective
from modelhub.services.objectives import budget_left, drop_objective, set_objective
from switchyard.core.errors import SwitchyardError
from switchyard.dashboards.pages import PageRequest, page, require_role, show
from switchyard.dashboards.selectors import workloads
from switchyard.tenancy.models import Workload

SETTERS = ("model_engineer", "risk", "operator")


@page
def objectives(request: PageRequest) -> HttpResponse:
    scope = request.ask.scope
    rows = (
        AccuracyObjective.objects.for_tenant(scope).select_related("workload__lob").order_by("workload__name")
    )
    burns = AccuracyBurn.objects.for_tenant(scope).select_related("objective__workload", "deployment")
    may = scope.narrowed(*SETTERS)
    context = {
        "objectives": [(row, *budget_left(row)) for row in rows], "burns": burns[:50],
        "workloads": [w for w in workloads(request.ask) if may.allows_lob(w.lob.slug)],
    }  # fmt: skip
    return show(request, "modelhub/objectives.html", context)


@require_POST
@page
def save_objective(request: PageRequest) -> HttpResponse:
    """Set one, or remove it where the target is empty."""
    scope = require_role(request, *SETTERS)
    workload = get_object_or_404(Workload.objects.for_tenant(scope), name=request.POST.get("workload", ""))
    target = request.POST.get("target", "").strip()
    try:
        if target:
            set_objective(workload=workload, target=_share(target), user=request.user)  # type: ignore[arg-type]
        else:
            row = get_object_or_404(AccuracyObjective, workload=workload)
            drop_objective(objective=row, user=request.user)  # type: ignore[arg-type]
    except ValueError:
        messages.error(request, _("The target is a number of per cent, such as 92."))
    except SwitchyardError as error:
        messages.error(request, error.message)
    else:
        messages.success(request, _("Every process follows within two seconds."))
    return redirect("dashboards:objectives")


def _share(target: str) -> float:
    return float(target.replace(",", ".")) / 100
