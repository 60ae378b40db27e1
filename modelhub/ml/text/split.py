"""Choosing rows: a small part that still holds many labels, and stratified folds. numpy only."""

from __future__ import annotations

import numpy as np


def spread(labels: list[str], limit: int) -> list[int]:
    """Positions of at most `limit` rows, taking labels in turn so that a small part still holds several."""
    turns: dict[str, int] = {}
    keyed = []
    for index, label in enumerate(labels):
        turns[label] = turns.get(label, 0) + 1
        keyed.append((turns[label], index))
    return [index for _, index in sorted(keyed)[:limit]]


def folds(y: np.ndarray, count: int, seed: int) -> list[np.ndarray]:
    """Stratified folds: positions held out in each. Rare labels are dealt round, so no fold takes them all."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(y))
    order = order[np.argsort(y[order], kind="stable")]
    return [np.sort(order[start::count]) for start in range(count)]
