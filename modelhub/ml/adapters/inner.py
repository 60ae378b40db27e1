"""Training an adapter inside a frozen text encoder, with the head on top: resumable, stopped early, never past a NaN.

Between two checkpoints lies a stretch of at most STRETCH rows. Everything random follows from (seed, epoch), so a run that
was killed at any moment goes on from its last stretch and ends with the weights of an unbroken one, on a processor.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modelhub.ml.adapters.inject import AdaptedEncoder, Adapter
from modelhub.ml.adapters.seen import TopExpert, TopStates
from modelhub.ml.adapters.states import States
from modelhub.ml.text.blend import cross_entropy
from modelhub.ml.text.encoder import SparseEncoder
from modelhub.ml.train import checkpoint

STRETCH, EVALUATED, WARM, LEAST = 1024, 64, 0.06, 0.02
SMOOTHING, DECAY, CLIP = 0.05, 0.01, 1.0
ADAPTER_RATE, HEAD_RATE = 3e-3, 3e-3
BATCH, SEEN_ROWS, FEWEST_EPOCHS, MOST_EPOCHS, PATIENCE = 32, 3000, 2, 8, 2

Encoder = AdaptedEncoder | TopExpert


class LossNotFinite(ValueError):
    """The loss is no number any more: what was learned is worth nothing, and nothing is kept."""


@dataclass(frozen=True, slots=True)
class Settings:
    """`epochs` 0 decides by the number of rows and stops early; the multiplier scales both rates.

    `seen`: how many rows such a run sees, about.
    """

    epochs: int = 0
    batch: int = BATCH
    multiplier: float = 1.0
    seed: int = 0
    seen: int = SEEN_ROWS

    def planned(self, rows: int) -> int:
        """Epochs at most: about `seen` rows are seen where nobody said otherwise."""
        if self.epochs:
            return self.epochs
        return min(MOST_EPOCHS, max(FEWEST_EPOCHS, round(self.seen / max(1, rows))))


@dataclass(frozen=True, slots=True)
class Examples:
    """Texts as states, the wide channel's share of their logits, right labels. Shapes: offset (N, L), y (N,) int64."""

    states: States | TopStates
    offset: np.ndarray
    y: np.ndarray


class Tuned(nn.Module):
    """Adapter and head, and the best of them so far, which travel with checkpoints. Shapes: weight (L, D), bias (L,)."""

    def __init__(self, adapter: Adapter, weight: np.ndarray, bias: np.ndarray) -> None:
        super().__init__()
        self.adapter = adapter
        self.weight, self.bias = (
            nn.Parameter(torch.tensor(weight)),
            nn.Parameter(torch.tensor(bias)),
        )
        for name, value in list(self.named_parameters()):
            self.register_buffer("best_" + name.replace(".", "_"), value.detach().clone())

    @torch.no_grad()
    def remember(self) -> None:
        for name, value in self.named_parameters():
            self.get_buffer("best_" + name.replace(".", "_")).copy_(value)

    @torch.no_grad()
    def recall(self) -> None:
        """Take the best weights back."""
        for name, value in self.named_parameters():
            value.copy_(self.get_buffer("best_" + name.replace(".", "_")))


@dataclass(slots=True)
class Outcome:
    """`cpu_s`: processor seconds of the steps, those of a broken run's part included."""

    model: Tuned
    curve: list[dict[str, float]] = field(default_factory=list)
    stopped: bool = False
    cpu_s: float = 0.0
    hash: str = ""


def train_inner(
    trunk: SparseEncoder, model: Tuned, train: Examples, held: Examples, settings: Settings, *,
    folder: Path | None = None, progress: Callable[[dict[str, Any]], None] = lambda told: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Outcome:  # fmt: skip
    """Train in place; gives the model with its best weights, by the loss on the rows held back.

    A run that `should_stop` ends is marked stopped and goes on from its last stretch. Raises LossNotFinite.
    """
    encoder = train.states.encoder(trunk, model.adapter)
    optimizer = _optimizer(model, settings)
    meta = (checkpoint.restore(folder, model, [optimizer]) if folder else None) or {
        "step": 0,
        "curve": [],
        "loss": 0.0,
        "cpu_s": 0.0,
    }
    outcome, loss = Outcome(model, meta["curve"], cpu_s=meta["cpu_s"]), float(meta["loss"])
    epochs, each = settings.planned(len(train.y)), math.ceil(len(train.y) / STRETCH)
    first, began = meta["step"], time.monotonic()
    for step in range(first, epochs * each):
        epoch, stretch = divmod(step, each)
        if not settings.epochs and stretch == 0 and flat(outcome.curve, PATIENCE):
            break
        used = time.process_time()
        rows = _rows_of(settings, len(train.y), epoch, stretch)
        added = _stretch(encoder, model, optimizer, train, rows, settings, (step, epochs * each), should_stop)
        if added is None:
            outcome.stopped = True
            return outcome
        loss += added
        if stretch == each - 1:
            point = {
                "epoch": epoch + 1,
                "loss": round(loss / len(train.y), 5),
                **held_point(encoder, model, held),
            }
            if not outcome.curve or point["held_loss"] < min(p["held_loss"] for p in outcome.curve):
                model.remember()
            outcome.curve.append(point)
            loss = 0.0
        outcome.cpu_s += time.process_time() - used
        if folder is not None:
            told = {"step": step + 1, "curve": outcome.curve, "loss": loss, "cpu_s": outcome.cpu_s}
            checkpoint.save(folder, model, [optimizer], told)
        pace = (time.monotonic() - began) / (step + 1 - first)
        last = outcome.curve[-1] if outcome.curve else {}
        progress({"stage": "training", **last, "done": step + 1, "of": epochs * each, "epochs": epochs,
                  "eta_s": round(pace * (epochs * each - step - 1), 1), "new": stretch == each - 1})  # fmt: skip
    model.recall()
    outcome.hash = checkpoint.weight_hash({name: value.detach() for name, value in model.named_parameters()})
    return outcome


def _optimizer(model: Tuned, settings: Settings) -> torch.optim.Optimizer:
    groups = [
        {"params": list(model.adapter.parameters()), "peak": ADAPTER_RATE * settings.multiplier},
        {"params": [model.weight, model.bias], "peak": HEAD_RATE * settings.multiplier},
    ]
    return torch.optim.AdamW(groups, lr=ADAPTER_RATE, weight_decay=DECAY)


def _rows_of(settings: Settings, rows: int, epoch: int, stretch: int) -> np.ndarray:
    order = np.random.default_rng((settings.seed, epoch)).permutation(rows)
    return order[stretch * STRETCH : (stretch + 1) * STRETCH]


def _stretch(
    encoder: Encoder, model: Tuned, optimizer: torch.optim.Optimizer, data: Examples, rows: np.ndarray,
    settings: Settings, place: tuple[int, int], should_stop: Callable[[], bool],
) -> float | None:  # fmt: skip
    """Summed loss over the rows; None when somebody asked to stop, and then this stretch counts for nothing."""
    total = 0.0
    for begin in range(0, len(rows), settings.batch):
        if should_stop():
            return None
        which = rows[begin : begin + settings.batch]
        at = (place[0] + begin / len(rows)) / place[1]
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * min(1.0, (at + 1e-3) / WARM) * max(LEAST, 1.0 - at)
        logits = logits_of(encoder, model, data, which)
        loss = F.cross_entropy(logits, torch.from_numpy(data.y[which]), label_smoothing=SMOOTHING)
        if not torch.isfinite(loss):
            raise LossNotFinite(
                f"The loss became {float(loss.detach())} after {place[0] * STRETCH + begin} rows, at learning_rate_multiplier "
                f"{settings.multiplier:g}. Nothing of this run is kept: start it again with a smaller one (0.1, say)."
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        total += float(loss.detach()) * len(which)
    return total


def logits_of(encoder: Encoder, model: Tuned, data: Examples, which: np.ndarray) -> Tensor:
    """Shapes: which (N,) -> (N, L)."""
    x, batch = data.states.batch(which)
    features = encoder(x, batch.segment, batch.texts)
    return F.linear(features, model.weight, model.bias) + torch.from_numpy(data.offset[which])


@torch.no_grad()
def all_logits(encoder: Encoder, model: Tuned, data: Examples) -> np.ndarray:
    """Logits of every row, in order. Gives (N, L) float32."""
    parts = _parts(len(data.y))
    found = [logits_of(encoder, model, data, which).numpy() for which in parts]
    return np.concatenate(found) if found else np.zeros_like(data.offset)


def _parts(rows: int) -> Iterator[np.ndarray]:
    for begin in range(0, rows, EVALUATED):
        yield np.arange(begin, min(rows, begin + EVALUATED))


def held_point(encoder: Encoder, model: Tuned, held: Examples) -> dict[str, float]:
    """Loss and accuracy on rows held back."""
    logits = all_logits(encoder, model, held)
    right = float((logits.argmax(axis=1) == held.y).mean())
    return {"held_loss": round(cross_entropy(logits, held.y), 5), "accuracy": round(right, 4)}


def flat(curve: list[dict[str, float]], patience: int) -> bool:
    """Whether the held-back loss has not fallen for so many epochs."""
    losses = [point["held_loss"] for point in curve]
    return len(losses) > patience and min(losses[-patience:]) >= min(losses[:-patience])
