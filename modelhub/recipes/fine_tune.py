"""Rows → a better head: before and after on the same held-back rows, then a candidate version."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from django.conf import settings

from modelhub import artifacts
from modelhub.hal.device import best_device
from modelhub.ml.trunk import ensure_trunk
from modelhub.models import Dataset, Deployment, ModelVersion
from modelhub.services.datasets import read_rows
from switchyard.core.errors import InvalidRequest
from switchyard.jobs.runner import Context, Stopped


def run(context: Context) -> dict[str, Any]:
    """params: {"dataset", "deployment", "epochs"?, "seed"?}. Result: the report, and the candidate's id."""
    dataset = Dataset.objects.select_related("workload", "lob").get(pk=context.params["dataset"])
    deployment = Deployment.objects.get(
        name=context.params["deployment"], organisation=context.job.organisation
    )
    workload = dataset.workload
    if workload is None or deployment.side != "private" or not deployment.heads:
        raise InvalidRequest("Fine-tuning needs a workload and a private deployment with heads.")
    base = artifacts.find(deployment.model)
    home = Path(settings.HOME)
    version = "ft-" + context.job.pk[-8:].lower()
    out = home / "artifacts" / deployment.model / "heads" / f"{workload.name}@{version}"
    context.device(f"{best_device().name}, torch cpu")  # the frozen body is cached, a head trains on the CPU
    context.progress(0.02, f"reading {dataset.rows} rows")
    report = _train(context, base, workload.name, read_rows(dataset), out, home)
    if report.get("stopped"):
        raise Stopped
    candidate, _ = ModelVersion.objects.update_or_create(
        deployment=deployment, workload=workload, version=version,
        defaults={
            "upstream_model": f"{deployment.model}/{workload.name}@{version}", "stage": "candidate",
            "artifact": str(out.relative_to(home)), "digest": artifacts.digest(out / artifacts.MANIFEST),
            "lineage": {"dataset": dataset.pk, "sha256": dataset.digest, "job": context.job.pk, "base": deployment.model},
            "metrics": {k: report[k] for k in ("before", "after", "paired_difference", "shipped_validation") if k in report},
        },
    )  # fmt: skip
    return report | {
        "version": version,
        "candidate": candidate.pk,
        "deployment": deployment.name,
        "workload": workload.name,
    }


def _train(
    context: Context, base: Path, head: str, rows: list[tuple[str, str]], out: Path, home: Path
) -> dict[str, Any]:
    from modelhub.ml.adapters.finetune import TooFewRows, fine_tune_head

    epochs = context.params.get("epochs", "auto")
    planned = 40 if epochs == "auto" else int(epochs)
    started = time.thread_time_ns()

    def progress(report: dict[str, Any]) -> None:
        epoch = report.get("epoch", 0)
        words = "computing features" if "epoch" not in report else f"epoch {epoch}"
        if "accuracy" in report:
            words += f": held-back accuracy {report['accuracy']:.3f}"
        context.progress(0.05 + 0.9 * min(1.0, epoch / planned), words, **report)

    try:
        return fine_tune_head(
            base, head, rows, out_dir=out, epochs=epochs, seed=int(context.params.get("seed", 0)), progress=progress,
            should_stop=context.should_stop, checkpoint_dir=home / "checkpoints" / context.job.pk, trunk_dir=ensure_trunk(home),
        )  # fmt: skip
    except TooFewRows as error:
        raise InvalidRequest(str(error)) from None
    finally:
        context.accelerator_ns += time.thread_time_ns() - started
