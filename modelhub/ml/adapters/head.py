"""Training a head alone, on features of the frozen body: a low-rank adapter in front of it, folded in at the end."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from modelhub.ml.text import graphs
from modelhub.ml.text.blend import cross_entropy

AUTO_EPOCHS, PATIENCE, RATE, DECAY, BATCH = 40, 8, 3e-3, 0.01, 64


def train_head(
    weights: graphs.HeadWeights, parts: tuple[Any, Any], *, epochs: int, seed: int, batch: int = BATCH,
    multiplier: float = 1.0, progress: Callable[[dict[str, Any]], None], should_stop: Callable[[], bool], folder: Path | None,
) -> dict[str, Any]:  # fmt: skip
    """Best weights by held-back loss, their hash, the curve, whether it was stopped, processor seconds.

    `parts`: (x, offset, y) to learn from and to judge by, shapes (N, D), (N, L), (N,). `epochs` 0 stops by itself.
    Raises LossNotFinite.
    """
    import torch

    from modelhub.ml.adapters.inner import flat
    from modelhub.ml.adapters.lora import AdaptedHead
    from modelhub.ml.train import checkpoint

    most = epochs or AUTO_EPOCHS
    torch.manual_seed(seed)
    model = AdaptedHead(torch.tensor(weights.weight), torch.tensor(weights.bias))
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE * multiplier, weight_decay=DECAY)
    meta = checkpoint.restore(folder, model, [optimizer]) if folder else None
    curve: list[dict[str, float]] = meta["curve"] if meta else []
    cpu_s = float(meta.get("cpu_s", 0.0)) if meta else 0.0
    started, first, stopped = time.monotonic(), len(curve), False
    while len(curve) < most and not (not epochs and flat(curve, PATIENCE)):
        if should_stop():
            stopped = True
            break
        used = time.process_time()
        loss = _epoch(model, optimizer, parts[0], seed, len(curve), batch)
        point = {"epoch": len(curve) + 1, "loss": round(loss, 5), **_held_point(model, parts[1])}
        if not curve or point["held_loss"] < min(p["held_loss"] for p in curve):
            model.remember()
        curve.append(point)
        cpu_s += time.process_time() - used
        if folder is not None:
            told = {"step": len(curve), "curve": curve, "cpu_s": cpu_s}
            checkpoint.save(folder, model, [optimizer], told)
        pace = (time.monotonic() - started) / (len(curve) - first)
        progress(
            {"stage": "training", **point, "epochs": most, "eta_s": round(pace * (most - len(curve)), 1)}
        )
    best = {"weight": model.best_weight, "bias": model.best_bias}
    arrays = {name: value.numpy().copy() for name, value in best.items()}
    return {
        **arrays,
        "hash": checkpoint.weight_hash(best),
        "curve": curve,
        "stopped": stopped,
        "cpu_s": cpu_s,
    }


def _epoch(model: Any, optimizer: Any, part: Any, seed: int, epoch: int, batch: int) -> float:
    import torch
    from torch.nn import functional as F

    from modelhub.ml.adapters.inner import LossNotFinite

    order = np.random.default_rng((seed, epoch)).permutation(len(part[2]))
    x, offset, y = (torch.from_numpy(array) for array in part)
    total = 0.0
    for start in range(0, len(order), batch):
        chosen = torch.from_numpy(order[start : start + batch])
        loss = F.cross_entropy(model(x[chosen]) + offset[chosen], y[chosen], label_smoothing=0.05)
        if not torch.isfinite(loss):
            raise LossNotFinite(
                f"The loss became {float(loss.detach())} in epoch {epoch + 1}. Nothing of this run is kept: start it again with "
                f"a smaller learning_rate_multiplier (0.1, say)."
            )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += float(loss.detach()) * len(chosen)
    return total / len(order)


def _held_point(model: Any, held: Any) -> dict[str, float]:
    weight, bias = (array.numpy() for array in model.merged())
    x, offset, y = held
    logits = x @ weight.T + bias + offset
    right = (logits.argmax(axis=1) == y).mean()
    return {"held_loss": round(cross_entropy(logits, y), 5), "accuracy": round(float(right), 4)}
