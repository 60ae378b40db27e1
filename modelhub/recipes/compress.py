"""A teacher's head → a small file with the operator in it, as a candidate with a signed report of every stage.

plan → rows → the chain of stages (modelhub.ml.compress.chain) → report → keep the candidate
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from django.conf import settings
from django.db import transaction

from costs.pricing import private_cost
from modelhub import artifacts
from modelhub.ml import datasets as text_sets
from modelhub.ml.adapters.finetune import TooFewRows, split_rows
from modelhub.ml.risk.identities import kinds_named
from modelhub.models import Dataset, Deployment, ModelVersion
from modelhub.recipes import bias_groups
from modelhub.services import job_costs
from modelhub.services.candidates import keep_candidate
from modelhub.services.datasets import read_rows
from modelhub.services.signatures import artifact_trust
from modelhub.serving.errors import ModelRefused
from switchyard.core.errors import Conflict, InvalidRequest, NotFound
from switchyard.jobs.runner import Context
from switchyard.tenancy.models import Workload

REPORT = "report.json"
FIGURES_KEPT = ("accuracy", "teacher_agreement", "share_of_teacher")
CAN_NOT_SURVIVE = (
    "Facts that a teacher knows by heart do not survive compression: a student of the fault-code model recalls about as "
    "many as a small model taught the facts outright (see the card of code-kb and the benchmark of compression)."
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is compressed, and where it goes."""

    workload: Workload
    deployment: Deployment
    dataset: Dataset | None
    tuned: ModelVersion | None
    base: Path
    version: str
    home: Path

    @property
    def out(self) -> Path:
        """The head's folder; the model server finds it by this name."""
        return (
            self.home / "artifacts" / self.deployment.model / "heads" / f"{self.workload.name}@{self.version}"
        )

    @property
    def work(self) -> Path:
        """Kept until the candidate is written."""
        return self.home / "checkpoints" / self.version


def run(context: Context) -> dict[str, Any]:
    """params: those of modelhub.services.compressions. Result: the report, and the candidate's id."""
    plan = _plan(context)
    context.device("cpu, torch; CPUExecutionProvider for what is served")
    with context.computing():
        stages = _compress(context, plan)
        report = _report(context, plan, stages)
    artifacts.write_json(plan.out / REPORT, report)
    candidate = _keep(context, plan, report)
    shutil.rmtree(plan.work, ignore_errors=True)
    return report | {
        "version": plan.version, "candidate": candidate.pk, "deployment": plan.deployment.name,
        "workload": plan.workload.name,
    }  # fmt: skip


def _plan(context: Context) -> Plan:
    """Raises NotFound or InvalidRequest when something that the job names is gone or of the wrong kind."""
    organisation, params = context.job.organisation, context.params
    workload = Workload.objects.filter(name=params.get("workload"), organisation=organisation).first()
    deployment = Deployment.objects.filter(name=params.get("deployment"), organisation=organisation).first()
    if workload is None or deployment is None:
        raise NotFound("The workload or the deployment of this job is gone.")
    dataset = tuned = None
    if params.get("dataset"):
        dataset = Dataset.objects.filter(pk=params["dataset"], lob=workload.lob).first()
        if dataset is None:
            raise NotFound("The data set of this job is gone.")
    if params.get("version"):
        known = ModelVersion.objects.filter(workload=workload, deployment=deployment)
        tuned = known.filter(version=params["version"]).first()
        if tuned is None or not tuned.artifact:
            raise NotFound(f"The version {params['version']} of this job is gone.")
    try:
        base = artifacts.find(deployment.model)
    except artifacts.ArtifactMissing as error:
        raise NotFound(f"The teacher is gone: {error}.") from None
    version = "cx-" + context.job.pk[-8:].lower()
    return Plan(workload, deployment, dataset, tuned, base, version, Path(settings.HOME))


def _compress(context: Context, plan: Plan) -> dict[str, Any]:
    """All stages. Raises InvalidRequest for a teacher or rows that won't do, Conflict `bound_not_met` with the report kept."""
    from modelhub.ml.compress import chain
    from modelhub.ml.compress.stages import BoundBroken
    from modelhub.ml.distill.grid import NoneFastEnough
    from modelhub.ml.distill.loop import LossNotFinite
    from modelhub.ml.distill.targets import TeacherRefused

    try:
        return chain.run(_request(context, plan), chain.Ear(context.progress, context.check))
    except TeacherRefused as error:
        raise InvalidRequest(str(error), code=f"teacher_{error.code}") from None
    except BoundBroken as error:
        found = {**error.report, "stopped": {"stage": error.stage, "why": str(error)}}
        context.write(result=_without_labels(found))
        why = f"Stopped at {error.stage}: {error}. The best that was found is in the result."
        raise Conflict(why, code="bound_not_met") from None
    except NoneFastEnough as error:
        raise Conflict(str(error), code="bound_not_met") from None
    except LossNotFinite as error:
        raise Conflict(str(error), code="loss_not_finite") from None


def _request(context: Context, plan: Plan) -> Any:
    from modelhub.ml.compress import chain
    from modelhub.ml.quantize.choose import Bound
    from modelhub.ml.text.lessons import Asked
    from modelhub.ml.text.student import StudentShape

    params, trust = context.params, artifact_trust()
    train, val = _rows(plan, int(params.get("seed", 1)))
    teacher = plan.base
    if plan.tuned is not None:
        tuned = plan.home / plan.tuned.artifact
        try:
            trust.check(tuned, plan.tuned.upstream_model)
        except ModelRefused as error:
            raise InvalidRequest(f"The teacher can't be trusted: {error}", code="teacher_unsigned") from None
        teacher = chain.teacher_with(plan.base, tuned, plan.workload.name, plan.work / "teacher")
    labels = artifacts.load_manifest(teacher)["heads"].get(plan.workload.name, {}).get("labels", [])
    if unknown := sorted(set(train[1] + val[1]) - set(labels))[:5]:
        raise InvalidRequest(
            f"The teacher doesn't know the labels {', '.join(unknown)}; fine-tune it on them first."
        )
    groups = (
        ["+".join(sorted(set(kinds_named(text)))) for text in train[0]] if params.get("balanced") else None
    )
    width = params.get("width", "auto")
    shape = None if width == "auto" else StudentShape(int(width), 4, max(64, 2 * int(width)))
    bounds = chain.Bounds(
        float(params.get("least_share_of_teacher", 0.96)), bool(params.get("not_below_tfidf", True)),
        float(params.get("least_speedup", 12.0)),
        Bound(float(params.get("most_int8_loss_points", 1.0)), float(params.get("least_int8_agreement", 0.985))),
    )  # fmt: skip
    return chain.Request(
        teacher, plan.workload.name, labels, train, val, plan.out, plan.work, seed=int(params.get("seed", 1)),
        epochs=int(params.get("epochs", 8)), asked=Asked(bool(params.get("paired")), groups), bounds=bounds, shape=shape,
        version=plan.version, risk_limit=params.get("risk_limit"), copies=params.get("copies"),
        signed=None if plan.tuned is not None else lambda folder: trust.check(folder, plan.deployment.model),
    )  # fmt: skip


def _rows(plan: Plan, seed: int) -> tuple[tuple[list[str], list[str]], tuple[list[str], list[str]]]:
    """Texts and labels to teach on, and held back: the shipped split, or a quarter of an uploaded set's rows."""
    if plan.dataset is None:
        parts = [text_sets.load(plan.workload.name, split) for split in ("train", "val")]
        return (list(parts[0].texts), list(parts[0].labels)), (list(parts[1].texts), list(parts[1].labels))
    try:
        train, held = split_rows(read_rows(plan.dataset), seed)
    except TooFewRows as error:
        raise InvalidRequest(str(error)) from None
    return ([t for t, _ in train], [y for _, y in train]), ([t for t, _ in held], [y for _, y in held])


def _report(context: Context, plan: Plan, stages: dict[str, Any]) -> dict[str, Any]:
    """Every stage's figures, what changed by group, what a thousand answers cost, and the accuracy–cost front."""
    told = stages["figures"]
    labels = artifacts.load_manifest(plan.out)["heads"][plan.workload.name]["labels"]
    texts = _rows(plan, int(context.params.get("seed", 1)))[1][0]
    names = np.array([*labels, None], object)  # the last stands for an answer that the operator stopped
    truth, teacher, student = (
        names[np.array(told["labels"][who])] for who in ("truth", "teacher", "student")
    )
    rate = job_costs.rate_for(context.job.organisation_id, [plan.deployment.name])
    cost = {
        who: None if rate is None else private_cost(told["times"][who]["cpu_ns_per_1000"], rate)
        for who in ("teacher", "student")
    }
    accuracy = {
        "teacher": stages["teacher"]["accuracy"]["value"], "student": round(float((student == truth).mean()), 4),
    }  # fmt: skip
    return {
        "stages": _without_labels(stages),
        "groups": bias_groups.compare(texts, truth, teacher, student),
        "nusd_per_1000": cost,
        "front": [
            {"model": who, "accuracy": accuracy[who], "nusd_per_1000": cost[who], **told["times"][who]} for who in accuracy
        ],
        "did_not_survive": {
            "answers_that_changed": int((teacher != student).sum()),
            "right_before_wrong_now": int(((teacher == truth) & (student != truth)).sum()),
            "wrong_before_right_now": int(((teacher != truth) & (student == truth)).sum()),
            "of": len(truth), "note": CAN_NOT_SURVIVE,
        },
        "seed": int(context.params.get("seed", 1)),
    }  # fmt: skip


def _without_labels(stages: dict[str, Any]) -> dict[str, Any]:
    """Stages for people: the labels of single rows stay out of job rows and pages."""
    figures = {key: value for key, value in stages.get("figures", {}).items() if key != "labels"}
    return {**stages, **({"figures": figures} if figures else {})}


@transaction.atomic
def _keep(context: Context, plan: Plan, report: dict[str, Any]) -> ModelVersion:
    """The candidate; report and files are signed with it. Its folder is touched only while the job is still ours."""
    context.write()
    manifest = artifacts.load_manifest(plan.out)
    files = {role: entry["name"] for role, entry in manifest["files"].items()} | {"report": REPORT}
    artifacts.write_manifest(
        plan.out, {key: value for key, value in manifest.items() if key != "files"}, files
    )
    stages = report["stages"]
    return keep_candidate(
        context, deployment=plan.deployment, workload=plan.workload, version=plan.version, folder=plan.out,
        upstream_model=f"{plan.deployment.model}/{plan.out.name}",
        lineage={
            "job": context.job.pk, "kind": "compression", "base": plan.deployment.model,
            "base_digest": artifacts.digest(plan.base / artifacts.MANIFEST),
            "teacher": plan.tuned.digest if plan.tuned else plan.deployment.model,
            "teacher_digest": plan.tuned.digest if plan.tuned else artifacts.digest(plan.base / artifacts.MANIFEST),
            **({"dataset": plan.dataset.pk, "sha256": plan.dataset.digest} if plan.dataset else {}),
        },
        metrics={
            "compression": {name: stages["distillation"][name] for name in FIGURES_KEPT},
            "int8": {"method": stages["int8"]["method"], "loss_points": stages["int8"]["loss_points"]},
            "speedup_b1": stages["figures"]["speedup_b1"], "cost_share": stages["figures"]["cost_share"],
            "nusd_per_1000": report["nusd_per_1000"],
            "operator": {"tau": stages["operator"]["tau"], "planted": stages["operator"]["planted"]["all"]},
        },
    )  # fmt: skip
