"""Experiments: a workload, rows, ways of both sides, one click; figures side by side; the winner goes on to its gates."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from modelhub.models import Dataset, Experiment
from modelhub.services.experiment_actions import AGAIN, cancel_experiment, retry_experiment
from modelhub.services.experiments import advance, options_for, start_experiment, winner_of
from modelhub.services.gates import latest_report, unmet
from modelhub.services.records import take_rows, takes_records, target_of
from switchyard.core.errors import SwitchyardError, ValidationFailed
from switchyard.dashboards.pages import PageRequest, page, require_role, show
from switchyard.dashboards.selectors import workloads
from switchyard.jobs.models import FINAL, Job
from switchyard.tenancy.models import Workload

ENGINEERS = ("model_engineer",)
LISTED = 100
METHODS = {
    "as_is": gettext_lazy("as it stands"), "head": gettext_lazy("fine-tune its head"),
    "lora": gettext_lazy("fine-tune an adapter"), "expert": gettext_lazy("fine-tune a plug-in expert"),
    "compress": gettext_lazy("compress it"), "rows": gettext_lazy("fit it anew on the rows"),
    "vendor": gettext_lazy("the vendor's fine-tuning"), "prompt": gettext_lazy("by a prompt"),
}  # fmt: skip
CHOSEN = ("as_is", "head", "rows")  # ticked at first: what ends within minutes


def _refresh(*, experiment: Experiment, user: Any) -> Experiment:
    return advance(experiment)


ACTIONS: dict[str, Any] = {"cancel": cancel_experiment, "retry": retry_experiment}


@page
def experiments(request: PageRequest) -> HttpResponse:
    rows = (
        Experiment.objects.for_tenant(request.ask.scope)
        .select_related("workload__lob")
        .prefetch_related("arms")
    )
    if request.ask.lob:
        rows = rows.filter(workload__lob__slug=request.ask.lob)
    may = request.ask.scope.has_role(*ENGINEERS)
    return show(request, "modelhub/experiments.html", {"experiments": rows[:LISTED], "may": may})


@page
def new_experiment(request: PageRequest) -> HttpResponse:
    """The form; a workload that is chosen reloads it with the ways there are."""
    scope = require_role(request, *ENGINEERS)
    found = [
        w
        for w in workloads(request.ask)
        if scope.allows_lob(w.lob.slug) and w.task in ("classification", "prediction")
    ]
    name = request.POST.get("workload") or request.GET.get("workload")
    chosen = next((w for w in found if w.name == name), found[0] if found else None)
    context = _form(chosen, found, scope)
    if request.method != "POST" or chosen is None:
        return show(request, "modelhub/experiment_new.html", context)
    try:
        experiment = _start(request, chosen, scope)
    except SwitchyardError as error:
        located = error.errors[:20] if isinstance(error, ValidationFailed) else []
        typed = {"picked": request.POST.getlist("arms"), "named": request.POST.get("name", "")}
        told = {"fault": error.message, "errors": located} | typed
        status = 400 if located else error.status
        return show(request, "modelhub/experiment_new.html", context | told, status=status)
    return redirect("dashboards:experiment", experiment.pk)


def _form(chosen: Workload | None, found: list[Workload], scope: Any) -> dict[str, Any]:
    options = options_for(chosen) if chosen else []
    sides = {
        side: [(o, METHODS[o.method]) for o in options if o.side == side] for side in ("private", "external")
    }
    return {
        "workloads": found, "chosen": chosen, "sides": sides,
        "picked": [o.key for o in options if o.method in CHOSEN],
        "datasets": Dataset.objects.for_tenant(scope).filter(workload=chosen)[:50] if chosen else [],
        "takes_records": bool(chosen and takes_records(chosen)),
        "target": target_of(chosen) if chosen and takes_records(chosen) else "",
        "trainable": any(o.trains for o in options),
    }  # fmt: skip


def _start(request: Any, workload: Workload, scope: Any) -> Experiment:
    file, dataset = request.FILES.get("rows"), None
    if file is not None:
        dataset = take_rows(
            workload=workload, name=file.name or "rows.csv", pieces=file.chunks(), user=request.user
        )
    elif wanted := request.POST.get("dataset"):
        dataset = get_object_or_404(Dataset.objects.for_tenant(scope), pk=wanted)
    return start_experiment(
        workload=workload, user=request.user, arms=request.POST.getlist("arms"), dataset=dataset,
        name=request.POST.get("name", "").strip(),
    )  # fmt: skip


@page
def experiment(request: PageRequest, experiment_id: str) -> HttpResponse:
    """One experiment; asked by htmx, only the part that moves."""
    scope = request.ask.scope
    rows = Experiment.objects.for_tenant(scope).select_related("workload__lob", "dataset", "golden")
    row = get_object_or_404(rows, pk=experiment_id)
    arms = list(row.arms.select_related("deployment", "version"))
    jobs = {job.pk: job for job in Job.objects.filter(pk__in=[a.job_id for a in arms if a.job_id])}
    winner = winner_of(row)
    report = latest_report(winner.version) if winner and winner.version else None
    candidate = (
        winner.version
        if winner and winner.version and winner.version.stage in ("candidate", "canary")
        else None
    )
    context = {
        "x": row, "arms": [(arm, METHODS[arm.method], jobs.get(arm.job_id)) for arm in arms], "winner": winner,
        "pairs": [_pair(pair, {arm.place: arm for arm in arms}) for pair in row.result.get("pairs", [])],
        "measuring": Job.objects.filter(pk=row.job_id).first() if row.job_id else None,
        "report": report, "candidate": candidate, "against": unmet(candidate, report) if candidate else [],
        "gates_job": _gates_job(candidate), "live": row.state in ("training", "measuring"), "again": row.state in AGAIN,
        "may": scope.narrowed(*ENGINEERS).allows_lob(row.workload.lob.slug),
        "moves": winner is not None and winner.version is not None and winner.version.stage == "live",
        "other": next((arm.deployment.name for arm in arms if winner and arm.deployment != winner.deployment), ""),
    }  # fmt: skip
    if request.headers.get("HX-Request"):
        return render(request, "partials/experiment.html", context)
    return show(request, "modelhub/experiment.html", context)


def _gates_job(candidate: Any) -> Job | None:
    if candidate is None:
        return None
    rows = Job.objects.filter(kind="gates", params__version=candidate.pk).exclude(state__in=FINAL)
    return rows.filter(organisation_id=candidate.workload.organisation_id).first()


def _pair(pair: dict[str, Any], arms: dict[int, Any]) -> dict[str, Any]:
    if pair["low"] > 0:
        told = _("surely better")
    elif pair["high"] < 0:
        told = _("surely worse")
    else:
        told = _("can't be told apart on these rows")
    names = {
        side: f"{arms[pair[side]].deployment.name}, {METHODS[arms[pair[side]].method]}"
        for side in ("new", "old")
    }
    return pair | {"new_arm": names["new"], "old_arm": names["old"], "told": told}


@require_POST
@page
def experiment_action(request: PageRequest, experiment_id: str, action: str) -> HttpResponse:
    """cancel | retry | refresh."""
    scope = require_role(request, *ENGINEERS)
    row = get_object_or_404(
        Experiment.objects.for_tenant(scope).select_related("workload__lob"), pk=experiment_id
    )
    try:
        ACTIONS.get(action, _refresh)(experiment=row, user=request.user)
    except SwitchyardError as error:
        messages.error(request, error.message)
    return redirect("dashboards:experiment", row.pk)
