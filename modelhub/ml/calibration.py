"""How far chances are from what happens: expected calibration error over bins of equal width, or of equal count."""

from __future__ import annotations

import numpy as np

BINS = 10


def by_width(chance: np.ndarray, right: np.ndarray, bins: int = BINS) -> float:
    """Over equal bins of [0, 1] (Naeini et al. 2015). Shapes: (N,) each, N > 0."""
    chance = np.asarray(chance, float)
    return _gap(np.minimum((chance * bins).astype(int), bins - 1), chance, right)


def by_count(chance: np.ndarray, right: np.ndarray, bins: int = BINS) -> float:
    """Over bins of as many rows each, ties in the order of the rows: no bin is empty or nearly so. Shapes: (N,) each, N > 0."""
    order = np.argsort(chance, kind="stable")
    place = np.empty(len(order), int)
    for number, rows in enumerate(np.array_split(order, min(bins, len(order)))):
        place[rows] = number
    return _gap(place, np.asarray(chance, float), right)


def _gap(place: np.ndarray, chance: np.ndarray, right: np.ndarray) -> float:
    """Σ share of a bin × |its mean chance − its share of right answers|."""
    off = np.bincount(place, chance) - np.bincount(place, np.asarray(right, float))
    return float(np.abs(off).sum() / len(place))
