"""A deployment on a workload's held-back rows, over its real endpoint: metric, right answers, speed, device.

read rows → ask → measure → keep
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from modelhub.ml.answer_sheets import Sheet, digest_of
from modelhub.ml.fairness.intervals import wilson
from modelhub.models import Dataset, Deployment, Evaluation, GoldenSet, ModelVersion
from modelhub.recipes import measures
from modelhub.recipes.asking import ask_all, time_singles
from modelhub.recipes.endpoints import Call, Source
from modelhub.recipes.local import open_source
from modelhub.recipes.measures import Measured
from modelhub.sandbox import humaneval
from modelhub.services.golden import SHIPPED, golden_rows
from modelhub.services.validation import CODE_METRICS, ValidationRows, validation_rows
from switchyard.core.conf import conf
from switchyard.core.errors import InvalidRequest, NotFound
from switchyard.jobs.runner import Context
from switchyard.tenancy.models import Workload

SHIPPED_PLAIN = ("txt-edge", "txt-base", "tabular-base")  # their manifests hold the plain models' figures


def run(context: Context) -> dict[str, Any]:
    """params: {"workload", "deployment", "version"?, "dataset"?, "limit"?}. Writes an Evaluation."""
    workload, deployment, version = _named(context)
    rows = _rows(context, workload)
    source = open_source(deployment, workload, version)
    calls: list[Call] = []
    if workload.metric in CODE_METRICS:
        measured, p50 = _code(context, source, rows, workload.metric, calls)
    else:
        answers = ask_all(context, source, rows.inputs, until=0.85)
        calls += answers.calls
        p50 = time_singles(context, source, rows.inputs)
        measured = measures.measure(workload.name, workload.task, answers.items, rows.truth, rows.inputs)
        if workload.task == "classification":
            measured.detail["answers"] = sheet_of(answers.items, measured, rows.inputs)
    measured.detail["usage"] = used_by(calls, rows.inputs)
    # asked afterwards: a server that loads models when they are used can't say before what they run on
    context.device(source.device())
    return _keep(context, workload, deployment, version, measured, p50, rows.source)


def _named(context: Context) -> tuple[Workload, Deployment, ModelVersion | None]:
    """Raises NotFound when something that the job names was removed meanwhile."""
    organisation, params = context.job.organisation, context.params
    workload = Workload.objects.filter(name=params["workload"], organisation=organisation).first()
    deployment = Deployment.objects.filter(name=params["deployment"], organisation=organisation).first()
    if workload is None or deployment is None:
        raise NotFound(f"{params['workload']} or {params['deployment']} is gone.")
    versions = ModelVersion.objects.filter(workload=workload, deployment=deployment)
    wanted = params.get("version")
    version = versions.filter(version=wanted).first() if wanted else versions.filter(stage="live").first()
    if wanted and version is None:
        raise NotFound(f"{deployment.name} has no version {wanted!r} of {workload.name}.")
    return workload, deployment, version


def _rows(context: Context, workload: Workload) -> ValidationRows:
    dataset = None
    if wanted := context.params.get("dataset"):
        dataset = Dataset.objects.filter(pk=wanted, lob=workload.lob).first()
        if dataset is None:
            raise NotFound(f"There is no data set {wanted}.")
    golden = GoldenSet.objects.filter(workload=workload, active=True).exclude(source=SHIPPED).first()
    if (
        dataset is None and golden is not None
    ):  # a line of business that made a golden set of its own is judged by it
        rows = golden_rows(golden).first(context.params.get("limit"))
    else:
        rows = validation_rows(workload, dataset).first(context.params.get("limit"))
    if not rows.inputs:
        raise InvalidRequest(f"There are no rows to evaluate {workload.name} on.")
    return rows


def sheet_of(items: Sequence[Any], measured: Measured, inputs: Sequence[Any]) -> dict[str, Any]:
    """Which rows were answered right and how sure, without the rows: what cascades choose their thresholds by."""
    sure = [max((float(s["score"]) for s in item.get("scores") or ()), default=0.0) for item in items]
    held = np.array([bool(item.get("blocked")) for item in items])
    return Sheet(measured.right, np.array(sure), digest_of([text_of(row) for row in inputs]), held).pack()


def used_by(calls: Sequence[Call], inputs: Sequence[Any]) -> dict[str, int]:
    """What the rows took, summed: what a policy that sends such work here would pay for. `size` counts as requests do."""
    return {
        "rows": len(inputs),
        "size": sum(len(text_of(item).encode()) // 4 for item in inputs),
        "tokens_in": sum(call.tokens_in for call in calls),
        "tokens_out": sum(call.tokens_out for call in calls),
    }


def text_of(item: Any) -> str:
    return item if isinstance(item, str) else json.dumps(item, ensure_ascii=False, default=str)


def _code(
    context: Context, source: Source, rows: ValidationRows, metric: str, calls: list[Call]
) -> tuple[Measured, float | None]:
    """Ask for one function a problem, run it in the sandbox against its test."""
    times: list[float] = []

    def complete(prompt: str) -> str:
        answers = ask_all(context, source, [prompt])
        times.extend(answers.single_ms)
        calls.extend(answers.calls)
        return answers.items[0]

    def report(done: int, total: int, message: str) -> None:
        context.progress(0.95 * done / total, f"{done} of {total} problems: {message}")

    result = humaneval.measure(complete, rows.inputs, report=report)
    passed = np.array([outcome == "passed" for outcome in result.outcomes.values()])
    return measures.code(passed, result.outcomes, metric), float(np.median(times)) if times else None


def _keep(
    context: Context,
    workload: Workload,
    deployment: Deployment,
    version: ModelVersion | None,
    measured: Measured,
    p50_ms: float | None,
    source: str,
) -> dict[str, Any]:
    n, right = len(measured.right), int(measured.right.sum())
    rate = wilson(right, n)
    plain = measures.plain_model(workload.name, (deployment.model, *SHIPPED_PLAIN), n)
    if source != "validation":
        plain = None  # it was measured on other rows
    verdict = measures.verdict(measured, n, plain, conf("MIN_EVALUATED_ROWS"))
    detail = measured.detail | ({"beside": plain} if plain else {})
    row = Evaluation.objects.create(
        workload=workload, deployment=deployment, version=version.version if version else "",
        job_id=context.job.pk, split=source[:20], metric=measured.metric, value=measured.value, low=measured.low,
        high=measured.high, n=n, correct=right, correct_low=rate.low, correct_high=rate.high, p50_ms=p50_ms,
        verdict=verdict, detail=detail, device=context.job.device,
    )  # fmt: skip
    return {
        "evaluation": row.pk, "metric": measured.metric, "value": measured.value, "low": measured.low,
        "high": measured.high, "n": n, "correct": right, "p50_ms": p50_ms, "verdict": verdict,
        "detail": {name: told for name, told in detail.items() if name != "answers"},
    }  # fmt: skip
