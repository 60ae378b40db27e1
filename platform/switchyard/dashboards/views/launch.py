"""How a language-model server is started for a deployment: the command, a compose service, Helm values."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpResponse
from django.utils.translation import gettext as _

from modelhub.models import Deployment, ModelVersion
from modelhub.services.launching import ENGINES, Hardware, launch_spec
from switchyard.core.errors import InvalidRequest
from switchyard.dashboards.pages import PageRequest, page, show

LANGUAGE_TASKS = frozenset({"chat", "completion", "embedding"})
MOST_DEVICES = 1024


def launchable(deployment: Deployment) -> bool:
    """Whether vLLM or SGLang could serve it."""
    return deployment.side == "private" and bool(LANGUAGE_TASKS & set(deployment.tasks))


@page
def launch(request: PageRequest, name: str) -> HttpResponse:
    scope = request.ask.scope
    deployment = Deployment.objects.for_tenant(scope).filter(name=name).first()
    if deployment is None or not launchable(deployment):
        raise Http404
    engine = request.GET.get("engine", ENGINES[0])
    engine = engine if engine in ENGINES else ENGINES[0]
    devices, fault = _devices(request.GET.get("devices", "1"))
    spec: Any = None
    if not fault:
        versions = ModelVersion.objects.for_tenant(scope).filter(deployment=deployment)
        try:
            spec = launch_spec(deployment, engine, Hardware(tensor_parallel=devices), versions=versions)
        except InvalidRequest:
            fault = _("This deployment can't be launched by %(engine)s with these settings.") % {
                "engine": engine
            }
    context = {
        "deployment": deployment, "engine": engine, "engines": ENGINES, "devices": devices, "fault": fault, "spec": spec,
    }  # fmt: skip
    return show(request, "modelhub/launch.html", context)


def _devices(text: str) -> tuple[int, str]:
    """How many devices, and what is wrong with what was asked for."""
    if text.isdecimal() and 1 <= int(text) <= MOST_DEVICES:
        return int(text), ""
    return 1, _("Devices are a whole number from 1 to %(most)s.") % {"most": f"{MOST_DEVICES:,}"}
