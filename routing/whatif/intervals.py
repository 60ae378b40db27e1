"""Intervals by resampling whole blocks of time: requests of one day resemble one another more than those of two. Pure numpy."""

from __future__ import annotations

from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, t

REPLICATES = 300
LEVEL = 0.90
Floats = NDArray[np.float64]


def draws(
    blocks: int, random: np.random.Generator, *, of: slice | None = None, replicates: int = REPLICATES
) -> Floats:
    """(1 + replicates, blocks) how often each block is drawn; the first row is once each. `of`: the blocks that count."""
    of = of or slice(0, blocks)
    width = len(range(*of.indices(blocks)))
    weights = np.zeros((1 + replicates, blocks))
    weights[0, of] = 1.0
    if width:
        weights[1:, of] = random.multinomial(width, np.full(width, 1 / width), replicates)
    return weights


def interval(values: Floats, blocks: int, level: float = LEVEL) -> tuple[float, float] | None:
    """Of values (1 + replicates,), around the first. Few blocks vary too little when drawn again: widened by Student's t and
    √(B/(B−1)). None with fewer than two blocks, where nothing can be said."""
    if blocks < 2:
        return None
    told = values[1:][np.isfinite(values[1:])]
    if not len(told) or not np.isfinite(values[0]):
        return None
    tail = (1 - level) / 2
    low, high = np.quantile(told, [tail, 1 - tail])
    wider = float(t.ppf(1 - tail, blocks - 1) / norm.ppf(1 - tail)) * sqrt(blocks / (blocks - 1))
    middle = float(values[0])
    return middle - wider * max(0.0, middle - low), middle + wider * max(0.0, high - middle)
