"""Which rows to have labelled next: where the model is unsure, where student and teacher part, what its busy experts see.

Pure numpy: scores in, places out. The choice keeps apart in feature space what it picks together, since ten near-copies of one
unsure row teach what one of them does (k-means on the unsure, as in Zhdanov 2019, arXiv:1901.05954, by a greedy cover).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

WEIGHTS = {"uncertainty": 1.0, "disagreement": 1.0, "expert_load": 0.5}


def uncertainty(scores: np.ndarray) -> np.ndarray:
    """One less the margin of the best two. Shapes: scores (N, L) chances -> (N,) in 0..1. Raises ValueError for one label."""
    scores = np.asarray(scores, float)
    if scores.ndim != 2 or scores.shape[1] < 2:
        raise ValueError(f"scores must be (N, L) with at least two labels, got {scores.shape}")
    best = np.partition(scores, -2, axis=1)[:, -2:]
    return 1.0 - (best[:, 1] - best[:, 0])


def disagreement(student: np.ndarray, teacher: np.ndarray) -> np.ndarray:
    """Half the sum of absolute differences of chances: 0 the same, 1 apart. Shapes: (N, L) both -> (N,)."""
    student, teacher = np.asarray(student, float), np.asarray(teacher, float)
    if student.shape != teacher.shape:
        raise ValueError(
            f"scores must be of the same rows and labels, got {student.shape} and {teacher.shape}"
        )
    return 0.5 * np.abs(student - teacher).sum(axis=1)


def expert_load(guesses: list[str], load_by_label: Mapping[str, float]) -> np.ndarray:
    """How busy the experts are that a row's guessed label wakes, 0..1 against the busiest. Gives (N,)."""
    most = max(load_by_label.values(), default=0.0)
    if most <= 0:
        return np.zeros(len(guesses))
    return np.array([load_by_label.get(guess, 0.0) / most for guess in guesses])


def combined(parts: Mapping[str, np.ndarray]) -> np.ndarray:
    """One number a row: the weighted mean of the parts there are. Shapes: (N,) each -> (N,)."""
    if not parts:
        raise ValueError("nothing to choose by")
    total = sum(WEIGHTS[name] for name in parts)
    return sum(WEIGHTS[name] * np.asarray(values, float) for name, values in parts.items()) / total


def pick(
    worth: np.ndarray, features: np.ndarray | None, count: int, *, pool_factor: int = 4, seed: int = 0
) -> np.ndarray:
    """Places of `count` rows: the worthiest few times as many, thinned so that they lie apart.

    Shapes: worth (N,), features (N, D) unit rows or None -> (count,) int64, the worthiest first where nothing is thinned.
    """
    worth = np.asarray(worth, float)
    count = min(count, len(worth))
    noise = np.random.default_rng(seed).random(
        len(worth)
    )  # ties are broken by chance, not by the file's order
    order = np.lexsort((noise, -worth))
    if features is None or count == 0:
        return order[:count]
    pool = order[: max(count, min(len(order), pool_factor * count))]
    return pool[_cover(np.asarray(features, float)[pool], worth[pool], count)]


def _cover(rows: np.ndarray, worth: np.ndarray, count: int) -> np.ndarray:
    """Greedy: the row with the largest worth × distance to what was taken. Shapes: rows (P, D), worth (P,) -> (count,)."""
    taken = [int(np.argmax(worth))]
    apart = 1.0 - rows @ rows[taken[0]]
    for _ in range(count - 1):
        gain = np.maximum(worth, 1e-9) * np.maximum(apart, 0.0)
        gain[taken] = -1.0
        taken.append(int(np.argmax(gain)))
        apart = np.minimum(apart, 1.0 - rows @ rows[taken[-1]])
    return np.array(taken)


def cohens_kappa(first: list[str], second: list[str]) -> float:
    """Agreement of two labellers beyond chance (Cohen 1960); 1 where both say one thing throughout. Raises ValueError."""
    if len(first) != len(second) or not first:
        raise ValueError(f"two labellers of the same rows are needed, got {len(first)} and {len(second)}")
    labels = sorted({*first, *second})
    place = {label: i for i, label in enumerate(labels)}
    table = np.zeros((len(labels), len(labels)))
    for a, b in zip(first, second, strict=True):
        table[place[a], place[b]] += 1
    table /= len(first)
    observed, expected = float(np.trace(table)), float(table.sum(0) @ table.sum(1))
    return 1.0 if expected >= 1.0 else (observed - expected) / (1.0 - expected)


def krippendorffs_alpha(units: list[list[str]]) -> float:
    """Agreement of any number of labellers, rows with one label left out (Krippendorff 2011, nominal). NaN without pairs.

    `units`: the labels that each row got.
    """
    paired = [row for row in units if len(row) > 1]
    if not paired:
        return float("nan")
    labels = sorted({label for row in paired for label in row})
    place = {label: i for i, label in enumerate(labels)}
    table = np.zeros((len(labels), len(labels)))
    for row in paired:
        for i, a in enumerate(row):
            for j, b in enumerate(row):
                if i != j:
                    table[place[a], place[b]] += 1 / (len(row) - 1)
    totals = table.sum(1)
    n = totals.sum()
    expected = (totals.sum() ** 2 - (totals**2).sum()) / (n - 1)
    observed = n - np.trace(table)
    return 1.0 if expected == 0 else float(1 - observed / expected)
