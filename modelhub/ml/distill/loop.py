"""Distilling the text teacher into the small student: one workload a step, one temperature update a step."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from modelhub.ml import features, tokens
from modelhub.ml.distill.losses import distill_step, hard_loss
from modelhub.ml.distill.schedule import TemperatureScheduler
from modelhub.ml.text.student import Student, make_bag
from modelhub.ml.train import checkpoint
from modelhub.ml.train.loop import Progress
from modelhub.ml.train.schedule import one_cycle


@dataclass(frozen=True, slots=True)
class Lesson:
    """A workload's rows for the student: token ids, the teacher's logits, and labels (−1 where there is none)."""

    ids: list[np.ndarray]
    teacher: np.ndarray
    y: np.ndarray


@dataclass(frozen=True, slots=True)
class DistillConfig:
    """How long and how fast; `hard_share` is the weight of the right labels beside the teacher's."""

    epochs: int = 12
    batch: int = 128
    rate: float = 2e-3
    wide_rate: float = 1e-2
    hard_share: float = 0.3
    ngram_drop: float = 0.3
    seed: int = 1


class _Optimizers:
    """AdamW for the dense parts, SparseAdam for tables of embeddings and n-grams, as if they were one."""

    def __init__(self, student: Student, config: DistillConfig) -> None:
        tables, words = student.parameters_of(sparse=True), student.encoder.words.weight
        dense = [p for p in student.parameters_of(sparse=False) if p is not words]
        self.peaks = (config.rate, config.wide_rate, config.rate * 2)
        self.parts = (
            torch.optim.AdamW(dense, lr=config.rate, weight_decay=0.01),
            torch.optim.SparseAdam(tables, lr=config.wide_rate),
            torch.optim.SparseAdam([words], lr=config.rate * 2),
        )

    def step(self, loss: Tensor, step: int, steps: int) -> None:
        """Back-propagate and move every part at its own rate of this step."""
        for part, peak in zip(self.parts, self.peaks, strict=True):
            for group in part.param_groups:
                group["lr"] = one_cycle(step, steps, peak)
            part.zero_grad()
        loss.backward()
        for part in self.parts:
            part.step()


def distill(
    student: Student,
    lessons: dict[str, Lesson],
    config: DistillConfig,
    *,
    work: Path | None = None,
    progress: Progress | None = None,
) -> list[dict[str, float]]:
    """Teach the student in place; gives the curve. The temperature falls from 5 to 1 over the whole run.

    An epoch seeds itself, so a resumed run sees the batches that an unbroken one would.
    """
    bags = {name: student.wide(name).bags(lesson.ids) for name, lesson in lessons.items()}
    per_epoch = len(_plan(lessons, config, 0))
    scheduler = TemperatureScheduler(5.0, 1.0, steps=per_epoch * config.epochs)
    optimizers = _Optimizers(student, config)
    curve: list[dict[str, float]] = []
    meta = checkpoint.restore(work, student, optimizers.parts) if work is not None else None
    if meta is not None:
        curve = meta["curve"]
        scheduler.load_state_dict(meta["scheduler"])
    for epoch in range(len(curve), config.epochs):
        torch.manual_seed(config.seed * 10_000 + epoch)
        rng = np.random.default_rng((config.seed, epoch))
        student.train()
        total = 0.0
        for index, (name, chosen) in enumerate(_plan(lessons, config, epoch)):
            loss = _loss(student, name, lessons[name], bags[name], chosen, scheduler, config, rng)
            optimizers.step(loss, epoch * per_epoch + index, per_epoch * config.epochs)
            total += float(loss.detach())
        curve.append(
            {"epoch": epoch + 1, "loss": round(total / per_epoch, 4), "temperature": round(scheduler.temp, 3)}
        )
        if work is not None:
            kept = {"step": epoch + 1, "curve": curve, "scheduler": scheduler.state_dict()}
            checkpoint.save(work, student, optimizers.parts, kept)
        if progress is not None:
            progress({**curve[-1], "epochs": config.epochs})
    student.eval()
    return curve


def _plan(lessons: dict[str, Lesson], config: DistillConfig, epoch: int) -> list[tuple[str, np.ndarray]]:
    """An epoch's batches: rows of one workload and of like length together, batches in random order."""
    rng = np.random.default_rng((config.seed, epoch, 7))
    batches = []
    for name, lesson in lessons.items():
        jitter = [min(len(row), features.trunk.MAX_TOKENS) * rng.uniform(0.8, 1.2) for row in lesson.ids]
        order = np.argsort(jitter)
        batches += [
            (name, order[start : start + config.batch]) for start in range(0, len(order), config.batch)
        ]
    return [batches[i] for i in rng.permutation(len(batches))]


def _loss(
    student: Student,
    name: str,
    lesson: Lesson,
    bags: list[tuple[np.ndarray, np.ndarray]],
    chosen: np.ndarray,
    scheduler: TemperatureScheduler,
    config: DistillConfig,
    rng: np.random.Generator,
) -> Tensor:
    logits = student_logits(
        student, name, [lesson.ids[i] for i in chosen], [bags[i] for i in chosen], config.ngram_drop, rng
    )
    teacher = torch.from_numpy(lesson.teacher[chosen])
    loss = (1 - config.hard_share) * distill_step(teacher, logits, scheduler)
    y = torch.from_numpy(lesson.y[chosen])
    known = y >= 0
    if known.any():
        loss = loss + config.hard_share * hard_loss(logits[known], y[known])
    return loss


def student_logits(
    student: Student,
    name: str,
    ids: list[np.ndarray],
    bags: list[tuple[np.ndarray, np.ndarray]],
    drop: float = 0.0,
    rng: np.random.Generator | None = None,
) -> Tensor:
    """Logits of one head for N texts. Gives (N, L)."""
    batch, mask = tokens.pad([features.cut(row) for row in ids])
    vector = student.encoder(torch.from_numpy(batch), torch.from_numpy(mask))
    return student.linear(name)(vector) + student.wide(name)(make_bag(bags, drop, rng))
