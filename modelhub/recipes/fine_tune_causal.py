"""Conversations → a LoRA adapter of a language model whose checkpoint lies on this machine; then a candidate version.

The checkpoint is a folder in transformers' layout, `$SWITCHYARD_HOME/llms/<model>`. What is trained is served by vLLM or
SGLang, which load it beside the base (`manage.py launch_spec`). Our own demonstration model takes no adapters.
"""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction

from modelhub import artifacts
from modelhub.hal.device import best_device
from modelhub.models import Dataset, Deployment, ModelVersion
from modelhub.services.candidates import keep_candidate
from modelhub.services.datasets import read_chats
from switchyard.core.errors import InvalidRequest, NotFound
from switchyard.jobs.runner import Context, Stopped

AUTO_EPOCHS, AUTO_BATCH = 3, 8


def run(context: Context) -> dict[str, Any]:
    """params as modelhub.recipes.fine_tune, `method` lora. Raises InvalidRequest for what can't be trained, Stopped."""
    dataset, deployment = _named(context)
    if (method := context.params.get("method") or "lora") != "lora":
        raise InvalidRequest(
            f"Language models are fine-tuned by the method lora; got {method!r}.", param="method"
        )
    base = Path(settings.HOME) / "llms" / deployment.model
    if not (base / "config.json").is_file():
        raise InvalidRequest(
            f"{deployment.name} can't be fine-tuned here: there is no checkpoint of {deployment.model} on this machine. Put its "
            f"folder (config.json, safetensors, tokenizer) under llms/{deployment.model} in the product's home."
        )
    device = best_device()
    version = "ft-" + context.job.pk[-8:].lower()
    place = (
        Path(settings.HOME)
        / "artifacts"
        / deployment.model
        / "adapters"
        / f"{dataset.workload.name}@{version}"
    )
    kept = Path(settings.HOME) / "checkpoints" / version
    with context.computing(on_cpu=device.torch == "cpu"):
        context.device(f"{device.name}; LoRA by torch on {device.torch}")
        report = _train(context, base, read_chats(dataset), place, kept)
    candidate = _keep(context, dataset, deployment, place, version, report)
    shutil.rmtree(kept, ignore_errors=True)
    return report | {
        "version": version,
        "candidate": candidate.pk,
        "deployment": deployment.name,
        "method": "lora",
    }


def _named(context: Context) -> tuple[Any, Deployment]:
    """Raises NotFound when something that the job names is gone."""
    organisation = context.job.organisation
    dataset = Dataset.objects.select_related("workload__lob").filter(pk=context.params.get("dataset")).first()
    deployment = Deployment.objects.filter(
        name=context.params.get("deployment"), organisation=organisation
    ).first()
    if (
        dataset is None
        or deployment is None
        or dataset.organisation_id != organisation.pk
        or dataset.workload is None
    ):
        raise NotFound("The data set or the deployment of this job is gone.")
    return dataset, deployment


def _train(context: Context, base: Path, chats: list[Any], place: Path, kept: Path) -> dict[str, Any]:
    from modelhub.ml.adapters import causal
    from modelhub.ml.adapters.inner import LossNotFinite

    told = context.params
    epochs, batch, rate = (
        told.get(name) or "auto" for name in ("epochs", "batch_size", "learning_rate_multiplier")
    )
    options = causal.CausalOptions(
        epochs=AUTO_EPOCHS if epochs == "auto" else int(epochs), batch=AUTO_BATCH if batch == "auto" else int(batch),
        rate=causal.RATE * (1.0 if rate == "auto" else float(rate)), seed=int(told.get("seed") or 0),
    )  # fmt: skip

    def progress(step: dict[str, Any]) -> None:
        words = f"step {step['step']} of {step['of']}: loss {step['loss']:.3f}"
        context.progress(0.05 + 0.9 * step["step"] / step["of"], words, **step)

    try:
        encode, end = causal.tokenizer_of(str(base))
        rows = causal.rows_of(chats, encode, end, options.tokens)
        report = causal.train(
            causal.builder(str(base)), rows, options, out=place, folder=kept, progress=progress, should_stop=context.should_stop
        )  # fmt: skip
    except (causal.Unavailable, causal.NotAttention, LossNotFinite, ValueError, OSError) as error:
        raise InvalidRequest(f"{error}") from None
    if report["stopped"]:
        raise Stopped
    return report


@transaction.atomic
def _keep(
    context: Context, dataset: Any, deployment: Deployment, place: Path, version: str, report: dict[str, Any]
) -> ModelVersion:
    """The candidate, its folder touched only while the job is still ours. Nothing judged it yet: its gates say so."""
    context.write()
    workload = dataset.workload
    manifest = {
        "id": place.name, "kind": "causal-lora", "base": deployment.model, "head": workload.name,
        "lob": f"{workload.organisation_id}/{workload.lob.slug}", "trunk_hash": report["trunk_hash"],
        "train": {name: report[name] for name in ("rows", "steps", "loss", "weight_hash")}, "created": date.today().isoformat(),
    }  # fmt: skip
    artifacts.write_manifest(
        place, manifest, {"adapter": "adapter_model.safetensors", "config": "adapter_config.json"}
    )
    return keep_candidate(
        context, deployment=deployment, workload=workload, version=version, folder=place, upstream_model=place.name,
        lineage={
            "dataset": dataset.pk, "sha256": dataset.digest, "job": context.job.pk, "base": deployment.model,
        },
        metrics={name: report[name] for name in ("loss", "trunk_hash", "weight_hash", "rows", "parameters")},
    )  # fmt: skip
