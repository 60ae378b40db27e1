"""Jobs: what runs, how far it is, what came out; starting a fine-tune, an evaluation, a bias audit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from costs import charts
from modelhub.models import Dataset, Deployment, ModelVersion
from modelhub.selectors.job_estimates import estimates
from modelhub.selectors.tuned import lead_time
from modelhub.services import jobs as start
from modelhub.services.datasets import upload
from modelhub.services.promotion import gate
from switchyard.core.errors import SwitchyardError, ValidationFailed
from switchyard.dashboards.pages import Column, PageRequest, Panel, csv_of, page, require_role, show
from switchyard.dashboards.selectors import workloads
from switchyard.jobs import services
from switchyard.jobs.models import FINAL, Job
from switchyard.tenancy.models import Workload

ROLES = {
    "fine_tune": ("model_engineer",),
    "evaluation": ("model_engineer",),
    "bias_audit": ("risk", "model_engineer"),
}
RUNNERS = ("model_engineer", "risk", "operator")
ACTIONS: dict[str, Callable[..., Job]] = {
    "cancel": services.cancel, "pause": services.pause, "resume": services.resume, "retry": services.retry,
}  # fmt: skip
LISTED, DATASETS = 100, 30
STEPS = {
    "uploaded": gettext_lazy("Rows uploaded"), "submitted": gettext_lazy("Job submitted"),
    "started": gettext_lazy("Training started"), "trained": gettext_lazy("Trained"), "judged": gettext_lazy("Judged"),
    "canary": gettext_lazy("Canary"),
}  # fmt: skip


@page
def jobs(request: PageRequest) -> HttpResponse:
    """The list; asked by htmx, only its rows (every two seconds while something lives)."""
    rows = Job.objects.for_tenant(request.ask.scope).select_related("lob", "created_by")
    if request.ask.lob:
        rows = rows.filter(lob__slug=request.ask.lob)
    found = list(rows[:LISTED])
    context = {"jobs": found, "moving": any(j.state not in FINAL for j in found)}
    if request.headers.get("HX-Request"):
        return render(request, "partials/jobs.html", context)
    return show(request, "modelhub/jobs.html", context | _forms(request))


def _forms(request: PageRequest, **extra: Any) -> dict[str, Any]:
    found = workloads(request.ask)
    deployments = list(Deployment.objects.for_tenant(request.ask.scope))
    return {
        "workloads": found, "text_workloads": [w for w in found if w.task == "classification"], "deployments": deployments,
        "trainable": [d for d in deployments if d.side == "private" and d.heads and "classification" in d.tasks],
        "classifiers": [d for d in deployments if "classification" in d.tasks],
        "datasets": _datasets(request), "estimates": estimates(request.ask.scope),
        "may": {kind: request.ask.scope.has_role(*roles) for kind, roles in ROLES.items()},
    } | extra  # fmt: skip


def _datasets(request: PageRequest) -> list[Dataset]:
    rows = Dataset.objects.for_tenant(request.ask.scope).select_related("lob", "workload")
    return list((rows.filter(lob__slug=request.ask.lob) if request.ask.lob else rows)[:DATASETS])


@page
def job(request: PageRequest, job_id: str) -> HttpResponse:
    """One job; asked by htmx, only the part that moves."""
    row = get_object_or_404(
        Job.objects.for_tenant(request.ask.scope).select_related("lob", "created_by"), pk=job_id
    )
    events = list(row.events.all())
    curve = _curve(events)
    if "csv" in request.GET:
        if curve is None or request.GET["csv"] != curve.name:
            raise Http404
        return csv_of(curve)
    candidate = ModelVersion.objects.for_tenant(request.ask.scope).filter(pk=row.result.get("candidate") or 0)
    version = candidate.select_related("workload", "deployment").first()
    context = {
        "job": row, "events": events[-200:], "final": row.state in FINAL, "curve": curve, "version": version,
        "gate": gate(version) if version else "", "may_act": request.ask.scope.has_role(*RUNNERS),
        "may_promote": request.ask.scope.has_role("model_engineer"), "last_event": events[-1].pk if events else 0,
        "lead": _lead(row, version) if row.kind == "fine_tune" else None,
    }  # fmt: skip
    template = "partials/job.html" if request.headers.get("HX-Request") else "modelhub/job.html"
    return (
        render(request, template, context)
        if request.headers.get("HX-Request")
        else show(request, template, context)
    )


def _lead(row: Job, version: ModelVersion | None) -> dict[str, Any]:
    told = lead_time(row, version)
    return told | {"steps": [step | {"title": STEPS[step["step"]]} for step in told["steps"]]}


def _curve(events: list[Any]) -> Panel | None:
    points = [
        {
            "step": e.data.get("epoch", e.data.get("step")),
            "loss": e.data.get("loss"),
            "accuracy": e.data.get("accuracy"),
        }
        for e in events
        if e.data.get("loss") is not None
    ]
    if len(points) < 2:
        return None
    rows = [[p["step"], p["loss"], p["accuracy"]] for p in points]
    columns = [Column(_("Step"), "count"), Column(_("Loss"), "number"), Column(_("Share right"), "rate")]
    return Panel("learning-curve", _("Learning curve"), columns, rows, charts.learning_curve(points))


@require_POST
@page
def start_job(request: PageRequest, kind: str) -> HttpResponse:
    """Start one from its form; what is wrong comes back above the forms with the line it is in."""
    if kind not in ROLES:
        raise Http404
    scope = require_role(request, *ROLES[kind])
    workload = get_object_or_404(Workload.objects.for_tenant(scope), name=request.POST.get("workload", ""))
    try:
        row = _start(request, kind, workload)
    except ValidationFailed as error:
        found = Job.objects.for_tenant(request.ask.scope).select_related("lob", "created_by")[:LISTED]
        context = _forms(request, jobs=found, moving=False, fault=error.message, errors=error.errors[:20])
        return show(request, "modelhub/jobs.html", context, status=400)
    except SwitchyardError as error:
        messages.error(request, error.message)
        return redirect("dashboards:jobs")
    return redirect("dashboards:job", row.pk)


def _start(request: PageRequest, kind: str, workload: Workload) -> Job:
    user: Any = request.user
    if kind == "fine_tune":
        file = request.FILES.get("rows")
        if file is None:
            raise ValidationFailed(_("Choose a file of rows: JSON lines or CSV with `text` and `label`."))
        dataset = upload(workload=workload, name=file.name or "rows.jsonl", content=file.chunks(), user=user)
        return start.start_fine_tune(
            dataset=dataset, deployment=_deployment(request, "deployment"), user=user,
            epochs=request.POST.get("epochs") or "auto", method=request.POST.get("method") or "lora",
        )  # fmt: skip
    if kind == "evaluation":
        deployment = _deployment(request, "deployment")
        return start.start_evaluation(workload=workload, deployment=deployment, user=user)
    teacher, student = _deployment(request, "teacher"), _deployment(request, "student")
    return start.start_audit(workload=workload, user=user, teacher=teacher.name, student=student.name)


def _deployment(request: PageRequest, field: str) -> Deployment:
    return get_object_or_404(
        Deployment.objects.for_tenant(request.ask.scope), name=request.POST.get(field, "")
    )


@require_POST
@page
def job_action(request: PageRequest, job_id: str, action: str) -> HttpResponse:
    scope = require_role(request, *RUNNERS)
    row = get_object_or_404(Job.objects.for_tenant(scope), pk=job_id)
    if action not in ACTIONS:
        raise Http404
    try:
        ACTIONS[action](job=row, user=request.user)
    except SwitchyardError as error:
        messages.error(request, error.message)
    return redirect("dashboards:job", row.pk)
