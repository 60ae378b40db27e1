"""Student against teacher: who lost by compression, whose answers change with a word for a group, what public suites say.

ask both on the same rows → compare by group → ask both with the groups exchanged → public suites → verdict → signed evidence
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from modelhub import artifacts
from modelhub.models import BiasAudit, Deployment, ModelVersion
from modelhub.recipes import bias_groups, bias_suites, bias_swaps
from modelhub.recipes.asking import ask_all
from modelhub.recipes.bias_groups import overall
from modelhub.recipes.endpoints import Answers, Source
from modelhub.recipes.local import open_source
from modelhub.services.validation import validation_rows
from modelhub.serving.runners.risk import RiskModel
from switchyard.core.conf import conf
from switchyard.core.errors import InvalidRequest, NotFound
from switchyard.jobs.runner import Context
from switchyard.tenancy.models import Workload

NOT_CLASSIFIED = "it compares classifiers row by row; of this task the suites alone say something"


def run(context: Context) -> dict[str, Any]:
    """params: {"workload", "teacher", "student", "student_version"?, "teacher_version"?, "limit"?, "suites"?}; teacher and
    student are deployments, a version is one that need not be live. Writes a BiasAudit."""
    workload = Workload.objects.filter(
        name=context.params["workload"], organisation=context.job.organisation
    ).first()
    if workload is None or workload.task not in ("classification", "chat"):
        raise InvalidRequest("This audit asks classifiers and chat models; name such a workload.")
    sides = [_open(context, role, workload) for role in ("teacher", "student")]
    (teacher, told_teacher), (student, told_student) = sides
    report: dict[str, Any] = {"models": {"teacher": told_teacher, "student": told_student}}
    labels: set[str] = set()
    if workload.task == "classification":
        rows = validation_rows(workload).first(context.params.get("limit"))
        labels = {str(label) for label in rows.truth}
        answers = [
            _ask(context, source, rows.inputs, span)
            for source, span in ((teacher, (0.0, 0.3)), (student, (0.3, 0.5)))
        ]
        report |= bias_groups.compare(rows.inputs, np.array(rows.truth), *answers)
        report["data"] = {"source": rows.source, "digest": bias_groups.digest_of(rows.inputs, rows.truth)}
        report["counterfactual"] = _swapped(context, workload, teacher, student, rows.inputs)
    else:
        report |= {"n": 0, "limit": bias_groups.EXCESS_LIMIT, "groups": [], "note": NOT_CLASSIFIED}
    report["suites"] = _suites(context, workload, labels, teacher, student)
    # asked afterwards: a server that loads models when they are used can't say before what they run on
    context.device(f"{teacher.device()}; {student.device()}")
    return _keep(context, workload, report)


def _open(context: Context, role: str, workload: Workload) -> tuple[Source, dict[str, str]]:
    """A side of the comparison, and what it is: deployment, model, version, digest. Raises NotFound."""
    name, wanted = context.params[role], context.params.get(f"{role}_version")
    deployment = Deployment.objects.filter(organisation=context.job.organisation, name=name).first()
    if deployment is None:
        raise NotFound(f"There is no deployment {name!r}.")
    rows = ModelVersion.objects.filter(deployment=deployment, workload=workload)
    version = rows.filter(version=wanted).first() if wanted else rows.filter(stage="live").first()
    if wanted and version is None:
        raise NotFound(f"{name} has no version {wanted!r} of {workload.name}.")
    facts = {"deployment": name, "model": version.upstream_model if version else deployment.model}
    facts |= {"version": version.version, "digest": version.digest} if version else {}
    return open_source(deployment, workload, version), facts


def _ask(
    context: Context, source: Source, texts: list[str], span: tuple[float, float]
) -> bias_groups.Answered:
    answers = ask_all(context, source, texts, since=span[0], until=span[1])
    return bias_groups.Answered.read(answers.items)


def _swapped(
    context: Context, workload: Workload, teacher: Source, student: Source, texts: list[str]
) -> dict[str, Any]:
    swap = RiskModel(artifacts.find("risk-guard")).identity_swaps
    probe = bias_swaps.make_probe(texts, swap, workload.name)
    first = ask_all(context, teacher, probe.everything, since=0.5, until=0.7)
    second = ask_all(context, student, probe.everything, since=0.7, until=0.85)
    return bias_swaps.report(probe, bias_swaps.read(probe, first.items), bias_swaps.read(probe, second.items))


def _suites(
    context: Context, workload: Workload, labels: set[str], teacher: Source, student: Source
) -> dict[str, dict[str, Any]]:
    """Public suites; their calls are paid like any others."""

    def asking(source: Source) -> bias_suites.Ask:
        def ask(texts: list[str]) -> list[dict[str, Any]]:
            answers: Answers = ask_all(context, source, texts)
            return [item if isinstance(item, dict) else {"label": item} for item in answers.items]

        return ask

    wanted = context.params.get("suites")
    return bias_suites.run_suites(
        task=workload.task, labels=labels, teacher=asking(teacher), student=asking(student),
        data_dir=Path(conf("DATA_DIR")), wanted=None if wanted is None else set(wanted),
    )  # fmt: skip


def _keep(context: Context, workload: Workload, report: dict[str, Any]) -> dict[str, Any]:
    verdict = overall(report)
    lacking = [row["n_needed"] for row in report["groups"] if row.get("n_needed")]
    report["n_needed"] = max(lacking) if lacking else None
    audit = BiasAudit.objects.create(
        workload=workload, teacher=context.params["teacher"], student=context.params["student"], job_id=context.job.pk,
        verdict=verdict, report=report, device=context.job.device,
    )  # fmt: skip
    return {"audit": audit.pk, "verdict": verdict} | report
