"""A deployment on a workload's held-back rows, over its real endpoint: metric, right answers, speed, device."""

from __future__ import annotations

from typing import Any

import numpy as np

from modelhub.ml import datasets as text_sets
from modelhub.ml.fairness.intervals import wilson
from modelhub.ml.tabular import data as tabular_sets
from modelhub.models import Deployment, Evaluation, ModelVersion
from modelhub.recipes.endpoints import BATCH, Answers, Endpoint
from modelhub.recipes.measures import Measured, measure
from switchyard.core.conf import conf
from switchyard.core.errors import InvalidRequest
from switchyard.jobs.runner import Context
from switchyard.tenancy.models import Workload

TIMED_ROWS = 40
ENOUGH_ROWS = 150  # under it an interval is wider than anybody decides by


def validation_rows(workload: Workload) -> tuple[list[Any], list[Any]]:
    """(inputs, truth) of the shipped validation split. Raises InvalidRequest where there is none."""
    if workload.name in text_sets.TEXT_SETS:
        rows = text_sets.load(workload.name, "val")
        return list(rows.texts), list(rows.labels)
    if workload.name in tabular_sets.WORKLOADS:
        return tabular_sets.load(workload.name, "val")
    raise InvalidRequest(
        f"There are no held-back rows for {workload.name}: upload some, or name another workload."
    )


def run(context: Context) -> dict[str, Any]:
    """params: {"workload", "deployment", "version"?, "limit"?}."""
    workload = Workload.objects.get(name=context.params["workload"], organisation=context.job.organisation)
    deployment = Deployment.objects.get(
        name=context.params["deployment"], organisation=context.job.organisation
    )
    version = _version(context, workload, deployment)
    inputs, truth = validation_rows(workload)
    limit = int(context.params.get("limit") or len(inputs))
    inputs, truth = inputs[:limit], truth[:limit]
    endpoint = Endpoint(deployment, workload, version)
    context.device(endpoint.providers() or "as the vendor runs it")
    answers = _ask(context, endpoint, inputs)
    measured = measure(workload.name, workload.task, answers.items, truth)
    return _keep(context, workload, deployment, version, measured, answers)


def _version(context: Context, workload: Workload, deployment: Deployment) -> ModelVersion | None:
    rows = ModelVersion.objects.filter(workload=workload, deployment=deployment)
    wanted = context.params.get("version")
    return rows.filter(version=wanted).first() if wanted else rows.filter(stage="live").first()


def _ask(context: Context, endpoint: Endpoint, inputs: list[Any]) -> Answers:
    answers = Answers()
    for start in range(0, len(inputs), BATCH * 4):
        context.check()
        endpoint.ask(inputs[start : start + BATCH * 4], answers)
        context.progress(
            0.9 * min(1.0, (start + BATCH * 4) / len(inputs)), f"{len(answers.items)} of {len(inputs)} rows"
        )
    endpoint.ask(inputs[:TIMED_ROWS], answers, batch=1)
    context.accelerator_ns += answers.accelerator_ns
    return answers


def _keep(
    context: Context,
    workload: Workload,
    deployment: Deployment,
    version: ModelVersion | None,
    measured: Measured,
    answers: Answers,
) -> dict[str, Any]:
    n, right = len(measured.right), int(measured.right.sum())
    rate = wilson(right, n)
    verdict = "pass" if n >= max(ENOUGH_ROWS, conf("MIN_EVALUATED_ROWS")) else "not_enough_data"
    p50 = float(np.median(answers.single_ms)) if answers.single_ms else None
    context.job.refresh_from_db(fields=["device"])
    row = Evaluation.objects.create(
        workload=workload, deployment=deployment, version=version.version if version else "", job_id=context.job.pk,
        metric=measured.metric, value=measured.value, low=measured.low, high=measured.high, n=n, correct=right,
        correct_low=rate.low, correct_high=rate.high, p50_ms=p50, verdict=verdict, detail=measured.detail,
        device=context.job.device,
    )  # fmt: skip
    return {
        "evaluation": row.pk, "metric": measured.metric, "value": measured.value, "low": measured.low, "high": measured.high,
        "n": n, "correct": right, "p50_ms": p50, "verdict": verdict, "detail": measured.detail,
    }  # fmt: skip
