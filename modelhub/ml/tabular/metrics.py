"""Figures with their intervals: Wilson for shares, the bootstrap for the rest. Numpy only."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from modelhub.ml.fairness.resampling import resampled

DRAWS = 1000


def average_precision(truth: np.ndarray, score: np.ndarray) -> float:
    """Area under precision-recall as the sum over thresholds of (recall gained) × precision; ties stand together."""
    positives = int(truth.sum())
    if positives == 0:
        return math.nan
    order = np.argsort(-score, kind="stable")
    hits, ranked = truth[order].astype(bool), score[order]
    last_of_tie = np.append(ranked[1:] != ranked[:-1], True)
    true_positives = np.cumsum(hits)[last_of_tie]
    alarms = (np.arange(len(ranked)) + 1)[last_of_tie]
    gained = np.diff(np.concatenate([[0], true_positives])) / positives
    return float((gained * true_positives / alarms).sum())


def precision_recall(truth: np.ndarray, alarm: np.ndarray) -> tuple[float, float]:
    """Precision (1 with no alarm) and recall (nan with nothing to find) of 0/1 alarms."""
    hits = float((truth * alarm).sum())
    found = alarm.sum()
    return (hits / found if found else 1.0), (hits / truth.sum() if truth.sum() else math.nan)


def threshold_for_precision(truth: np.ndarray, score: np.ndarray, precision: float) -> float:
    """The lowest threshold whose precision is that high with 97.5 % confidence (Wilson's lower bound).

    Choosing where the precision itself just reaches the target would pick a lucky place, and miss it on new
    rows every other time. Where the rows are too few for the bound, the precision itself has to do.
    Raises ValueError when no threshold reaches it either way.
    """
    order = np.argsort(-score, kind="stable")
    ranked, hits = score[order], np.cumsum(truth[order])
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    sure = np.array([wilson(int(hits[end]), int(end) + 1)["low"] for end in ends])
    good = ends[sure >= precision]
    if len(good) == 0:
        good = ends[hits[ends] / (ends + 1) >= precision]
    if len(good) == 0:
        raise ValueError(f"no threshold reaches precision {precision}")
    place = good[-1]
    below = ranked[place + 1] if place + 1 < len(ranked) else 0.0
    return float((ranked[place] + below) / 2)


def macro_f1(truth: np.ndarray, guess: np.ndarray) -> float:
    """Mean F1 over the classes that occur in the truth."""
    scores = []
    for label in np.unique(truth):
        hits = ((truth == label) & (guess == label)).sum()
        scores.append(2 * hits / ((truth == label).sum() + (guess == label).sum()))
    return float(np.mean(scores))


def rmse(truth: np.ndarray, guess: np.ndarray) -> float:
    """Root of the mean squared error."""
    return float(np.sqrt(np.mean((truth - guess) ** 2)))


def mape(truth: np.ndarray, guess: np.ndarray) -> float:
    """Mean absolute error as a share of the truth, rows with a truth of 0 left out."""
    kept = truth != 0
    return float(np.mean(np.abs(guess[kept] / truth[kept] - 1)))


def wilson(hits: int, n: int, z: float = 1.959964) -> dict[str, Any]:
    """A share with Wilson's 95 % interval."""
    share, square = hits / n, z * z / n
    centre = (share + square / 2) / (1 + square)
    half = z * math.sqrt(share * (1 - share) / n + square / (4 * n)) / (1 + square)
    return rounded({"value": share, "low": max(0.0, centre - half), "high": min(1.0, centre + half), "n": n})


def bootstrap(
    figure: Callable[[np.ndarray], float], n: int, groups: np.ndarray | None = None, seed: int = 0
) -> dict[str, Any]:
    """`figure(indices)` on all rows, with a percentile interval over rows drawn again (whole groups if given)."""
    drawn = resampled(figure, n, groups=groups, seed=seed, draws=DRAWS)
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return rounded({"value": figure(np.arange(n)), "low": float(low), "high": float(high), "n": n})


def rounded(figures: dict[str, Any]) -> dict[str, Any]:
    """Floats to four places, the rest as it is."""
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in figures.items()}


def verdict(difference: dict[str, Any]) -> str:
    """Better than the plain model beside it, worse, or not to be told apart with these rows."""
    if difference["low"] > 0:
        return "pass"
    return "fail" if difference["high"] < 0 else "not_enough_data"
