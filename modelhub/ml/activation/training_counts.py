"""Which experts the rows of a training run wake, label by label: counted once, by the graph that serves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from modelhub.ml import tokens
from modelhub.ml.text.served import FrozenBody

MOST_ROWS, TEXTS_AT_ONCE = 512, 64


@dataclass(frozen=True, slots=True)
class LabelCounts:
    """What rows of one label woke. Shapes: counts (L, E) int64."""

    label: str
    rows: int
    tokens: int
    counts: np.ndarray


def counts_by_label(
    directory: Path,
    rows: Sequence[tuple[str, str]],
    *,
    trunk_dir: Path | None = None,
    most: int = MOST_ROWS,
    seed: int = 0,
    check: Callable[[], None] = lambda: None,
) -> list[LabelCounts]:
    """Counts of (text, label) rows, at most `most` of them drawn at random; empty for a model whose graph counts nothing.

    `check` is called before every batch and may raise to end it.
    """
    body = FrozenBody(directory, trunk_dir)
    if not body.counts_experts:
        return []
    chosen = np.random.default_rng(seed).permutation(len(rows))[:most]
    texts: dict[str, list[str]] = {}
    for i in chosen:
        text, label = rows[i]
        texts.setdefault(label, []).append(text)
    found = []
    for label, own in sorted(texts.items()):
        ids = body.token_ids(own)
        parts = []
        for group in tokens.batches_by_length([len(row) for row in ids], 4096, TEXTS_AT_ONCE):
            check()
            parts.append(body.expert_counts([ids[i] for i in group]))
        found.append(LabelCounts(label, len(own), sum(len(row) for row in ids), np.sum(parts, axis=0)))
    return found
