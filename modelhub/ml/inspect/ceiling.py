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

    __slots__ = ("_places", "_rows")

    def __init__(self, words: Mapping[str, float], pairs: Mapping[tuple[str, str], float]) -> None:
        begins: dict[str, float] = {}
        ends: dict[str, float] = {}
        for (first, second), weight in pairs.items():
            begins[first] = max(begins.get(first, 0.0), weight)
            ends[second] = max(ends.get(second, 0.0), weight)
        known = sorted({*words, *begins, *ends})
        self._places = {word: place for place, word in enumerate(known, 1)}  # 0: unknown, of no weight
        rows = [(words.get(word, 0.0), begins.get(word, 0.0), ends.get(word, 0.0)) for word in known]
        self._rows = np.array(
            [(0.0, 0.0, 0.0), *rows]
        )  # one row a word, so that it is in one line of the cache

    def of(self, sequence: Sequence[str], window: int) -> float:
        """No `window` words in a row weigh more than this. For sequences longer than the window."""
        places = np.fromiter(map(self._places.get, sequence, repeat(0)), np.intp, len(sequence))
        rows = self._rows.take(places, 0)
        weights = rows[:, 0]
        weights[:-1] += np.minimum(rows[:-1, 1], rows[1:, 2])
        sums = np.add.accumulate(weights)
        return float(max(sums[window - 1], np.maximum.reduce(sums[window:] - sums[:-window]))) + ROUNDING
