"""Models: where each workload is answered from, which version is live, what was measured of it."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse

from modelhub import artifacts
from modelhub.models import BiasAudit, Deployment, Evaluation, ModelVersion
from modelhub.services import promotion
from switchyard.dashboards.pages import PageRequest, page, show
from switchyard.dashboards.selectors import latest_evaluations, workloads
from switchyard.dashboards.views.imports import imports_for
from switchyard.dashboards.views.launch import launchable

ENGINEERS = ("model_engineer",)
STAGES = {"live": 0, "canary": 1, "candidate": 2, "retired": 3}


@page
def models(request: PageRequest) -> HttpResponse:
    scope = request.ask.scope
    deployments = Deployment.objects.for_tenant(scope).select_related("node").prefetch_related("lobs")
    versions = ModelVersion.objects.for_tenant(scope).select_related("deployment", "workload__lob")
    if request.ask.lob:
        versions = versions.filter(workload__lob__slug=request.ask.lob)
    rows = sorted(versions, key=lambda v: (v.workload.name, v.deployment.side != "private", STAGES[v.stage]))
    evaluations = {(e.workload_id, e.deployment_id, e.version): e for e in latest_evaluations(request.ask)}
    shown = list(deployments)
    return show(
        request,
        "modelhub/models.html",
        {
            "deployments": shown,
            "launchable": {row.pk for row in shown if launchable(row)},
            "cards": _cards(_held(shown, rows), {w.name for w in workloads(request.ask)}),
            "waiting": imports_for(scope),
            "may_promote": scope.has_role(*ENGINEERS),
            "versions": [
                (
                    v,
                    _measured(v, evaluations.get((v.workload_id, v.deployment_id, v.version))),
                    promotion.gate(v) if v.stage in ("candidate", "canary") else "",
                )
                for v in rows
            ],
            "audits": BiasAudit.objects.for_tenant(scope).select_related("workload")[:20],
        },
    )


def _held(deployments: list[Deployment], versions: list[ModelVersion]) -> set[str]:
    """Models of the deployments, and those of versions that answer beside them: a candidate may be another model."""
    return {d.model for d in deployments} | {v.upstream_model.partition("/")[0] for v in versions}


def _measured(version: ModelVersion, found: Evaluation | None) -> dict[str, Any]:
    """The latest evaluation; before there is one, what its training measured."""
    names = ("metric", "value", "low", "high", "n", "verdict")
    if found is not None:
        return {name: getattr(found, name) for name in names}
    stated = version.metrics.get("after") or version.metrics
    return {name: stated.get(name) for name in names} | {"verdict": stated.get("verdict", "")}


def _cards(model_ids: set[str], mine: set[str]) -> list[dict[str, Any]]:
    """What the manifests of locally held models say of the reader's workloads; a model that lives elsewhere has none."""
    cards = []
    for model_id in sorted(model_ids):
        try:
            manifest = artifacts.load_manifest(artifacts.find(model_id))
        except (artifacts.ArtifactMissing, artifacts.ArtifactCorrupt):
            continue
        files = manifest["files"].values()
        manifest["size_mib"] = sum(entry.get("bytes", 0) for entry in files) / 2**20
        metrics = {
            k: v
            for k, v in manifest.get("metrics", {}).items()
            if k in mine and isinstance(v, dict) and "metric" in v
        }
        for measured in metrics.values():
            beside = measured.get("tfidf") or measured.get("control") or {}
            measured["beside"] = beside.get("value")
        cards.append(manifest | {"measured": metrics})
    return cards
