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
from torch.nn import functional as F

from modelhub.ml.compress.separate import By, active_share
from modelhub.ml.compress.trunk_experts import (
    MOST_TOKENS,
    SAMPLE_TEXTS,
    DenseTrunk,
    LinearHeads,
    SeparatedTrunk,
    pooled,
)
from modelhub.ml.text.packing import TokenRows, pack
from modelhub.ml.text.pretrained import Pretrained
from modelhub.ml.train import checkpoint
from modelhub.ml.train.schedule import one_cycle

MOST_STEPS = 200
Told = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Separation:
    """Experts a part is taken into, how many answer, by what neurons are grouped, and how recovery runs."""

    experts: int = 16
    k: int = 4
    by: By = "weights"
    steps: int = 150
    batch: int = 24
    rate: float = 1e-3
    seed: int = 1


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
    learned = [p for part in net.parts for p in part.parameters()]
    optimizer = torch.optim.AdamW(learned, lr=config.rate, weight_decay=0.0)
    meta = checkpoint.restore(work, net, [optimizer]) if work is not None else None
    losses: list[float] = meta["losses"] if meta else []
    net.train()
    for step in range(len(losses), config.steps):
        if check is not None:
            check()
        torch.manual_seed(config.seed * 10_000 + step)
        rng = np.random.default_rng((config.seed, step))
        batch = pack(rows, rng.choice(len(rows), config.batch, replace=False), MOST_TOKENS)
        embedded, used = embed(batch), batch.segment >= 0
        wanted, wanted_after = teacher(embedded, batch)
        found, after = net(embedded, batch)
        apart = [
            F.mse_loss(a[used], b[used]) / b[used].var() for a, b in zip(after, wanted_after, strict=True)
        ]
        loss = F.mse_loss(found, wanted) / wanted.var() + torch.stack(apart).mean()
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
    work: Path | None = None,
    check: Callable[[], None] | None = None,
    progress: Told | None = None,
) -> dict[str, Any]:
    """Accuracy of the dense trunk, of the separated one before and after recovery, and of both controls."""
    train, val = rows["train"], rows["val"]
    dense = DenseTrunk(trunk)
    heads = LinearHeads(train.names).fit(train, pooled(dense, trunk, train))
    report: dict[str, Any] = {"dense": heads.accuracy(val, pooled(dense, trunk, val)), "seed": config.seed}
    for name, random_router in (("learned_router", False), ("random_router", True)):
        net = _taken_apart(trunk, train, config)
        net.set(random_router=random_router)
        torch.manual_seed(config.seed)
        before = heads.accuracy(val, pooled(net.eval(), trunk, val))
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


def _taken_apart(trunk: Pretrained, rows: TokenRows, config: Separation) -> SeparatedTrunk:
    rng = np.random.default_rng(config.seed)
    sample = pack(rows, rng.choice(len(rows), min(SAMPLE_TEXTS, len(rows)), replace=False), MOST_TOKENS)
    return SeparatedTrunk(trunk, sample, experts=config.experts, k=config.k, by=config.by, rng=rng)
