"""Distilling a language model: the same loss and the same falling temperature, on every next token.

Teacher and student are whatever turns token ids into logits: our tiny DeepSeek-V3, one of transformers' models, or a
served graph. The teacher's manifest must say that it has converged, as for classifiers; here the caller checks that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modelhub.ml.distill.loop import LossNotFinite
from modelhub.ml.distill.losses import Direction, distill_step, hard_loss
from modelhub.ml.distill.schedule import TemperatureScheduler
from modelhub.ml.train import checkpoint
from modelhub.ml.train.schedule import one_cycle

Logits = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class CausalDistillation:
    """Length and speed of the run; `hard_share` is the weight of the text's own next token beside the teacher's view."""

    steps: int = 300
    batch: int = 16
    sequence: int = 64
    rate: float = 3e-3
    hard_share: float = 0.3
    direction: Direction = "forward"
    seed: int = 1
    save_every: int = 50


def logits_of(model: Any) -> Logits:
    """A model's logits (B, S, V) for ids (B, S): transformers' models and our own give them under `logits`."""

    def asked(ids: Tensor) -> Tensor:
        return model(ids).logits

    return asked


def batch_at(stream: np.ndarray, step: int, config: CausalDistillation) -> Tensor:
    """The batch of a step (B, S + 1), the same whenever it is asked for. Raises ValueError for too short a text."""
    room = len(stream) - config.sequence - 1
    if room < 1:
        raise ValueError(f"a text of {len(stream)} tokens is too short for sequences of {config.sequence}")
    starts = np.random.default_rng((config.seed, step)).integers(0, room, config.batch)
    return torch.from_numpy(np.stack([stream[s : s + config.sequence + 1] for s in starts]).astype(np.int64))


def distill_causal(
    teacher: Logits,
    student: nn.Module,
    stream: np.ndarray,
    config: CausalDistillation,
    *,
    work: Path | None = None,
    check: Callable[[], None] | None = None,
) -> list[float]:
    """Teach the student in place; gives the losses. Resumes from `work` to the weights of an unbroken run.

    Raises LossNotFinite, ValueError where teacher and student have vocabularies of other sizes.
    """
    optimizer = torch.optim.AdamW(student.parameters(), lr=config.rate, weight_decay=0.01)
    scheduler = TemperatureScheduler(5.0, 1.0, steps=config.steps)
    meta = checkpoint.restore(work, student, [optimizer]) if work is not None else None
    losses: list[float] = meta["losses"] if meta else []
    if meta:
        scheduler.load_state_dict(meta["scheduler"])
    asked = logits_of(student)
    student.train()
    for step in range(len(losses), config.steps):
        if check is not None:
            check()
        torch.manual_seed(config.seed * 10_000 + step)
        ids = batch_at(stream, step, config)
        with torch.no_grad():
            told = teacher(ids[:, :-1])
        found = asked(ids[:, :-1])
        if told.shape != found.shape:
            raise ValueError(f"the teacher answers {tuple(told.shape)}, the student {tuple(found.shape)}")
        flat, right = found.flatten(0, 1), ids[:, 1:].flatten()
        loss = (1 - config.hard_share) * distill_step(told.flatten(0, 1), flat, scheduler, config.direction)
        loss = loss + config.hard_share * hard_loss(flat, right)
        value = float(loss.detach())
        if not np.isfinite(value):
            raise LossNotFinite(
                f"the loss became {value} at step {step + 1}; lower the learning rate and go on"
            )
        for group in optimizer.param_groups:
            group["lr"] = one_cycle(step, config.steps, config.rate)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        losses.append(round(value, 5))
        if work is not None and (len(losses) % config.save_every == 0 or len(losses) == config.steps):
            kept = {"step": len(losses), "losses": losses, "scheduler": scheduler.state_dict()}
            checkpoint.save(work, student, [optimizer], kept)
    student.eval()
    return losses


@torch.no_grad()
def compare(teacher: Logits, student: Logits, ids: Tensor) -> dict[str, float]:
    """Agreement on the next token, mean KL(teacher‖student) in nats, and both losses on the text itself. ids (B, S + 1)."""
    told, found = (asked(ids[:, :-1]).flatten(0, 1).float() for asked in (teacher, student))
    right = ids[:, 1:].flatten()
    apart = F.kl_div(
        F.log_softmax(found, dim=-1), F.log_softmax(told, dim=-1), reduction="batchmean", log_target=True
    )
    return {
        "agreement": round(float((told.argmax(1) == found.argmax(1)).float().mean()), 4),
        "divergence": round(float(apart), 4),
        "teacher_loss": round(float(F.cross_entropy(told, right)), 4),
        "student_loss": round(float(F.cross_entropy(found, right)), 4),
        "tokens": len(right),
    }
