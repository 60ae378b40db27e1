"""Distilling the text teacher into the small student: one workload a step, one temperature update a step.

Between the workloads' steps the operator's risk head learns from rows of its own, in the same encoder.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from modelhub.ml import features, tokens
from modelhub.ml.distill.losses import Direction, distill_step, hard_loss, soft_loss
from modelhub.ml.distill.schedule import TemperatureScheduler
from modelhub.ml.text.student import Student, make_bag
from modelhub.ml.train import checkpoint
from modelhub.ml.train.loop import Progress
from modelhub.ml.train.schedule import one_cycle

RISK, MASK = "risk head", 103  # the token that stands for any word
Bags = list[tuple[np.ndarray, np.ndarray]]


class LossNotFinite(ArithmeticError):
    """The loss became no number; the last checkpoint is kept."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """A workload's rows for the student: token ids, the teacher's logits, and labels (−1 where there is none).

    `partners`: the same texts with groups swapped (a row's own ids where it names none); the student then learns to
    answer both alike. `shares`: how often each row is drawn, to balance groups; without it each comes once an epoch.
    """

    ids: list[np.ndarray]
    teacher: np.ndarray
    y: np.ndarray
    partners: list[np.ndarray] | None = None
    shares: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class RiskLesson:
    """Rows of the risk head: token ids, kinds (N, 3) of 0, 1 and −1 (open), partners' ids, and how often each is drawn."""

    ids: list[np.ndarray]
    kinds: np.ndarray
    partners: list[np.ndarray]
    shares: np.ndarray


@dataclass(frozen=True, slots=True)
class DistillConfig:
    """How long and how fast; `hard_share` is the weight of the right labels beside the teacher's.

    `pair_weight`: of the difference between a text's answer and its swapped copy's; `risk_rows`: drawn an epoch;
    `risk_blank`: share of their words that are hidden, so that a form is learnt and not the words that filled it.
    """

    epochs: int = 12
    batch: int = 128
    rate: float = 2e-3
    wide_rate: float = 1e-2
    hard_share: float = 0.3
    ngram_drop: float = 0.3
    direction: Direction = "forward"
    pair_weight: float = 0.3
    risk_rows: int = 20_000
    risk_blank: float = 0.0
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

    def as_before(self) -> None:
        """After a restore: SparseAdam counts steps in whole numbers, and a float32 count rounds its corrections otherwise."""
        for part in self.parts[1:]:
            for state in part.state.values():
                state["step"] = int(state["step"])

    def step(self, loss: Tensor, step: int, steps: int) -> None:
        """Back-propagate and move every part at its own rate of this step."""
        for part, peak in zip(self.parts, self.peaks, strict=True):
            for group in part.param_groups:
                group["lr"] = one_cycle(step, steps, peak)
            part.zero_grad()
        loss.backward()
        for part in self.parts:
            part.step()


@dataclass(slots=True)
class _Class:
    """All that a step needs: the lessons, their wide features, and the temperature."""

    student: Student
    lessons: dict[str, Lesson]
    risk: RiskLesson | None
    config: DistillConfig
    scheduler: TemperatureScheduler
    bags: dict[str, Bags] = field(default_factory=dict)
    partner_bags: dict[str, Bags] = field(default_factory=dict)


def distill(
    student: Student,
    lessons: dict[str, Lesson],
    config: DistillConfig,
    *,
    risk: RiskLesson | None = None,
    work: Path | None = None,
    progress: Progress | None = None,
    check: Callable[[], None] | None = None,
) -> list[dict[str, float]]:
    """Teach the student in place; gives the curve. The temperature falls from 5 to 1 over the whole run.

    An epoch seeds itself, so a resumed run sees the batches that an unbroken one would. `check` is called before every
    batch and may raise to stop. Raises LossNotFinite.
    """
    taught = sum(1 for name, _ in _plan(lessons, None, config, 0) if name != RISK)
    steps = len(_plan(lessons, risk, config, 0)) * config.epochs
    scheduler = TemperatureScheduler(5.0, 1.0, steps=taught * config.epochs)
    room = _Class(student, lessons, risk, config, scheduler)
    for name, lesson in lessons.items():
        room.bags[name] = student.wide(name).bags(lesson.ids)
        if lesson.partners is not None:
            room.partner_bags[name] = student.wide(name).bags(lesson.partners)
    optimizers = _Optimizers(student, config)
    curve: list[dict[str, float]] = []
    meta = checkpoint.restore(work, student, optimizers.parts) if work is not None else None
    if meta is not None:
        curve = meta["curve"]
        scheduler.load_state_dict(meta["scheduler"])
        optimizers.as_before()
    for epoch in range(len(curve), config.epochs):
        loss, risky = _epoch(room, optimizers, epoch, steps, check)
        row = {"epoch": epoch + 1, "loss": round(loss, 4), "temperature": round(scheduler.temp, 3)}
        curve.append(row | ({"risk_loss": round(risky, 4)} if risk is not None else {}))
        if work is not None:
            kept = {"step": epoch + 1, "curve": curve, "scheduler": scheduler.state_dict()}
            checkpoint.save(work, student, optimizers.parts, kept)
        if progress is not None:
            progress({**curve[-1], "epochs": config.epochs})
    student.eval()
    return curve


def _epoch(
    room: _Class, optimizers: _Optimizers, epoch: int, steps: int, check: Callable[[], None] | None
) -> tuple[float, float]:
    """One pass over all lessons; gives the mean loss of the workloads and of the risk head."""
    config, student = room.config, room.student
    torch.manual_seed(config.seed * 10_000 + epoch)
    rng = np.random.default_rng((config.seed, epoch))
    student.train()
    totals: dict[bool, list[float]] = {False: [], True: []}
    plan = _plan(room.lessons, room.risk, config, epoch)
    for index, (name, chosen) in enumerate(plan):
        if check is not None:
            check()
        risky = name == RISK
        loss = (
            _risk_loss(student, room.risk, chosen, config, rng) if risky else _loss(room, name, chosen, rng)
        )
        value = float(loss.detach())
        if not np.isfinite(value):
            why = f"the loss of {name} became {value} in epoch {epoch + 1}; lower the learning rate and go on"
            raise LossNotFinite(why)
        optimizers.step(loss, epoch * len(plan) + index, steps)
        totals[risky].append(value)
    return float(np.mean(totals[False])), float(np.mean(totals[True])) if totals[True] else 0.0


def _plan(
    lessons: dict[str, Lesson], risk: RiskLesson | None, config: DistillConfig, epoch: int
) -> list[tuple[str, np.ndarray]]:
    """An epoch's batches: rows of one workload and of like length together, batches in random order."""
    rng = np.random.default_rng((config.seed, epoch, 7))
    batches: list[tuple[str, np.ndarray]] = []

    def deal(name: str, ids: list[np.ndarray], drawn: np.ndarray) -> None:
        jitter = [min(len(ids[i]), features.trunk.MAX_TOKENS) * rng.uniform(0.8, 1.2) for i in drawn]
        order = drawn[np.argsort(jitter)]
        batches.extend((name, order[at : at + config.batch]) for at in range(0, len(order), config.batch))

    for name, lesson in lessons.items():
        rows = np.arange(len(lesson.ids))
        deal(
            name, lesson.ids, rows if lesson.shares is None else rng.choice(rows, len(rows), p=lesson.shares)
        )
    if risk is not None:
        count = min(config.risk_rows, len(risk.ids))
        deal(RISK, risk.ids, rng.choice(len(risk.ids), count, replace=False, p=risk.shares))
    return [batches[i] for i in rng.permutation(len(batches))]


def _loss(room: _Class, name: str, chosen: np.ndarray, rng: np.random.Generator) -> Tensor:
    """What the student has yet to learn of one batch: the teacher's view, the right labels, and even-handedness."""
    lesson, config, bags = room.lessons[name], room.config, room.bags[name]
    own = [lesson.ids[i] for i in chosen]
    logits = student_logits(room.student, name, own, [bags[i] for i in chosen], config.ngram_drop, rng)
    teacher = torch.from_numpy(lesson.teacher[chosen]).to(logits.device)
    loss = (1 - config.hard_share) * distill_step(teacher, logits, room.scheduler, config.direction)
    known = np.flatnonzero(lesson.y[chosen] >= 0)
    if len(known):
        y = torch.from_numpy(lesson.y[chosen][known]).to(logits.device)
        loss = loss + config.hard_share * hard_loss(logits[torch.from_numpy(known).to(logits.device)], y)
    if lesson.partners is not None:
        swapped = room.partner_bags[name]
        other = student_logits(
            room.student, name, [lesson.partners[i] for i in chosen], [swapped[i] for i in chosen], config.ngram_drop, rng
        )  # fmt: skip
        both = soft_loss(logits, other, 1.0) + soft_loss(other, logits, 1.0)
        loss = loss + config.pair_weight * both / 2
    return loss


def _risk_loss(
    student: Student,
    risk: RiskLesson | None,
    chosen: np.ndarray,
    config: DistillConfig,
    rng: np.random.Generator,
) -> Tensor:
    """Cross-entropy of the kinds that are known, and the squared gap between a row and its partner."""
    assert risk is not None
    found, other = (
        risk_logits(student, [_blanked(rows[i], config.risk_blank, rng) for i in chosen])
        for rows in (risk.ids, risk.partners)
    )
    kinds = torch.from_numpy(risk.kinds[chosen]).to(found.device)
    known = (kinds >= 0).float()
    each = F.binary_cross_entropy_with_logits(found, kinds.clamp_min(0), reduction="none")
    each = each + F.binary_cross_entropy_with_logits(other, kinds.clamp_min(0), reduction="none")
    loss = (each * known).sum() / (2 * known.sum().clamp_min(1))
    return loss + config.pair_weight * F.mse_loss(found, other)


def _blanked(row: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """A share of a row's words hidden, its marks kept; for 0 the row itself. Shapes: (T,) -> (T,)."""
    if not share:
        return row
    hidden = rng.random(len(row)) < share
    hidden[[0, -1]] = False
    return np.where(hidden, MASK, row)


def student_logits(
    student: Student,
    name: str,
    ids: list[np.ndarray],
    bags: Bags,
    drop: float = 0.0,
    rng: np.random.Generator | None = None,
) -> Tensor:
    """Logits of one head for N texts. Gives (N, L)."""
    bag = make_bag(bags, drop, rng).to(device_of(student))
    return student.linear(name)(_vectors(student, ids)[0]) + student.wide(name)(bag)


def risk_logits(student: Student, ids: list[np.ndarray]) -> Tensor:
    """Log-odds of each kind of harm for N texts. Gives (N, 3)."""
    return student.risk(*_vectors(student, ids))


def _vectors(student: Student, ids: list[np.ndarray]) -> tuple[Tensor, Tensor]:
    batch, mask = tokens.pad([features.cut(row) for row in ids])
    device = device_of(student)
    return student.encoder.both(torch.from_numpy(batch).to(device), torch.from_numpy(mask).to(device))


def device_of(student: Student) -> torch.device:
    """Where a student lies."""
    return student.encoder.words.weight.device
