"""Separation from start to report: take the trunk apart, let it recover for a few steps, and hold it against controls.

The dense trunk is the teacher throughout: recovery follows its states, never a label. Beside the learned router stands
one that chooses by chance, taken apart and recovered in the same way, and the trunk without any feed-forward part: where
that loses nothing, the task says nothing about experts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from modelhub.ml.compress.separate import By, active_share
from modelhub.ml.compress.trunk_experts import (
    MOST_TOKENS,
    SAMPLE_TEXTS,
    DenseTrunk,
    LinearHeads,
    SeparatedTrunk,
    pooled,
)
from modelhub.ml.text.packing import Batch, TokenRows, pack
from modelhub.ml.text.pretrained import Pretrained
from modelhub.ml.train import checkpoint
from modelhub.ml.train.schedule import one_cycle

MOST_STEPS, YARDSTICK_TEXTS = 200, 500
Told = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Separation:
    """Experts a part is taken into, how many answer, by what neurons are grouped, and how recovery runs."""

    experts: int = 16
    k: int = 4
    by: By = "coactivation"
    steps: int = 200
    batch: int = 48
    rate: float = 5e-4
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Reference:
    """The dense trunk as it is measured against: its heads, and their accuracy on held-back rows."""

    heads: LinearHeads
    accuracy: dict[str, float]

    @classmethod
    def of(cls, trunk: Pretrained, rows: dict[str, TokenRows]) -> Reference:
        """Heads fitted on `train`, accuracy on `val`; the same for every seed."""
        dense, train, val = DenseTrunk(trunk), rows["train"], rows["val"]
        heads = LinearHeads(train.names).fit(train, pooled(dense, trunk, train))
        return cls(heads, heads.accuracy(val, pooled(dense, trunk, val)))


@dataclass(frozen=True, slots=True)
class Yardstick:
    """By what each output's squared error is divided, so that all count alike. Shapes: layers (L, D), pooled (D,)."""

    layers: Tensor
    pooled: Tensor

    @classmethod
    def of(cls, trunk: Pretrained, rows: TokenRows, rng: np.random.Generator) -> Yardstick:
        """Variances over some rows' dense states."""
        batch = _some(rows, YARDSTICK_TEXTS, rng)
        found, after = DenseTrunk(trunk)(trunk.embeddings()(batch), batch)
        used = batch.segment >= 0
        layers = torch.stack([state[used].var(dim=0) for state in after])
        return cls(_held(layers), _held(found.var(dim=0)))

    def loss(
        self, found: tuple[Tensor, list[Tensor]], wanted: tuple[Tensor, list[Tensor]], used: Tensor
    ) -> Tensor:
        """Mean squared error of the pooled states and of every layer's, each in units of its variance."""
        apart = [
            ((a[used] - b[used]).square().mean(dim=0) / variance).mean()
            for a, b, variance in zip(found[1], wanted[1], self.layers, strict=True)
        ]
        whole = ((found[0] - wanted[0]).square().mean(dim=0) / self.pooled).mean()
        return whole + torch.stack(apart).mean()


def _held(variance: Tensor) -> Tensor:
    """An output that the norm silences has no variance to divide by."""
    return variance.clamp_min(1e-4)


def recover(
    net: SeparatedTrunk,
    trunk: Pretrained,
    rows: TokenRows,
    config: Separation,
    *,
    work: Path | None = None,
    check: Callable[[], None] | None = None,
    progress: Told | None = None,
) -> list[float]:
    """Follow the dense trunk's states for `steps` steps, in place; gives the losses. Resumes from `work`.

    Raises ValueError for more than 200 steps: what needs more was not separated but trained anew.
    """
    if config.steps > MOST_STEPS:
        raise ValueError(f"steps={config.steps} must be at most {MOST_STEPS}")
    teacher, embed = DenseTrunk(trunk), trunk.embeddings()
    yardstick = Yardstick.of(trunk, rows, np.random.default_rng(config.seed))
    optimizer = torch.optim.AdamW(
        [p for p in net.parameters() if p.requires_grad], lr=config.rate, weight_decay=0.0
    )
    meta = checkpoint.restore(work, net, [optimizer]) if work is not None else None
    losses: list[float] = meta["losses"] if meta else []
    net.train()
    for step in range(len(losses), config.steps):
        if check is not None:
            check()
        torch.manual_seed(config.seed * 10_000 + step)
        batch = _some(rows, config.batch, np.random.default_rng((config.seed, step)))
        embedded = embed(batch)
        loss = yardstick.loss(net(embedded, batch), teacher(embedded, batch), batch.segment >= 0)
        for group in optimizer.param_groups:
            group["lr"] = one_cycle(step, config.steps, config.rate)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(round(float(loss.detach()), 5))
        if work is not None and (len(losses) % 25 == 0 or len(losses) == config.steps):
            checkpoint.save(work, net, [optimizer], {"step": len(losses), "losses": losses})
        if progress is not None:
            progress({"step": len(losses), "steps": config.steps, "loss": losses[-1]})
    net.eval()
    return losses


def _some(rows: TokenRows, count: int, rng: np.random.Generator) -> Batch:
    """So many rows by chance, or all where there are fewer."""
    return pack(rows, rng.choice(len(rows), min(count, len(rows)), replace=False), MOST_TOKENS)


def few(rows: TokenRows, most: int, seed: int = 0) -> TokenRows:
    """At most so many rows of each workload, by chance."""
    rng = np.random.default_rng(seed)
    chosen = [
        rng.permutation(np.flatnonzero(rows.workload == index))[:most] for index in range(len(rows.names))
    ]
    return rows.take(np.sort(np.concatenate(chosen)))


def run(
    trunk: Pretrained,
    rows: dict[str, TokenRows],
    config: Separation,
    *,
    reference: Reference | None = None,
    work: Path | None = None,
    check: Callable[[], None] | None = None,
    progress: Told | None = None,
) -> dict[str, Any]:
    """Accuracy of the dense trunk, of the separated one before and after recovery, and of both controls.

    `reference` saves the dense trunk's own pass where several seeds are run.
    """
    train, val = rows["train"], rows["val"]
    reference = reference or Reference.of(trunk, rows)
    heads = reference.heads
    report: dict[str, Any] = {"dense": reference.accuracy, "seed": config.seed}
    for name, random_router in (("learned_router", False), ("random_router", True)):
        net = _taken_apart(trunk, train, config, random_router)
        torch.manual_seed(config.seed)
        before = heads.accuracy(val, pooled(net.eval(), trunk, val))
        if progress is not None:
            progress({"what": name, "step": 0, "steps": config.steps, "accuracy": before["mean"]})
        losses = recover(
            net, trunk, train, config, work=None if work is None else work / name, check=check,
            progress=_named(progress, name),
        )  # fmt: skip
        torch.manual_seed(config.seed)
        after = heads.accuracy(val, pooled(net, trunk, val))
        report[name] = {"before": before, "after": after, "loss": [losses[0], losses[-1]] if losses else []}
        if not random_router:
            report["router_keeps"] = [round(share, 4) for share in net.kept]
            report["active_share_ffn"] = round(float(np.mean([active_share(part) for part in net.parts])), 4)
            net.set(silent=True)
            report["ffn_zero"] = heads.accuracy(val, pooled(net, trunk, val))
    report["share"] = report["learned_router"]["after"]["mean"] / report["dense"]["mean"]
    report["random_share"] = report["random_router"]["after"]["mean"] / report["dense"]["mean"]
    report["ffn_zero_share"] = report["ffn_zero"]["mean"] / report["dense"]["mean"]
    return report


def _named(progress: Told | None, name: str) -> Told | None:
    """The same listener, told which of the two runs."""
    return None if progress is None else partial(_tell, progress, name)


def _tell(progress: Told, name: str, told: dict[str, Any]) -> None:
    progress({"what": name, **told})


def _taken_apart(
    trunk: Pretrained, rows: TokenRows, config: Separation, random_router: bool
) -> SeparatedTrunk:
    """Both start from the same draw of rows and groups; torch's generator draws the control's choices."""
    torch.manual_seed(config.seed)
    rng = np.random.default_rng(config.seed)
    sample = _some(rows, SAMPLE_TEXTS, rng)
    return SeparatedTrunk(
        trunk, sample, experts=config.experts, k=config.k, by=config.by, rng=rng, random_router=random_router
    )
