"""Conversations → a LoRA adapter of a language model that lies on this machine; then a candidate version.

A checkpoint is a folder in transformers' layout, `$SWITCHYARD_HOME/llms/<model>`; what is trained on it is served by vLLM or
SGLang, which load it beside the base (`manage.py launch_spec`). The demonstration model is ours: its terms are folded into a
copy of its graph, which our own server answers with.
"""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass
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
    base = _base(deployment)
    device = best_device()
    version = "-".join(
        part for part in ("ft", str(context.params.get("suffix") or ""), context.job.pk[-8:].lower()) if part
    )
    folder = Path(settings.HOME) / "artifacts" / deployment.model / ("heads" if base.tiny else "adapters")
    place = folder / f"{dataset.workload.name}@{version}"
    kept = Path(settings.HOME) / "checkpoints" / version
    with context.computing(on_cpu=device.torch == "cpu"):
        context.device(f"{device.name}; LoRA by torch on {device.torch}")
        report = _train(context, base, read_chats(dataset), place, kept)
    candidate = _keep(context, dataset, deployment, base, place, version, report)
    shutil.rmtree(kept, ignore_errors=True)
    return report | {
        "version": version,
        "candidate": candidate.pk,
        "deployment": deployment.name,
        "method": "lora",
    }


@dataclass(frozen=True, slots=True)
class Base:
    """What is trained on. `tiny`: our demonstration model, in its own form."""

    folder: Path
    tiny: bool


def _base(deployment: Deployment) -> Base:
    """Raises InvalidRequest where nothing of this model that can be trained is on this machine."""
    from modelhub.ml.adapters.tiny_lm import is_tiny

    llm = Path(settings.HOME) / "llms" / deployment.model
    if (llm / "config.json").is_file():
        return Base(llm, tiny=False)
    with contextlib.suppress(artifacts.ArtifactMissing):
        own = artifacts.find(deployment.model)
        if is_tiny(own):
            return Base(own, tiny=True)
    raise InvalidRequest(
        f"{deployment.name} can't be fine-tuned here: there is no checkpoint of {deployment.model} on this machine. Put its "
        f"folder (config.json, safetensors, tokenizer) under llms/{deployment.model} in the product's home."
    )


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


def _train(context: Context, base: Base, chats: list[Any], place: Path, kept: Path) -> dict[str, Any]:
    from modelhub.ml.adapters import causal, chat_rows, tiny_lm
    from modelhub.ml.adapters.finetune import one_thread
    from modelhub.ml.adapters.inner import LossNotFinite

    told = context.params
    epochs, batch, rate = (
        told.get(name) or "auto" for name in ("epochs", "batch_size", "learning_rate_multiplier")
    )
    options = causal.CausalOptions(
        epochs=AUTO_EPOCHS if epochs == "auto" else int(epochs), batch=AUTO_BATCH if batch == "auto" else int(batch),
        rate=(tiny_lm.RATE if base.tiny else causal.RATE) * (1.0 if rate == "auto" else float(rate)),
        seed=int(told.get("seed") or 0),
    )  # fmt: skip

    def progress(step: dict[str, Any]) -> None:
        words = f"step {step['step']} of {step['of']}: loss {step['loss']:.3f}"
        context.progress(0.05 + 0.9 * step["step"] / step["of"], words, **step)

    try:
        where: dict[str, Any] = {
            "out": place, "folder": kept, "progress": progress, "should_stop": context.should_stop,
        }  # fmt: skip
        if base.tiny:
            rows = tiny_lm.rows_of(chats, base.folder, options.tokens)
            build, where["adapt"] = tiny_lm.builder(base.folder), tiny_lm.with_lora
        else:
            rows = chat_rows.rows_for(str(base.folder), chats, options.tokens)
            build = causal.builder(str(base.folder))
        with one_thread():
            report = causal.train(build, rows, options, **where)
    except (causal.Unavailable, causal.NotAttention, LossNotFinite, ValueError, OSError) as error:
        raise InvalidRequest(f"{error}") from None
    if report["stopped"]:
        raise Stopped
    return report | {"trained_tokens": sum(len(ids) for ids, _ in rows) * options.epochs}


@transaction.atomic
def _keep(
    context: Context, dataset: Any, deployment: Deployment, base: Base, place: Path, version: str, report: dict[str, Any]
) -> ModelVersion:  # fmt: skip
    """The candidate, its folder touched only while the job is still ours. Nothing judged it yet: its gates say so."""
    from modelhub.ml.adapters import tiny_lm

    context.write()
    workload = dataset.workload
    told = {
        "id": place.name, "base": deployment.model, "head": workload.name,
        "lob": f"{workload.organisation_id}/{workload.lob.slug}", "trunk_hash": report["trunk_hash"],
        "train": {name: report[name] for name in ("rows", "steps", "loss", "weight_hash")}, "created": date.today().isoformat(),
    }  # fmt: skip
    if base.tiny:
        tiny_lm.finish(place, base.folder, told)
    else:
        files = {"adapter": "adapter_model.safetensors", "config": "adapter_config.json"}
        artifacts.write_manifest(place, told | {"kind": "causal-lora"}, files)
    return keep_candidate(
        context, deployment=deployment, workload=workload, version=version, folder=place,
        upstream_model=f"{deployment.model}/{place.name}" if base.tiny else place.name,
        lineage={
            "dataset": dataset.pk, "sha256": dataset.digest, "job": context.job.pk, "base": deployment.model,
        },
        metrics={name: report[name] for name in ("loss", "trunk_hash", "weight_hash", "rows", "parameters")},
    )  # fmt: skip
