"""How loud a text can be at most, in a few array operations: most texts are far under the threshold and need no more.

A word's own weight counts as it is; two in a row count as the dearest pair that the first begins and the second ends, whichever
is less. So no window's sum is over the ceiling's, and only a text whose ceiling reaches the threshold is summed exactly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import repeat

import numpy as np

ROUNDING = 1e-6  # far more than 64-bit sums of some thousand weights under 10 can be off


class Ceiling:
    """Of the weights of single words and of pairs."""

    __slots__ = ("_begins", "_ends", "_places", "_weights")

    def __init__(self, words: Mapping[str, float], pairs: Mapping[tuple[str, str], float]) -> None:
        begins: dict[str, float] = {}
        ends: dict[str, float] = {}
        for (first, second), weight in pairs.items():
            begins[first] = max(begins.get(first, 0.0), weight)
            ends[second] = max(ends.get(second, 0.0), weight)
        known = sorted({*words, *begins, *ends})
        self._places = {word: place for place, word in enumerate(known, 1)}  # 0: unknown, of no weight
        self._weights = np.array([0.0, *(words.get(word, 0.0) for word in known)])
        self._begins = np.array([0.0, *(begins.get(word, 0.0) for word in known)])
        self._ends = np.array([0.0, *(ends.get(word, 0.0) for word in known)])

    def of(self, sequence: Sequence[str], window: int) -> float:
        """No `window` words in a row weigh more than this. For sequences longer than the window."""
        places = np.fromiter(map(self._places.get, sequence, repeat(0)), np.intp, len(sequence))
        weights = self._weights.take(places)
        weights[:-1] += np.minimum(self._begins.take(places)[:-1], self._ends.take(places)[1:])
        sums = weights.cumsum()
        return max(float(sums[window - 1]), float((sums[window:] - sums[:-window]).max())) + ROUNDING
