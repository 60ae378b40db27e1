"""Answers kept beside a student, by which a server recognises it: ordinary rows of each head, and planted ones that block."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from modelhub import artifacts
from modelhub.ml.risk.operator import planted_rows
from modelhub.ml.text.corpus import Parts
from modelhub.ml.text.gate_graph import read_tau
from modelhub.ml.text.lessons import Reader
from modelhub.serving.gated import GatedFile

ORDINARY, PLANTED = 6, 4
CLOSE, TIED = (
    0.05,
    0.1,
)  # rows this near to a threshold or to another label may fall to either side on another processor


class NothingBlocks(ValueError):
    """None of the planted sentences is blocked: the operator does nothing."""


def write_golden(out: Path, model: Path, names: list[str], val: Parts, reader: Reader) -> None:
    """Write `golden.json`. Raises NothingBlocks."""
    answered, tau = GatedFile(model, names), read_tau(model)
    planted = planted_rows()
    bad = [text for text, kinds in zip(planted.texts, planted.kinds, strict=True) if 1 in kinds]
    risky = reader.read(bad[:: max(1, len(bad) // 128)])
    found = answered.run(names[0], risky)
    order = np.argsort(-(found.risk - tau).max(axis=1))
    stopped = [risky[i] for i in order[:PLANTED] if found.blocked[i]]
    if not stopped:
        raise NothingBlocks(
            "no planted sentence is blocked by this model's gate: its thresholds or its head are broken"
        )
    heads = {}
    for name, part in val.items():
        rows = sorted(part.features.ids[: 16 * ORDINARY], key=len)
        plain = [row for row in rows if _clear(answered, name, row, tau)][:ORDINARY]
        heads[name] = [_kept(answered, name, row) for row in [*(plain or rows[:1]), *stopped]]
    artifacts.write_json(out / "golden.json", {"heads": heads})


def _clear(answered: GatedFile, name: str, row: np.ndarray, tau: np.ndarray) -> bool:
    """Whether an answer is far from being blocked and from having another label."""
    found = answered.run(name, [row])
    best = np.sort(found.logits[0])[::-1]
    return bool(
        (found.risk[0] < tau - CLOSE * tau).all() and best[0] - best[1] > TIED * max(1.0, abs(best[0]))
    )


def _kept(answered: GatedFile, name: str, row: np.ndarray) -> dict[str, Any]:
    found = answered.run(name, [row])
    blocked = bool(found.blocked[0])
    return {
        "ids": row.tolist(),
        "risk": [round(float(value), 4) for value in found.risk[0]],
        "blocked": blocked,
        "logits": [] if blocked else [round(float(value), 4) for value in found.logits[0]],
    }
