"""Training the sparse classifier on all workloads at once: seeded, resumable, told by a callback."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from modelhub.ml.moe import balance
from modelhub.ml.moe.model import GatingClassifier, GatingConfig, build
from modelhub.ml.text.corpus import Parts
from modelhub.ml.train import checkpoint
from modelhub.ml.train.schedule import one_cycle

Progress = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """How long and how fast. `evenness` 1 draws rows as they are, 0 every workload alike."""

    epochs: int = 12
    batch: int = 256
    rate: float = 1e-3
    decay: float = 0.05
    smoothing: float = 0.05
    z_weight: float = 1e-4
    evenness: float = 0.7
    seed: int = 1


@dataclass(frozen=True, slots=True)
class _Rows:
    pooled: Tensor
    y: Tensor
    workload: Tensor
    chance: np.ndarray


def _gather(parts: Parts, evenness: float) -> _Rows:
    pooled = torch.cat([torch.from_numpy(part.features.pooled) for part in parts.values()])
    y = torch.cat([torch.from_numpy(part.y).long() for part in parts.values()])
    workload = torch.cat([torch.full((len(part),), i) for i, part in enumerate(parts.values())])
    chance = np.concatenate([np.full(len(part), len(part) ** (evenness - 1.0)) for part in parts.values()])
    return _Rows(pooled, y, workload, chance / chance.sum())


def train_gating(
    parts: Parts,
    config: TrainConfig,
    shape: GatingConfig,
    *,
    held: Parts | None = None,
    checkpoint_dir: Path | None = None,
    progress: Progress | None = None,
    each_epoch: Callable[[GatingClassifier], None] | None = None,
) -> tuple[GatingClassifier, list[dict[str, float]]]:
    """Train on `parts`; give the network and its curve (per epoch: loss, and accuracy on `held`).

    Each epoch seeds itself from (seed, epoch), so a run that resumes from its last epoch ends with the same
    weights as one that was never cut. `each_epoch` is handed the network after every epoch.
    """
    torch.manual_seed(config.seed)
    model = build(shape, {name: len(part.labels) for name, part in parts.items()})
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.rate, weight_decay=config.decay)
    curve: list[dict[str, float]] = []
    meta = checkpoint.restore(checkpoint_dir, model, [optimizer]) if checkpoint_dir else None
    if meta is not None:
        curve = meta["curve"]
    rows = _gather(parts, config.evenness)
    names = list(parts)
    for epoch in range(len(curve), config.epochs):
        loss = _train_epoch(model, optimizer, rows, names, config, epoch)
        point = {"epoch": epoch + 1, "loss": round(loss, 4)}
        if held is not None:
            point["accuracy"] = round(mean_accuracy(model, held), 4)
        curve.append(point)
        if checkpoint_dir is not None:
            checkpoint.save(checkpoint_dir, model, [optimizer], {"step": epoch + 1, "curve": curve})
        if progress is not None:
            progress({**point, "epochs": config.epochs})
        if each_epoch is not None:
            each_epoch(model)
    return model.eval(), curve


def _train_epoch(
    model: GatingClassifier,
    optimizer: torch.optim.Optimizer,
    rows: _Rows,
    names: list[str],
    config: TrainConfig,
    epoch: int,
) -> float:
    torch.manual_seed(config.seed * 10_000 + epoch)
    rng = np.random.default_rng((config.seed, epoch))
    batch = min(config.batch, len(rows.y))
    per_epoch = len(rows.y) // batch
    order = torch.from_numpy(rng.choice(len(rows.y), per_epoch * batch, p=rows.chance))
    model.train()
    total = 0.0
    for index, chosen in enumerate(order.split(batch)):
        for group in optimizer.param_groups:
            group["lr"] = one_cycle(epoch * per_epoch + index, config.epochs * per_epoch, config.rate)
        features, routings = model.features(rows.pooled[chosen])
        loss = _loss(model, features, rows.y[chosen], rows.workload[chosen], names, config.smoothing)
        loss = loss + config.z_weight * sum(routing.z_loss for routing in routings)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        for layer, routing in zip(model.blocks, routings, strict=True):
            load = balance.expert_load(routing, layer.bank.experts)
            balance.move_selection_bias(layer.gate, load)
        total += float(loss.detach())
    return total / per_epoch


def _loss(
    model: GatingClassifier, features: Tensor, y: Tensor, workload: Tensor, names: list[str], smoothing: float
) -> Tensor:
    total = features.new_zeros(())
    for index, name in enumerate(names):
        own = workload == index
        if own.any():
            logits = model.head(name)(features[own])
            total = total + F.cross_entropy(logits, y[own], reduction="sum", label_smoothing=smoothing)
    return total / len(y)


@torch.no_grad()
def deep_logits(model: GatingClassifier, pooled: np.ndarray, workload: str) -> np.ndarray:
    """Logits of one head. Shapes: pooled (N, 384) -> (N, L) float32."""
    model.eval()
    return torch.cat([model(chunk, workload) for chunk in torch.from_numpy(pooled).split(1024)]).numpy()


def mean_accuracy(model: GatingClassifier, held: Parts) -> float:
    """Accuracy of the deep heads alone, averaged over workloads."""
    rates = [
        float((deep_logits(model, part.features.pooled, name).argmax(axis=1) == part.y).mean())
        for name, part in held.items()
    ]
    return float(np.mean(rates))
