"""The same sentence about another group: does the answer change?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from modelhub.ml.fairness.intervals import Interval, wilson

Score = Callable[[list[str]], np.ndarray]


@dataclass(frozen=True, slots=True)
class Flips:
    """Over texts that name a group: how many flip under any swap, and by how much the scores move.

    `texts` counts those that name a group, `pairs` the swapped copies; `gap` is the mean absolute change of
    the first answer's score, `worst` the texts whose score moved most, as (position, change).
    """

    texts: int
    pairs: int
    flipped: Interval | None
    gap: float
    worst: list[tuple[int, float]]


def flips(texts: list[str], swaps: Callable[[str], list[str]], score: Score, worst: int = 5) -> Flips:
    """Ask about every text and its swapped copies in one batch.

    `score` gives (N, L) probabilities. Texts without a swap take no part; with none left the rate is None.
    """
    copies = [(index, swapped) for index, text in enumerate(texts) for swapped in swaps(text)]
    if not copies:
        return Flips(0, 0, None, 0.0, [])
    named = sorted({index for index, _ in copies})
    place = {index: row for row, index in enumerate(named)}
    scores = np.asarray(score([texts[index] for index in named] + [text for _, text in copies]))
    original, swapped = scores[: len(named)], scores[len(named) :]
    owner = np.array([place[index] for index, _ in copies])
    answer = original.argmax(axis=1)
    change = np.abs(swapped[np.arange(len(copies)), answer[owner]] - original[owner, answer[owner]])
    flipped = np.zeros(len(named), bool)
    np.logical_or.at(flipped, owner, swapped.argmax(axis=1) != answer[owner])
    moved = np.zeros(len(named))
    np.maximum.at(moved, owner, change)
    order = np.argsort(-moved, kind="stable")[:worst]
    return Flips(
        texts=len(named),
        pairs=len(copies),
        flipped=wilson(int(flipped.sum()), len(named)),
        gap=float(change.mean()),
        worst=[(named[row], float(moved[row])) for row in order],
    )
