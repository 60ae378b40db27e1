"""Which model version answers each workload on each deployment, and what was measured of it when it was trained."""

from __future__ import annotations

from typing import Any

from modelhub import artifacts
from modelhub.models import Deployment, Evaluation, ModelVersion
from switchyard.core.clock import now
from switchyard.demo import company
from switchyard.tenancy.models import Organisation, Workload

LM_WORKLOADS = ("code-assist",)
VERDICTS = {"pass", "fail", "not_enough_data"}


def create(organisation: Organisation) -> None:
    """Live versions and their validation figures, as each artifact's manifest states them."""
    deployments = {d.name: d for d in Deployment.objects.filter(organisation=organisation)}
    workloads = {w.name: w for w in Workload.objects.filter(organisation=organisation)}
    for plan in company.DEPLOYMENTS:
        directory = artifacts.find(plan.model)
        manifest = artifacts.load_manifest(directory)
        for name in plan.heads or LM_WORKLOADS:
            if plan.heads and name not in manifest["heads"]:
                continue
            metrics = manifest.get("metrics", {}).get(name, {})
            version = str(manifest.get("version", "1"))
            ModelVersion.objects.create(
                deployment=deployments[plan.name], workload=workloads[name], version=version, stage="live",
                upstream_model=f"{plan.model}/{name}" if plan.heads else plan.model,
                artifact=f"artifacts/{plan.model}", digest=artifacts.digest(directory / artifacts.MANIFEST),
                lineage={"train": manifest.get("train", {}), "data_set": workloads[name].data_set},
                metrics=metrics, promoted_at=now(),
            )  # fmt: skip
            if metrics.get("n"):
                _create_evaluation(deployments[plan.name], workloads[name], version, metrics)
    for deployment, model, name in company.CANDIDATES:
        _create_candidate(deployments[deployment], model, workloads[name])


def _create_candidate(deployment: Deployment, model: str, workload: Workload) -> None:
    """A version beside the live one: its figures stand on its page, and gates and a canary come before any traffic."""
    directory = artifacts.find(model)
    manifest = artifacts.load_manifest(directory)
    ModelVersion.objects.create(
        deployment=deployment, workload=workload, version=f"{model}-{manifest['version']}", stage="candidate",
        upstream_model=f"{model}/{workload.name}", artifact=f"artifacts/{model}",
        digest=artifacts.digest(directory / artifacts.MANIFEST), metrics=manifest["metrics"][workload.name],
        lineage={"train": manifest["train"], "data_set": workload.data_set},
    )  # fmt: skip


def _create_evaluation(
    deployment: Deployment, workload: Workload, version: str, metrics: dict[str, Any]
) -> None:
    """`correct` is a rate where the metric is another one (PR-AUC, RMSE); else the metric is the rate itself."""
    rate = metrics.get("correct") or {k: metrics.get(k) for k in ("value", "low", "high", "n")}
    n = int(rate.get("n") or metrics["n"])
    verdict = metrics.get("verdict", "pass")
    Evaluation.objects.create(
        workload=workload, deployment=deployment, version=version, metric=metrics["metric"],
        value=metrics.get("value"), low=metrics.get("low"), high=metrics.get("high"), n=n,
        correct=round((rate.get("value") or 0.0) * n), correct_low=rate.get("low"),
        correct_high=rate.get("high"), verdict=verdict if verdict in VERDICTS else "pass", detail=metrics,
        device="as trained",
    )  # fmt: skip
