"""Starting a compression from its form on the page of jobs."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from modelhub.models import Deployment
from modelhub.services.compressions import start_compression
from switchyard.core.errors import InvalidRequest, SwitchyardError
from switchyard.dashboards.pages import PageRequest, page, require_role
from switchyard.tenancy.models import Workload

ROLE = "model_engineer"


@require_POST
@page
def start(request: PageRequest) -> HttpResponse:
    """Queue it and show its job; what is wrong is said on the page of jobs."""
    scope = require_role(request, ROLE)
    told = request.POST
    workload = get_object_or_404(Workload.objects.for_tenant(scope), name=told.get("workload", ""))
    deployment = get_object_or_404(Deployment.objects.for_tenant(scope), name=told.get("deployment", ""))
    user: Any = request.user
    try:
        job = start_compression(
            workload=workload, deployment=deployment, user=user, version=told.get("version", "").strip(),
            width=_number(told.get("width", "auto")), least_share_of_teacher=_share(told.get("least_share", "96")),
        )  # fmt: skip
    except SwitchyardError as error:
        messages.error(request, error.message)
        return redirect("dashboards:jobs")
    return redirect("dashboards:job", job.pk)


def _number(word: str) -> int | str:
    return int(word) if word.isdigit() else word


def _share(percent: str) -> float:
    """A share from percent as typed. Raises InvalidRequest."""
    try:
        return float(percent.replace(",", ".")) / 100
    except ValueError:
        raise InvalidRequest(
            _("Of the teacher's accuracy a number of percent is to be kept, 96 for example.")
        ) from None
