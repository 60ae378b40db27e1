"""One version: its gates, its share of the traffic, where it comes from, and what can be done with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from modelhub.models import Canary, ModelVersion
from modelhub.selectors.lineage import lineage_of
from modelhub.services import promotion
from modelhub.services.bundles import export_bundle, fingerprint
from modelhub.services.canary import lacking, start_canary, stop_canary, tests_of
from modelhub.services.gates import latest_report, replaced_by, rule_of, unmet
from modelhub.services.gating import start_gates
from modelhub.services.retirement import retire_version
from switchyard.core.errors import SwitchyardError
from switchyard.dashboards.pages import PageRequest, page, require_role, show
from switchyard.jobs.models import FINAL, Job

ENGINEERS = ("model_engineer",)
DECIDERS = ("model_engineer", "risk")  # risk officers go on against a gate that failed, with a reason
KINDS = {
    "dataset": gettext_lazy("Data set"), "base": gettext_lazy("Base"), "teacher": gettext_lazy("Teacher"),
    "job": gettext_lazy("Job"), "version": gettext_lazy("Version"), "gates": gettext_lazy("Gates"),
    "canary": gettext_lazy("Canary"), "event": gettext_lazy("Decision"), "deployment": gettext_lazy("Deployment"),
}  # fmt: skip
TESTS = {
    "errors": gettext_lazy("Failed calls"), "latency": gettext_lazy("Slow calls"),
    "accuracy": gettext_lazy("Wrong answers, by feedback"),
}  # fmt: skip


@page
def version(request: PageRequest, version_id: int) -> HttpResponse:
    """Asked by htmx, only the canary, which moves."""
    scope = request.ask.scope
    rows = ModelVersion.objects.for_tenant(scope).select_related("deployment__node", "workload__lob")
    row = get_object_or_404(rows, pk=version_id)
    canary = Canary.objects.filter(version=row).select_related("version", "baseline").first()
    trial = {"canary": canary, "tests": _tests(canary), "lacking": _lacking(canary), "v": row}
    may = scope.narrowed(*ENGINEERS).allows_lob(row.workload.lob.slug)
    if request.headers.get("HX-Request"):
        return render(request, "partials/canary.html", trial | {"may": may})
    report = latest_report(row)
    running = Job.objects.filter(
        kind="gates", organisation_id=row.workload.organisation_id, params__version=row.pk
    )
    context = {
        "report": report, "against": unmet(row, report) if row.stage in ("candidate", "canary") else [],
        "gate": promotion.gate(row), "rule": rule_of(row.workload.lob), "before": replaced_by(row),
        "earlier": promotion.before_it(row) if row.stage == "live" else None,
        "gates_job": running.exclude(state__in=FINAL).first(),
        "steps": [(KINDS[step.kind], step) for step in lineage_of(row, scope)],
        "may": may,
        "may_decide": scope.narrowed(*DECIDERS).allows_lob(row.workload.lob.slug),
    }  # fmt: skip
    return show(request, "modelhub/version.html", context | trial)


def _tests(canary: Canary | None) -> list[tuple[Any, Any, float, float]]:
    """(what, test, the new one's rate, the old one's)."""
    if canary is None:
        return []
    found = []
    for name, test in tests_of(canary).items():
        new, old = test.n_new + test.waiting[0], test.n_old + test.waiting[2]
        bad, worse = test.bad_new + test.waiting[1], test.bad_old + test.waiting[3]
        found.append((TESTS[name], test, bad / new if new else None, worse / old if old else None, new, old))
    return found


def _lacking(canary: Canary | None) -> list[str]:
    return lacking(canary) if canary is not None and canary.state == "running" else []


@page
def bundle(request: PageRequest, version_id: int) -> HttpResponse:
    """The version as one signed file."""
    scope = require_role(request, *ENGINEERS)
    row = get_object_or_404(
        ModelVersion.objects.for_tenant(scope).select_related("deployment__node", "workload__lob"),
        pk=version_id,
    )
    try:
        content = export_bundle(version=row, user=request.user, scope=scope)  # type: ignore[arg-type]
    except SwitchyardError as error:
        messages.error(request, error.message)
        return redirect("dashboards:version", row.pk)
    answer = HttpResponse(content, content_type="application/zip")
    answer["Content-Disposition"] = f'attachment; filename="{row.workload.name}-{row.version}.zip"'
    answer["x-bundle-key"] = fingerprint()
    return answer


@require_POST
@page
def version_action(request: PageRequest, version_id: int, action: str) -> HttpResponse:
    """gates | canary | stop | promote | reject | rollback | retire. A gate that fails asks for a reason."""
    if action not in ACTIONS:
        raise Http404
    scope = require_role(request, *(DECIDERS if action in ("promote", "canary") else ENGINEERS))
    rows = ModelVersion.objects.for_tenant(scope).select_related(
        "deployment", "workload__lob", "workload__organisation"
    )
    row = get_object_or_404(rows, pk=version_id)
    reason = request.POST.get("reason", "").strip()[: promotion.REASON_MAX]
    try:
        text = ACTIONS[action](request, row, reason)
    except SwitchyardError as error:
        messages.error(request, error.message)
    else:
        messages.success(request, text)
    back = request.POST.get("back", "")
    if back.startswith(("/jobs/", "/experiments/")):
        return redirect(back)
    return redirect("dashboards:models") if back == "models" else redirect("dashboards:version", row.pk)


def _name(row: ModelVersion) -> dict[str, str]:
    return {"version": f"{row.workload.name}@{row.version}"}


def _gates(request: Any, row: ModelVersion, reason: str) -> str:
    job = start_gates(version=row, user=request.user)
    return _("The gates of %(version)s run as job %(job)s.") % {**_name(row), "job": job.pk}


def _canary(request: Any, row: ModelVersion, reason: str) -> str:
    wanted = request.POST.get("percent", "")
    canary = start_canary(
        version=row, user=request.user, percent=int(wanted) if wanted.isdigit() else None, reason=reason,
        automatic=request.POST.get("automatic") == "on",
    )  # fmt: skip
    words = _("%(version)s answers %(percent)d %% of the traffic from the next request on.")
    return words % {**_name(row), "percent": canary.percent}


def _stop(request: Any, row: ModelVersion, reason: str) -> str:
    canary = get_object_or_404(Canary, version=row, state="running")
    stop_canary(canary=canary, user=request.user, reason=reason)
    return _("All of the traffic is back at the live version.")


def _promote(request: Any, row: ModelVersion, reason: str) -> str:
    promotion.promote(version=row, user=request.user, force_reason=reason)
    return _("%(version)s is live: the next request is answered by it.") % _name(row)


def _reject(request: Any, row: ModelVersion, reason: str) -> str:
    promotion.reject(version=row, user=request.user, reason=reason)
    return _("%(version)s will not go live.") % _name(row)


def _rollback(request: Any, row: ModelVersion, reason: str) -> str:
    earlier = promotion.rollback(version=row, user=request.user, reason=reason)
    return _("%(version)s is live: the next request is answered by it.") % _name(earlier)


def _retire(request: Any, row: ModelVersion, reason: str) -> str:
    retire_version(version=row, user=request.user, reason=reason)
    return _("%(version)s is retired.") % _name(row)


ACTIONS: dict[str, Callable[[Any, ModelVersion, str], str]] = {
    "gates": _gates, "canary": _canary, "stop": _stop, "promote": _promote, "reject": _reject, "rollback": _rollback,
    "retire": _retire,
}  # fmt: skip
