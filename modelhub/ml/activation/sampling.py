"""Choosing calibration rows by the experts they wake, so that quantisation sees every expert at work."""

from __future__ import annotations

import numpy as np


def calibration_rows(rows: np.ndarray, n: int, *, seed: int = 0) -> np.ndarray:
    """n rows whose experts, together, are covered as evenly as can be: each time the row that adds most to the
    experts seen least (a greedy cover with diminishing returns, sum of square roots).

    Shapes: rows (N, L·E) or (N, L, E) counts -> (n,) indices, in the order chosen. Ties fall by the seed.
    """
    table = np.asarray(rows, np.float64).reshape(len(rows), -1)
    if not 1 <= n <= len(table):
        raise ValueError(f"n={n} must lie in 1..{len(table)}, the rows there are")
    table = table / np.maximum(table.sum(axis=1, keepdims=True), 1e-12)
    order = np.random.default_rng(seed).permutation(len(table))
    free = np.ones(len(table), bool)
    seen = np.zeros(table.shape[1])
    chosen = []
    for _ in range(n):
        gain = np.sqrt(seen + table[order]).sum(axis=1) - np.sqrt(seen).sum()
        gain[~free[order]] = -np.inf
        best = int(order[int(np.argmax(gain))])
        free[best] = False
        seen += table[best]
        chosen.append(best)
    return np.array(chosen)


def coverage(rows: np.ndarray) -> float:
    """Share of experts that at least one of the rows wakes. Shapes: rows (N, …) counts."""
    table = np.asarray(rows).reshape(len(rows), -1)
    return float((table.sum(axis=0) > 0).mean())
