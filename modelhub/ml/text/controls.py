"""What the gate and the experts are worth: the same recipe with a random router, and with no experts at all."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from modelhub.ml.moe.model import GatingClassifier, GatingConfig
from modelhub.ml.text.corpus import Parts
from modelhub.ml.train.loop import Progress, TrainConfig, deep_logits, train_gating


def right_answers(model: GatingClassifier, val: Parts) -> np.ndarray:
    """Which validation rows the deep heads alone get right, workload after workload. Gives (N,) of bool."""
    parts = val.items()
    return np.concatenate(
        [deep_logits(model, part.features.pooled, name).argmax(axis=1) == part.y for name, part in parts]
    )


def measure(
    model: GatingClassifier,
    train: Parts,
    val: Parts,
    config: TrainConfig,
    shape: GatingConfig,
    *,
    kept: Path,
    progress: Progress | None = None,
) -> dict[str, float]:
    """Accuracy over all validation rows of the deep heads: as trained, with every block silenced, and trained
    anew for as many steps behind a router that chooses at random. Read from the file `kept` where it stands."""
    if kept.is_file():
        return json.loads(kept.read_text("utf-8"))
    random, _ = train_gating(train, config, replace(shape, random_router=True), progress=progress)
    found = {
        "rows": float(sum(len(part) for part in val.values())),
        "learned_gate": float(right_answers(model, val).mean()),
        "random_router": float(right_answers(random, val).mean()),
    }
    for layer in model.blocks:
        layer.silent = True
    found["experts_silenced"] = float(right_answers(model, val).mean())
    for layer in model.blocks:
        layer.silent = False
    found = {name: round(value, 4) for name, value in found.items()}
    kept.write_text(json.dumps(found), "utf-8")
    return found
