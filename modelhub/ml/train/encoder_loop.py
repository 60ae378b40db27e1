"""Training a text encoder on all workloads at once: on any device, by steps or by a budget of processor time, resumable."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from modelhub.ml.moe.gate import Routing
from modelhub.ml.text.encoder import SparseEncoder, mean_by_text
from modelhub.ml.text.packing import Batch, Embeddings, TokenRows, invent, pack, pack_pieces
from modelhub.ml.text.pretrained import states
from modelhub.ml.train import checkpoint
from modelhub.ml.train.schedule import one_cycle

BALANCE_RATE = 0.001
Progress = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class EncoderTraining:
    """How long, how fast, and where.

    `budget_s` counts processor time of the training steps alone and overrides `epochs`; `recall` weighs, falling to
    nothing, how far the pooled state is from the trunk's own; `evenness` 1 draws rows as they are, 0 every workload alike.
    `invented` texts are added to every batch, whose only target is the trunk's state, computed on the spot: cheap on an
    accelerator, dear on a processor.
    """

    epochs: float = 10.0
    budget_s: float | None = None
    batch: int = 192
    rate: float = 3e-4
    new_rate: float = 2e-3
    decay: float = 0.01
    smoothing: float = 0.05
    z_weight: float = 1e-4
    recall: float = 2.0
    invented: int = 0
    evenness: float = 0.7
    width: int = 256
    evaluations: int = 20
    seed: int = 1
    device: str = "cpu"
    half: bool = False
    form: str | None = None


@dataclass(slots=True)
class Materials:
    """What every run on a machine shares. Shapes: targets (N, 384), the trunk's pooled states of the training rows.

    `trunk` holds its weights on the run's device, for invented texts.
    """

    embeddings: Embeddings
    train: TokenRows
    val: TokenRows
    targets: Tensor
    trunk: dict[str, Tensor] = field(default_factory=dict)
    _batches: dict[tuple[int, int], list[tuple[np.ndarray, Batch]]] = field(default_factory=dict)

    def val_batches(self, device: str, width: int) -> list[tuple[np.ndarray, Batch]]:
        """The validation rows packed once, with their positions."""
        key = (id(self.val), width)
        if key not in self._batches:
            parts = np.array_split(np.arange(len(self.val)), max(1, len(self.val) // 256))
            self._batches[key] = [(part, pack(self.val, part, width).to(device)) for part in parts]
        return self._batches[key]


class HeadMap:
    """All heads as one product: which columns belong to which workload. Shapes: allowed (W, L) of bool, first (W,)."""

    def __init__(self, model: SparseEncoder, device: str) -> None:
        sizes = list(model.head_sizes.values())
        self.names, ends = list(model.head_sizes), np.cumsum(sizes)
        self.first = torch.from_numpy(ends - sizes).to(device)
        self.allowed = torch.zeros(len(sizes), int(ends[-1]), dtype=torch.bool)
        for index, end in enumerate(ends):
            self.allowed[index, end - sizes[index] : end] = True
        self.allowed = self.allowed.to(device)

    def logits(self, model: SparseEncoder, features: Tensor, workload: Tensor) -> Tensor:
        """Shapes: features (N, D), workload (N,) -> (N, L), far below zero outside a row's own head."""
        heads = [model.head(name) for name in self.names]
        weight, bias = torch.cat([h.weight for h in heads]), torch.cat([h.bias for h in heads])
        return F.linear(features, weight, bias).float().masked_fill(~self.allowed[workload], -1e4)

    def loss(self, logits: Tensor, y: Tensor, workload: Tensor, smoothing: float) -> Tensor:
        """Mean cross-entropy, smoothed over a row's own labels. Shapes: logits (N, L), y (N,)."""
        logs, own = logits.log_softmax(dim=1), self.allowed[workload]
        right = logs.gather(1, (y + self.first[workload])[:, None]).squeeze(1)
        spread = logs.masked_fill(~own, 0.0).sum(dim=1) / own.sum(dim=1)
        return -((1 - smoothing) * right + smoothing * spread).mean()


def train_encoder(
    model: SparseEncoder,
    materials: Materials,
    config: EncoderTraining,
    *,
    work: Path | None = None,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Train in place and give the curve: per evaluation loss, accuracy, experts used, processor seconds so far.

    Between two evaluations everything random is seeded from (seed, number), so a resumed run goes on as it would have.
    """
    device = config.device
    model.to(device)
    optimizer = _optimizer(model, config)
    meta = checkpoint.restore(work, model, [optimizer]) if work is not None else None
    curve: list[dict[str, Any]] = meta["curve"] if meta else []
    heads, rows = HeadMap(model, device), materials.train
    steps = max(config.evaluations, round(config.epochs * len(rows) / config.batch))
    used = float(curve[-1]["cpu_s"]) if curve else 0.0
    tensors = [torch.from_numpy(a).to(device) for a in (rows.y, rows.workload)]
    targets = materials.targets.to(device)
    for number in range(len(curve), config.evaluations):
        torch.manual_seed(config.seed * 10_000 + number)
        model.train()
        losses, done, started = torch.zeros((), device=device), 0, time.process_time()
        for batch, which, made in _draw(rows, config, number):
            spent = used + time.process_time() - started
            at = _fraction(config, number, done, steps, spent)
            if at is None:
                break
            _set_rates(optimizer, at)
            chosen = torch.from_numpy(which).to(device)
            answers = (tensors[0][chosen], tensors[1][chosen], targets[chosen])
            losses += _step(model, optimizer, heads, materials, batch.to(device), answers, config, at)
            if made is not None:
                _listen(model, optimizer, materials, made.to(device), config)
            done += 1
        used += time.process_time() - started
        point = {"evaluation": number + 1, "steps": done, "cpu_s": round(used, 1)}
        point |= {"loss": round(float(losses) / max(1, done), 4), **evaluate(model, materials, config)[0]}
        curve.append(point)
        if work is not None:
            checkpoint.save(work, model, [optimizer], {"step": number + 1, "curve": curve})
        if progress is not None:
            progress({"epoch": number + 1, "epochs": config.evaluations, **point})
    return curve


def _fraction(config: EncoderTraining, number: int, done: int, steps: int, spent: float) -> float | None:
    """How much of the run is behind us, 0 to 1; None when this stretch between two evaluations is over."""
    if config.budget_s is not None:
        at = spent / config.budget_s
        return None if at >= (number + 1) / config.evaluations else at
    first, last = (round(steps * n / config.evaluations) for n in (number, number + 1))
    return None if first + done >= last else (first + done) / steps


def _draw(
    rows: TokenRows, config: EncoderTraining, number: int
) -> Iterator[tuple[Batch, np.ndarray, Batch | None]]:
    """Batches without end, rows drawn by workload size to the power `evenness`; beside each one of invented texts."""
    rng = np.random.default_rng((config.seed, number))
    sizes = np.bincount(rows.workload, minlength=len(rows.names)).astype(float)
    chance = sizes[rows.workload] ** (config.evenness - 1.0)
    chance /= chance.sum()
    while True:
        many = rng.choice(len(rows), (32, min(config.batch, len(rows))), p=chance)
        for which in many:
            made = pack_pieces(invent(rows, config.invented, rng), config.width) if config.invented else None
            yield pack(rows, which, config.width), which, made


def _optimizer(model: SparseEncoder, config: EncoderTraining) -> torch.optim.Optimizer:
    """Weights that come from the trunk learn slowly, new ones fast; vectors aren't decayed."""
    new = ("heads.", "norm.", "enter.", "recall.")
    groups: dict[tuple[bool, bool], list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        fast = model.config.start == "random" or name.startswith(new) or ".gate." in name
        if parameter.numel():
            groups.setdefault((fast, parameter.dim() > 1), []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": group,
                "peak": config.new_rate if fast else config.rate,
                "weight_decay": config.decay * matrix,
            }
            for (fast, matrix), group in sorted(groups.items())
        ],
        lr=config.rate,
        fused=config.device.startswith("cuda"),
    )


def _set_rates(optimizer: torch.optim.Optimizer, at: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = one_cycle(min(9_999, int(at * 10_000)), 10_000, group["peak"], warm=0.06)


def autocast(config: EncoderTraining) -> contextlib.AbstractContextManager[Any]:
    """bfloat16 products where the run asks for them; the gate and the losses stay in float32."""
    if not config.half:
        return contextlib.nullcontext()
    return torch.autocast(config.device.split(":")[0], torch.bfloat16)


def _step(
    model: SparseEncoder,
    optimizer: torch.optim.Optimizer,
    heads: HeadMap,
    materials: Materials,
    batch: Batch,
    answers: tuple[Tensor, Tensor, Tensor],
    config: EncoderTraining,
    at: float,
) -> Tensor:
    y, workload, target = answers
    with torch.no_grad():
        embedded = materials.embeddings(batch)
    with autocast(config):
        pooled, routings = model(model.dropout(embedded), batch.segment, batch.texts, config.form)
        features = model.dropout(model.features(pooled))
        logits = heads.logits(model, features, workload)
    loss = heads.loss(logits, y, workload, config.smoothing)
    task = loss.detach()
    loss = loss + config.recall * (1 - at) * _distance(model, pooled, target)
    _learn(model, optimizer, loss, routings, batch, config)
    return task


def _listen(
    model: SparseEncoder,
    optimizer: torch.optim.Optimizer,
    materials: Materials,
    batch: Batch,
    config: EncoderTraining,
) -> None:
    """One step towards the trunk's states on invented texts."""
    with torch.no_grad(), autocast(config):
        embedded = materials.embeddings(batch)
        target = mean_by_text(states(materials.trunk, embedded, batch)[0], batch.segment, batch.texts)
    with autocast(config):
        pooled, routings = model(model.dropout(embedded), batch.segment, batch.texts, config.form)
    _learn(model, optimizer, config.recall * _distance(model, pooled, target), routings, batch, config)


def _distance(model: SparseEncoder, pooled: Tensor, target: Tensor) -> Tensor:
    return (1 - F.cosine_similarity(model.recall(pooled).float(), target, dim=1)).mean()


def _learn(
    model: SparseEncoder,
    optimizer: torch.optim.Optimizer,
    loss: Tensor,
    routings: list[Routing],
    batch: Batch,
    config: EncoderTraining,
) -> None:
    for routing in routings:
        loss = loss + config.z_weight * routing.z_loss
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    _balance(model, routings, batch.segment >= 0)


@torch.no_grad()
def _balance(model: SparseEncoder, routings: list[Routing], used: Tensor) -> None:
    """Move each gate's selection bias by the load of this step, filling left out (loss-free balancing)."""
    gates = [block.experts.gate for block in model.blocks]
    for gate, routing in zip([g for g in gates if g is not None], routings, strict=True):
        load = expert_load(routing, used, len(gate.selection_bias))
        gate.selection_bias += BALANCE_RATE * torch.sign(load.mean() - load)


def expert_load(routing: Routing, used: Tensor, experts: int) -> Tensor:
    """Tokens that each expert saw. Shapes: used (S, T) of bool -> (E,) float32."""
    counted = (routing.weights > 0) & used.flatten()[:, None]
    load = torch.zeros(experts, device=used.device)
    return load.index_add(0, routing.experts.flatten(), counted.float().flatten())


@torch.no_grad()
def evaluate(
    model: SparseEncoder, materials: Materials, config: EncoderTraining
) -> tuple[dict[str, Any], dict[str, np.ndarray], np.ndarray]:
    """Accuracy on the validation rows, logits by workload (N, L), and the tokens that each expert saw (layers, E)."""
    model.eval()
    heads, rows = HeadMap(model, config.device), materials.val
    found, loads, chosen, tokens = [], [], 0.0, 0.0
    for which, batch in materials.val_batches(config.device, config.width):
        workload = torch.from_numpy(rows.workload[which]).to(config.device)
        with autocast(config):
            pooled, routings = model(materials.embeddings(batch), batch.segment, batch.texts, config.form)
            found.append(heads.logits(model, model.features(pooled), workload).cpu().numpy())
        used = batch.segment >= 0
        tokens += float(used.sum())
        if routings:
            loads.append(torch.stack([expert_load(r, used, model.config.experts) for r in routings]))
            chosen += float(torch.stack([(r.chosen * used.flatten()).sum() for r in routings]).float().mean())
    flat = np.concatenate(found)
    logits, right = {}, np.zeros(len(rows), bool)
    for index, name in enumerate(heads.names):
        own = np.flatnonzero(rows.workload == index)
        first = int(heads.first[index])
        logits[name] = flat[own, first : first + model.head_sizes[name]]
        right[own] = logits[name].argmax(axis=1) == rows.y[own]
    by_workload = {
        name: round(float(right[rows.workload == i].mean()), 4)
        for i, name in enumerate(heads.names)
        if (rows.workload == i).any()
    }
    report = {
        "accuracy": round(float(right.mean()), 4),
        "mean": round(float(np.mean(list(by_workload.values()))), 4),
        "by_workload": by_workload,
        "experts_used": round(chosen / tokens, 3) if loads else 0.0,
    }
    return report, logits, torch.stack(loads).sum(dim=0).cpu().numpy() if loads else np.zeros((0, 0))


def reached_plateau(scores: list[float], rows: int) -> bool:
    """Whether the best of the last five scores is not above the five before by more than half a standard error."""
    if len(scores) < 10:
        return False
    before, last = max(scores[-10:-5]), max(scores[-5:])
    error = math.sqrt(max(before * (1 - before), 1e-9) / rows)
    return last - before <= 0.5 * error
