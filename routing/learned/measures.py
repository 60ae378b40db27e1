"""How well a router does, in the measures of the field. Pure numpy.

Two models, one cheap and one strong, and a number per prompt: the higher, the sooner the strong one is asked. `PGR` is the
performance gap recovered, (router − cheap) / (strong − cheap); APGR its mean over all shares of strong calls, 0.5 for a router
that draws lots; CPT(x) the share of strong calls at which PGR first reaches x (RouteLLM, Ong et al. 2024, arXiv:2406.18665).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from modelhub.ml import calibration
from modelhub.ml.calibration import BINS
from modelhub.ml.fairness import ranking
from modelhub.ml.fairness.resampling import resampled

DRAWS = 1_000


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with its 95 % bootstrap interval over n rows."""

    value: float
    low: float
    high: float
    n: int

    def as_dict(self) -> dict[str, float | int]:
        return {
            "value": round(self.value, 4),
            "low": round(self.low, 4),
            "high": round(self.high, 4),
            "n": self.n,
        }


def pgr_curve(gain: np.ndarray, cheap: np.ndarray, strong: np.ndarray) -> np.ndarray:
    """PGR after 0, 1 … N strong calls, those with the highest `gain` first; ties in the order of the rows.

    Shapes: (N,) each -> (N + 1,). NaN where the strong model is no better than the cheap one.
    """
    added = (strong - cheap)[np.argsort(-gain, kind="stable")]
    gap = float(added.sum())
    reached = np.concatenate([[0.0], np.cumsum(added)])
    return reached / gap if gap > 0 else np.full(len(added) + 1, np.nan)


def apgr(gain: np.ndarray, cheap: np.ndarray, strong: np.ndarray) -> float:
    """The area under the PGR curve (trapezium rule). Shapes: (N,) each."""
    curve = pgr_curve(gain, cheap, strong)
    return float((curve[1:] + curve[:-1]).mean() / 2)


def cpt(gain: np.ndarray, cheap: np.ndarray, strong: np.ndarray, share: float) -> float:
    """The least share of strong calls that recovers `share` of the gap. Shapes: (N,) each."""
    curve = pgr_curve(gain, cheap, strong)
    reached = np.flatnonzero(curve >= share - 1e-12)
    return float(reached[0] / (len(curve) - 1)) if len(reached) else float("nan")


def bootstrap(
    measure: Callable[[np.ndarray], float], n: int, *, seed: int = 0, draws: int = DRAWS,
    groups: np.ndarray | None = None,
) -> Interval:  # fmt: skip
    """A measure of row positions with its percentile interval. With `groups` (N,) whole groups are drawn (cluster bootstrap).

    Draws in which the measure has no value are left out.
    """
    drawn = resampled(measure, n, groups=groups, seed=seed, draws=draws)
    drawn = drawn[np.isfinite(drawn)]
    low, high = np.percentile(drawn, [2.5, 97.5]) if len(drawn) else (np.nan, np.nan)
    return Interval(float(measure(np.arange(n))), float(low), float(high), n)


def calibration_error(chance: np.ndarray, right: np.ndarray, bins: int = BINS) -> float:
    """Expected calibration error over bins of equal count. Shapes: (N,) each.

    Few rows raise it by chance alone; `calibration_noise` says by how much.
    """
    return calibration.by_count(chance, right, bins)


def calibration_noise(chance: np.ndarray, *, bins: int = BINS, draws: int = 200, seed: int = 0) -> float:
    """The error that perfectly calibrated chances (N,) show on as many rows, on average: the floor of the estimate."""
    rng = np.random.default_rng(seed)
    drawn = [calibration_error(chance, rng.random(len(chance)) < chance, bins) for _ in range(draws)]
    return float(np.mean(drawn))


def auc(score: np.ndarray, positive: np.ndarray) -> float:
    """Chance that a positive row has the higher score; ties count half. Shapes: (N,) each; NaN with one class only."""
    hits = positive.astype(bool)
    found = ranking.auc(score[hits], score[~hits])
    return float("nan") if found is None else found


def auc_within(score: np.ndarray, positive: np.ndarray, groups: np.ndarray) -> float:
    """AUC over pairs of rows of the same group only: what is left once the group is known. Weighted by pairs."""
    total, weight = 0.0, 0
    for group in np.unique(groups):
        rows = groups == group
        hits = int(positive[rows].sum())
        pairs = hits * (int(rows.sum()) - hits)
        if pairs:
            total += pairs * auc(score[rows], positive[rows])
            weight += pairs
    return total / weight if weight else float("nan")


def group_means(score: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Each row's mean score of its group (N,): a router that knows the subject and nothing else."""
    _, which = np.unique(groups, return_inverse=True)
    return (np.bincount(which, score) / np.bincount(which))[which]
