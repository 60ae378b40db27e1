"""Rows → a better head, and an adapter inside the shared trunk where it helps; then a candidate version.

read rows → judge before → fit → judge after → keep the candidate
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from django.conf import settings

from modelhub import artifacts
from modelhub.hal.device import best_device
from modelhub.ml.fairness.intervals import paired_difference, wilson
from modelhub.ml.tabular.metrics import macro_f1
from modelhub.ml.trunk import ensure_trunk
from modelhub.models import Dataset, Deployment, ExpertActivation, ModelVersion
from modelhub.services.activation import Sum, record_training
from modelhub.services.bases import trusted_base
from modelhub.services.candidates import keep_candidate
from modelhub.services.datasets import read_rows
from modelhub.services.validation import has_validation_rows, validation_rows
from switchyard.core.clock import now
from switchyard.core.errors import InvalidRequest, NotFound
from switchyard.jobs.runner import Context, Stopped
from switchyard.tenancy.models import Workload

if TYPE_CHECKING:
    from modelhub.ml.activation.training_counts import LabelCounts

MOST_JUDGED = 1000  # validation rows asked before and after; enough for an interval of two or three points
BATCH = 64


@dataclass(frozen=True, slots=True)
class Plan:
    """What is fitted on what, and where it goes."""

    dataset: Dataset
    workload: Workload
    deployment: Deployment
    base: Path
    version: str
    home: Path
    options: Any
    validation: Dataset | None = None

    @property
    def known(self) -> bool:
        """Whether the model ships a head for this workload; a new one gets its first."""
        return self.workload.name in artifacts.load_manifest(self.base)["heads"]

    @property
    def lob(self) -> str:
        """Whose adapter it will be, and nobody else's."""
        return f"{self.workload.organisation_id}/{self.workload.lob.slug}"

    @property
    def out(self) -> Path:
        """The head's folder; the model server finds it by this name."""
        heads = self.home / "artifacts" / self.deployment.model / "heads"
        return heads / f"{self.workload.name}@{self.version}"

    @property
    def checkpoints(self) -> Path:
        """Kept until the head is written."""
        return self.home / "checkpoints" / self.version


@dataclass(frozen=True, slots=True)
class Judged:
    """Labels given to validation rows beside the right ones. Shapes: (N,) each."""

    truth: np.ndarray
    given: np.ndarray

    @property
    def right(self) -> np.ndarray:
        return self.truth == self.given

    def as_dict(self) -> dict[str, Any]:
        """Accuracy with Wilson's interval and macro-F1."""
        rate = wilson(int(self.right.sum()), len(self.right)).as_dict()
        return rate | {"n": len(self.right), "macro_f1": round(macro_f1(self.truth, self.given), 4)}


def run(context: Context) -> dict[str, Any]:
    """params: {"dataset", "deployment", "method"?, "epochs"?, "batch_size"?, "learning_rate_multiplier"?, "seed"?, "suffix"?,
    "validation_dataset"?}, `auto` where they are left out. Result: the report, and the candidate's id.

    `lora`, the usual method, fits the head first and keeps an adapter only where rows held back gain by it.
    """
    if _is_language(context):
        from modelhub.recipes import fine_tune_causal

        return fine_tune_causal.run(context)
    plan = _plan(context)
    device = best_device()
    with context.computing(on_cpu=device.torch == "cpu"):
        rows = read_rows(plan.dataset)
        before = _judge(context, plan, plan.workload.name, 0.02, 0.15) if plan.known else None
        report = _fit(context, plan, rows)
        context.mark("trained")
        after = _judge(context, plan, plan.out.name, 0.80, 0.97)
        woken = _experts_woken(context, plan, rows)
    report = _on_validation_rows(report, before, after)
    candidate = _keep(context, plan, report)
    _log_experts(plan, woken)
    shutil.rmtree(plan.checkpoints, ignore_errors=True)
    return report | {
        "version": plan.version, "candidate": candidate.pk, "deployment": plan.deployment.name,
        "workload": plan.workload.name,
    }  # fmt: skip


def _is_language(context: Context) -> bool:
    """Whether the rows are conversations for a language model."""
    dataset = Dataset.objects.select_related("workload").filter(pk=context.params.get("dataset")).first()
    return (
        dataset is not None
        and dataset.workload is not None
        and dataset.workload.task in ("chat", "completion")
    )


def _plan(context: Context) -> Plan:
    """Raises NotFound or InvalidRequest when something that the job names is gone or of the wrong kind."""
    organisation = context.job.organisation
    dataset = (
        Dataset.objects.select_related("workload", "lob").filter(pk=context.params.get("dataset")).first()
    )
    deployment = Deployment.objects.filter(
        name=context.params.get("deployment"), organisation=organisation
    ).first()
    if dataset is None or deployment is None or dataset.organisation_id != organisation.pk:
        raise NotFound("The data set or the deployment of this job is gone.")
    if dataset.workload is None or deployment.side != "private" or not deployment.heads:
        raise InvalidRequest("Fine-tuning needs a workload and a private deployment with heads.")
    suffix = str(context.params.get("suffix") or "")
    version = "-".join(part for part in ("ft", suffix, context.job.pk[-8:].lower()) if part)
    base = trusted_base(deployment)
    return Plan(
        dataset, dataset.workload, deployment, base, version, Path(settings.HOME), _options(context),
        _validation(context, dataset),
    )  # fmt: skip


def _options(context: Context) -> Any:
    """Raises InvalidRequest for a method or a number that can't be."""
    from modelhub.ml.adapters.finetune import Options

    told = context.params
    method = told.get("method") or "lora"
    try:
        return Options(
            method="auto" if method == "lora" else method, epochs=told.get("epochs") or "auto",
            batch_size=told.get("batch_size") or "auto", seed=int(told.get("seed") or 0),
            learning_rate_multiplier=told.get("learning_rate_multiplier") or "auto",
        )  # fmt: skip
    except (ValueError, TypeError) as error:
        raise InvalidRequest(f"{error}.") from None


def _validation(context: Context, dataset: Dataset) -> Dataset | None:
    """The rows to judge by where the job names some: the same workload's only. Raises NotFound."""
    wanted = context.params.get("validation_dataset")
    if not wanted:
        return None
    found = Dataset.objects.filter(
        pk=wanted, workload=dataset.workload, organisation=dataset.organisation
    ).first()
    if found is None:
        raise NotFound("The validation rows of this job are gone, or another workload's.")
    return found


def _judge(context: Context, plan: Plan, head: str, since: float, until: float) -> Judged | None:
    """The head's answers to the workload's validation rows, as served; None for a workload without such rows."""
    from modelhub.serving.runners.text import TextClassifier

    runner = TextClassifier(
        plan.base, trunk_dir=ensure_trunk(plan.home), providers=list(best_device().providers)
    )
    context.device(f"{best_device().name}, {', '.join(runner.providers)}; trained by torch on cpu")
    if not has_validation_rows(plan.workload):
        return None
    rows = validation_rows(plan.workload)
    chosen = np.random.default_rng(0).permutation(len(rows.inputs))[:MOST_JUDGED]
    given: list[str] = []
    for start in range(0, len(chosen), BATCH):
        context.check()
        batch = [rows.inputs[i] for i in chosen[start : start + BATCH]]
        given += runner.classify(head, batch).labels
        share = since + (until - since) * len(given) / len(chosen)
        context.progress(share, f"{head}: {len(given)} of {len(chosen)} validation rows")
    return Judged(np.array([rows.truth[i] for i in chosen]), np.array(given))


def _experts_woken(context: Context, plan: Plan, rows: list[tuple[str, str]]) -> list[LabelCounts]:
    """What the training rows wake in the shared trunk, for the activation log."""
    from modelhub.ml.activation.training_counts import counts_by_label

    return counts_by_label(plan.base, rows, trunk_dir=ensure_trunk(plan.home), check=context.check)


def _log_experts(plan: Plan, woken: list[LabelCounts]) -> None:
    """Store the counts under the workload's line of business: no text, only labels and how often each expert ran.

    A version is one job's, so a run that goes on after a kill finds its own counts and adds nothing.
    """
    model, head = plan.deployment.model, plan.out.name
    if ExpertActivation.objects.filter(
        organisation_id=plan.deployment.organisation_id, model=model, head=head, source="training"
    ).exists():
        return
    record_training(
        organisation_id=plan.deployment.organisation_id,
        lob=plan.workload.lob.slug,
        day=now().astimezone(UTC).date(),
        sums=[Sum(model, head, one.label, one.rows, one.tokens, one.counts) for one in woken],
    )


def _fit(context: Context, plan: Plan, rows: list[tuple[str, str]]) -> dict[str, Any]:
    """Raises InvalidRequest for too few rows or a loss that is no number, Stopped when somebody asked to."""
    from modelhub.ml.adapters.finetune import TooFewRows, fine_tune
    from modelhub.ml.adapters.inner import LossNotFinite
    from modelhub.ml.text.torch_form import NotOurForm

    held = read_rows(plan.validation) if plan.validation is not None else None
    try:
        report = fine_tune(
            plan.base, plan.workload.name, rows, out_dir=plan.out, options=plan.options, validation=held, lob=plan.lob,
            progress=lambda told: _tell(context, told), should_stop=context.should_stop, checkpoint_dir=plan.checkpoints,
            trunk_dir=ensure_trunk(plan.home),
        )  # fmt: skip
    except (TooFewRows, LossNotFinite, NotOurForm) as error:
        raise InvalidRequest(str(error)) from None
    if report["stopped"]:
        raise Stopped
    return report


def _tell(context: Context, told: dict[str, Any]) -> None:
    """What training says, as the job's share and words."""
    if told["stage"] == "features":
        done, of = told.get("done", 0), max(1, told["rows"])
        context.progress(0.15 + 0.2 * min(1.0, done / of), f"features of {done} of {of} rows")
        context.check()
        return
    share = told["done"] / told["of"] if "of" in told else told["epoch"] / told["epochs"]
    words = f"{told['done']} of {told['of']} stretches" if "of" in told else ""
    if told.get("new", True) and "epoch" in told:
        words = f"epoch {told['epoch']}: held-back accuracy {told['accuracy']:.3f}, loss {told['loss']:.3f}"
    context.progress(0.35 + 0.45 * min(1.0, share), words, **told)


def _on_validation_rows(
    report: dict[str, Any], before: Judged | None, after: Judged | None
) -> dict[str, Any]:
    """The workload's validation rows decide where there are some; the customer's own held-back rows stand beside."""
    if before is None or after is None:
        return report | {
            "judged_on": "own rows held back"
        }  # also a new workload's, whose rows nothing answered before
    own = {name: report[name] for name in ("before", "after", "paired_difference")}
    return report | {
        "judged_on": "validation rows", "own_rows": own, "before": before.as_dict(), "after": after.as_dict(),
        "paired_difference": paired_difference(after.right, before.right).as_dict(),
    }  # fmt: skip


def _keep(context: Context, plan: Plan, report: dict[str, Any]) -> ModelVersion:
    told = (
        "judged_on",
        "before",
        "after",
        "paired_difference",
        "own_rows",
        "shipped_validation",
        "weight_hash",
        "method",
        "method_because",
        "trunk_hash",
        "adapter",
        "served",
        "cpu_s",
    )
    return keep_candidate(
        context, deployment=plan.deployment, workload=plan.workload, version=plan.version, folder=plan.out,
        upstream_model=f"{plan.deployment.model}/{plan.out.name}",
        lineage={
            "dataset": plan.dataset.pk, "sha256": plan.dataset.digest, "job": context.job.pk,
            "base": plan.deployment.model, "base_digest": artifacts.digest(plan.base / artifacts.MANIFEST),
        },
        metrics={name: report[name] for name in told if name in report},
    )  # fmt: skip
