"""Student against teacher: who lost by compression, and whose answers change with a word for a group.

ask both on the same rows → compare by group → ask both with the groups exchanged → verdict
"""

from __future__ import annotations

from typing import Any

import numpy as np

from modelhub import artifacts
from modelhub.models import BiasAudit, Deployment, ModelVersion
from modelhub.recipes import bias_groups, bias_swaps
from modelhub.recipes.asking import ask_all
from modelhub.recipes.endpoints import Source
from modelhub.recipes.local import open_source
from modelhub.services.validation import validation_rows
from modelhub.serving.runners.risk import RiskModel
from switchyard.core.errors import InvalidRequest, NotFound
from switchyard.jobs.runner import Context
from switchyard.tenancy.models import Workload


def run(context: Context) -> dict[str, Any]:
    """params: {"workload", "teacher", "student", "limit"?}, the last two names of deployments. Writes a BiasAudit."""
    workload = Workload.objects.filter(
        name=context.params["workload"], organisation=context.job.organisation
    ).first()
    if workload is None or workload.task != "classification":
        raise InvalidRequest("This audit compares classifiers; name a classification workload.")
    names = (context.params["teacher"], context.params["student"])
    found = [_open(context, name, workload) for name in names]
    teacher, student = (source for source, _ in found)
    rows = validation_rows(workload).first(context.params.get("limit"))
    report = {"models": {role: facts for role, (_, facts) in zip(("teacher", "student"), found, strict=True)}}
    report |= bias_groups.compare(
        rows.inputs, np.array(rows.truth),
        _labels(context, teacher, rows.inputs, 0.0, 0.35), _labels(context, student, rows.inputs, 0.35, 0.6),
    )  # fmt: skip
    report["counterfactual"] = _swapped(context, teacher, student, rows.inputs)
    # asked afterwards: a server that loads models when they are used can't say before what they run on
    context.device(f"{teacher.device()}; {student.device()}")
    return _keep(context, workload, names, report)


def _open(context: Context, name: str, workload: Workload) -> tuple[Source, dict[str, str]]:
    """A side of the comparison, and what it is: deployment, model, version, digest. Raises NotFound."""
    deployment = Deployment.objects.filter(organisation=context.job.organisation, name=name).first()
    if deployment is None:
        raise NotFound(f"There is no deployment {name!r}.")
    live = ModelVersion.objects.filter(deployment=deployment, workload=workload, stage="live").first()
    facts = {"deployment": name, "model": live.upstream_model if live else deployment.model}
    facts |= {"version": live.version, "digest": live.digest} if live else {}
    return open_source(deployment, workload, live), facts


def _labels(context: Context, source: Source, texts: list[str], since: float, until: float) -> np.ndarray:
    answers = ask_all(context, source, texts, since=since, until=until)
    return np.array([item["label"] for item in answers.items])


def _swapped(context: Context, teacher: Source, student: Source, texts: list[str]) -> dict[str, Any]:
    probe = bias_swaps.make_probe(texts, RiskModel(artifacts.find("risk-guard")).identity_swaps)
    first = ask_all(context, teacher, probe.everything, since=0.6, until=0.8)
    second = ask_all(context, student, probe.everything, since=0.8, until=0.95)
    return bias_swaps.report(probe, bias_swaps.read(probe, first.items), bias_swaps.read(probe, second.items))


def overall(report: dict[str, Any]) -> str:
    """Fail when anything failed; pass when all that was judged passed; else there is not enough data."""
    swaps = report["counterfactual"]
    verdicts = [row["verdict"] for row in report["groups"]]
    verdicts += [swaps["student"]["verdict"], swaps["emergence"]["verdict"]]
    if "fail" in verdicts:
        return "fail"
    return "pass" if all(verdict == "pass" for verdict in verdicts) else "not_enough_data"


def _keep(
    context: Context, workload: Workload, names: tuple[str, str], report: dict[str, Any]
) -> dict[str, Any]:
    verdict = overall(report)
    lacking = [row["n_needed"] for row in report["groups"] if row.get("n_needed")]
    report["n_needed"] = max(lacking) if lacking else None
    audit = BiasAudit.objects.create(
        workload=workload, teacher=names[0], student=names[1], job_id=context.job.pk, verdict=verdict, report=report,
        device=context.job.device,
    )  # fmt: skip
    return {"audit": audit.pk, "verdict": verdict} | report
