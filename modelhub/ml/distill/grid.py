"""Which student to teach: the largest of a small grid that is fast enough, by what a stop-watch says on this machine.

Accuracy grows with size and a forward pass is mostly the cost of its nodes, so several sizes are equally quick; the grid
is measured untrained, in the precision and the form it will be served in.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from modelhub.ml import export, features, tokens
from modelhub.ml.quantize.ptq import quantise_dynamic
from modelhub.ml.text import edge_graph
from modelhub.ml.text.student import StudentEncoder, StudentShape

GRID = (
    StudentShape(32, 4, 96),
    StudentShape(64, 4, 192),
    StudentShape(96, 4, 256),
    StudentShape(128, 4, 384),
)


class NoneFastEnough(ValueError):
    """Even the smallest student of the grid is slower than asked; the measurements are in the message."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """At most these times, in milliseconds: one text alone, and a text of a full batch."""

    single_ms: float
    batched_ms: float


@dataclass(frozen=True, slots=True)
class Timed:
    """One student of the grid and how long it takes."""

    shape: StudentShape
    parameters: int
    single_ms: float
    batched_ms: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def measure(
    rows: list[np.ndarray], work: Path, shapes: Sequence[StudentShape] = GRID, repeats: int = 5
) -> list[Timed]:
    """Median time of each untrained student's body on these token rows, all taken in turns so that a busy moment hits all."""
    work.mkdir(parents=True, exist_ok=True)
    singles = [_feed([row]) for row in rows[:64]]
    groups = tokens.batches_by_length([len(row) for row in rows], 4096, 64)
    batches = [(_feed([rows[i] for i in group]), len(group)) for group in groups]
    sessions = [_untrained(shape, work) for shape in shapes]
    alone: list[list[float]] = [[] for _ in shapes]
    together: list[list[float]] = [[] for _ in shapes]
    for _ in range(repeats):
        for place, session in enumerate(sessions):
            alone[place] += [_timed(session, feed) for feed in singles]
            together[place] += [_timed(session, feed) / count for feed, count in batches]
    made = [sum(p.numel() for p in StudentEncoder(shape).parameters()) for shape in shapes]
    return [
        Timed(shape, made[i], round(float(np.median(alone[i])), 4), round(float(np.median(together[i])), 4))
        for i, shape in enumerate(shapes)
    ]


def choose(found: Sequence[Timed], wanted: Wanted) -> Timed:
    """The largest student within both times. Raises NoneFastEnough."""
    fast = [one for one in found if one.single_ms <= wanted.single_ms and one.batched_ms <= wanted.batched_ms]
    if not fast:
        told = "; ".join(
            f"width {one.shape.width}: {one.single_ms} ms, {one.batched_ms} ms a text of a batch"
            for one in found
        )
        raise NoneFastEnough(
            f"no student takes at most {wanted.single_ms:.3f} ms alone and {wanted.batched_ms:.3f} ms in a batch: {told}"
        )
    return max(fast, key=lambda one: one.parameters)


def _untrained(shape: StudentShape, work: Path) -> Callable[..., Any]:
    torch.manual_seed(0)
    single = work / f"grid-{shape.width}-{shape.hidden}.onnx"
    edge_graph.write_student_body(export.state_arrays(StudentEncoder(shape).eval()), shape, single)
    quantised = single.with_suffix(".int8.onnx")
    quantise_dynamic(single, quantised)
    return features.open_session(quantised).run


def _feed(rows: list[np.ndarray]) -> dict[str, np.ndarray]:
    ids, mask = tokens.pad([features.cut(row) for row in rows])
    return {"input_ids": ids, "attention_mask": mask}


def _timed(run: Callable[..., Any], feed: dict[str, np.ndarray]) -> float:
    started = time.perf_counter_ns()
    run(None, feed)
    return (time.perf_counter_ns() - started) / 1e6
