"""`txt-edge`: the student, distilled from `txt-base`, quantised to 8 bits and gated, as one artifact."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from modelhub import artifacts
from modelhub.ml import datasets, trunk
from modelhub.ml.distill.loop import DistillConfig, distill
from modelhub.ml.distill.losses import Direction
from modelhub.ml.distill.targets import check_teacher
from modelhub.ml.text import (
    edge_artifact,
    edge_graph,
    edge_heads,
    edge_operator,
    lessons,
    neighbours,
    wide,
)
from modelhub.ml.text.base import WIDE
from modelhub.ml.text.corpus import Part
from modelhub.ml.text.student import Student, StudentShape
from modelhub.ml.train.loop import Progress


@dataclass(frozen=True, slots=True)
class EdgeTraining:
    """The run of `make_edge`; `copies` multiplies the broken texts a workload adds (0 leaves them out).

    `neighbours`: small workloads also hear their teacher on texts of other shipped sets. `heads_on`, `operator_on`: heads of
    the finished file that learn on, and whether its operator does.
    """

    epochs: int = 8
    batch: int = 128
    copies: float = 1.0
    neighbours: bool = False
    heads_on: tuple[str, ...] = ()
    operator_on: bool = False
    seed: int = 1
    shape: StudentShape = field(default_factory=StudentShape)
    workloads: tuple[str, ...] = datasets.TEXT_WORKLOADS
    direction: Direction = "forward"
    risk_rows: int = 20_000
    risk_blank: float = 0.0
    ngram_drop: float = 0.3
    rate: float = 2e-3
    asked: dict[str, lessons.Asked] = field(default_factory=dict)


# What a shipped student is made by; a compression job of one workload has no neighbours to lend it texts.
SHIPPED = EdgeTraining(neighbours=True, heads_on=("clinical-notes",), operator_on=True)


def make_edge(
    out: Path,
    *,
    teacher_dir: Path,
    work: Path,
    config: EdgeTraining,
    limit: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Distil, quantise, gate, check and describe `txt-edge`; gives its manifest. Resumes from `work`.

    Raises TeacherRefused for a teacher that may not teach.
    """
    started = time.monotonic()
    student, parts, curve = train_student(teacher_dir, work, config, limit=limit, progress=progress)
    return edge_artifact.finish(
        out, student, parts, curve, teacher_dir=teacher_dir, work=work, seed=config.seed, started=started,
        limit=limit, learn_on=learning_on(config, parts["train"], teacher_dir) if limit is None else None,
    )  # fmt: skip


def learning_on(config: EdgeTraining, train: dict[str, Part], teacher_dir: Path) -> edge_artifact.LearnOn:
    """What the heads and the operator of finished files still learn, by what the served one's encoder says."""

    def learn_on(files: list[Path]) -> dict[str, Any]:
        reader = lessons.Reader.of(trunk.ensure_trunk(artifacts.home()), teacher_dir)
        path, names, told = files[0], list(train), {}
        for name in config.heads_on:
            how = edge_heads.HeadTraining(seed=config.seed)
            head = edge_heads.learnt_on(path, names, name, train[name], reader, teacher_dir, how)
            for file in files:
                edge_heads.replace_head(file, name, head)
            told["heads_taught_again"] = edge_heads.taught(config.heads_on)
        if config.operator_on:
            edge_operator.learn_on(path, names, reader, edge_operator.OperatorTraining(seed=config.seed))
            edge_graph.replace_risk(files[1], edge_graph.read_risk(path))
            told["operator_taught_again"] = edge_operator.taught(config.seed)
        return told

    return learn_on


def finish_trained(
    out: Path, weights: Path, *, teacher_dir: Path, work: Path, progress: Progress | None = None
) -> dict[str, Any]:
    """The artifact of a student that another machine trained (`edge_carry`); gives its manifest.

    Raises TeacherRefused for a teacher that may not teach.
    """
    from modelhub.ml.text import edge_carry

    student, report = edge_carry.load(weights)
    for name in student.names:
        check_teacher(teacher_dir, name)
    if progress is not None:
        progress({"seed": report["seed"], "trained_s": report["seconds"]})
    work.mkdir(parents=True, exist_ok=True)
    reader = lessons.Reader.of(trunk.ensure_trunk(artifacts.home()), teacher_dir)
    names = tuple(student.names)
    parts = {split: lessons.load_parts(reader, split, names) for split in ("train", "val")}
    naming = edge_artifact.Naming(command=edge_carry.COMMAND, machine=report["device"])
    return edge_artifact.finish(
        out, student, parts, report["curve"], teacher_dir=teacher_dir, work=work, seed=report["seed"],
        started=time.monotonic() - report["seconds"], naming=naming,
        learn_on=learning_on(replace(SHIPPED, seed=report["seed"]), parts["train"], teacher_dir),
    )  # fmt: skip


def train_student(
    teacher_dir: Path,
    work: Path,
    config: EdgeTraining,
    *,
    limit: int | None = None,
    progress: Progress | None = None,
    check: Callable[[], None] | None = None,
    told: lessons.Told | None = None,
    rows: dict[str, dict[str, Part]] | None = None,
    tables: Path | None = None,
) -> tuple[Student, dict[str, dict[str, Part]], list[dict[str, float]]]:
    """The distilled student, the rows it saw and is judged by (`train`, `val`), and the curve. Resumes from `work`.

    `rows` replaces the shipped rows; `tables` is where wide tables are kept, to share them between seeds.
    """
    for name in config.workloads if limit is None else ():  # a trial's teacher is a trial too
        check_teacher(teacher_dir, name)
    work.mkdir(parents=True, exist_ok=True)
    tables = tables or work
    tables.mkdir(parents=True, exist_ok=True)
    reader = lessons.Reader.of(trunk.ensure_trunk(artifacts.home()), teacher_dir)
    parts = rows or {
        split: lessons.load_parts(reader, split, config.workloads, limit) for split in ("train", "val")
    }
    broken = 0.0 if limit is not None else config.copies
    taught = {
        name: lessons.make_lesson(
            reader, name, part, teacher_dir, copies=round(lessons.COPIES.get(name, 1) * broken), seed=1,
            asked=config.asked.get(name), told=told,
            more=neighbours.texts(name) if config.neighbours and limit is None else (),
        )
        for name, part in parts["train"].items()
    }  # fmt: skip
    risk = lessons.make_risk_lesson(reader, config.seed, limit)
    torch.manual_seed(config.seed)
    student = Student(
        config.shape, {name: _start_table(name, part, tables) for name, part in parts["train"].items()}
    )
    student.start_words(lessons.trunk_words())
    run = DistillConfig(
        epochs=config.epochs, batch=config.batch, seed=config.seed, direction=config.direction,
        risk_rows=config.risk_rows, risk_blank=config.risk_blank, ngram_drop=config.ngram_drop, rate=config.rate,
    )  # fmt: skip
    curve = distill(student, taught, run, risk=risk, work=work / "student", progress=progress, check=check)
    return student, parts, curve


def _start_table(name: str, part: Part, kept: Path) -> tuple[wide.WideTable, float]:
    path = kept / f"wide-{name}.npz"
    if not path.is_file():
        table = wide.fit(part.features.ids, part.y, len(part.labels), WIDE.get(name, wide.WideConfig()))
        np.savez(path, **{field: getattr(table, field) for field in wide.WideTable.__slots__})
    with np.load(path) as stored:
        return wide.WideTable(**dict(stored)), 1.0
