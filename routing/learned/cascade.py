"""A cascade's threshold from rows that both models answered: what each threshold gets and costs, and which one meets a target.

The small model is always asked; below the threshold of its calibrated confidence the big one is asked as well and its answer
taken. Both are paid for. Pure numpy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from routing.learned.measures import Interval

LEAST_ROWS = 30
ERRORS = 1.0  # standard errors taken off before an accuracy target: rows to come are not these rows
DRAWS = 1_000
Goal = Literal["accuracy", "cost"]


@dataclass(frozen=True, slots=True)
class Answers:
    """One model on N rows: whether each answer was right, how sure it was, and what an answer costs."""

    right: np.ndarray  # (N,) bool
    confidence: np.ndarray  # (N,) in [0, 1], calibrated
    cost: float  # per answer, in any unit both models share
    withheld: np.ndarray | None = None  # (N,) bool: stopped by the model's operator, so nobody else is asked

    def under(self, threshold: float) -> np.ndarray:
        """Rows that are asked of the next model, (N,) bool."""
        unsure = self.confidence < threshold
        return unsure if self.withheld is None else unsure & ~self.withheld


@dataclass(frozen=True, slots=True)
class Point:
    """What one threshold does. Shares are of the big model's accuracy and cost."""

    threshold: float
    escalated: float
    accuracy: float
    accuracy_share: float
    cost_share: float
    random_accuracy: float  # as many rows escalated by lot
    sure_share: float  # of accuracy: by the smoothed gain (`gain_of`), standard errors taken off

    def as_dict(self) -> dict[str, float]:
        return {name: round(getattr(self, name), 4) for name in self.__slots__}


def curve(small: Answers, big: Answers, points: int = 101) -> list[Point]:
    """From "never escalate" to "always", at quantiles of the small model's confidence."""
    thresholds = np.unique(np.quantile(small.confidence, np.linspace(0, 1, points)))
    gain = gain_of(small, big) if len(small.right) == len(big.right) else None
    return [at(small, big, float(t), gain) for t in (0.0, *thresholds, np.nextafter(1.0, 2.0))]


def gain_of(small: Answers, big: Answers) -> np.ndarray:
    """What asking the big model as well is worth on each row (N,): the mean of how often it is right where the small one is wrong
    less the other way round, made to fall as confidence rises (pool adjacent violators) and never below zero. A curve of counts
    would be chosen by its luckiest point. What the small one withheld keeps its own difference: nobody else is asked."""
    differ = big.right.astype(float) - small.right
    open_ = np.flatnonzero(small.under(np.inf))
    places, which = np.unique(-small.confidence[open_], return_inverse=True)
    blocks: list[list[float]] = []  # [Σ, rows, places], from the surest down: means must rise
    for total, rows in zip(np.bincount(which, differ[open_]), np.bincount(which), strict=True):
        blocks.append([float(total), float(rows), 1])
        while len(blocks) > 1 and blocks[-2][0] / blocks[-2][1] >= blocks[-1][0] / blocks[-1][1]:
            last = blocks.pop()
            blocks[-1] = [p + q for p, q in zip(blocks[-1], last, strict=True)]
    means = np.repeat([max(0.0, total / rows) for total, rows, _ in blocks], [int(k) for *_, k in blocks])
    gain = differ.copy()
    gain[open_] = means[which] if len(places) else 0.0
    return gain


def at(small: Answers, big: Answers, threshold: float, gain: np.ndarray | None = None) -> Point:
    """One threshold on these rows. Raises ValueError where the rows aren't the same in number."""
    if len(small.right) != len(big.right):
        raise ValueError(
            f"{len(small.right)} and {len(big.right)} rows: both models must have answered the same ones"
        )
    up = small.under(threshold)
    share, most = float(up.mean()), float(big.right.mean())
    taken = np.where(up, big.right, small.right)
    accuracy = float(taken.mean())
    cost = (small.cost + share * big.cost) / big.cost if big.cost else float("inf")
    lot = accuracy - _above_random(up, small.under(np.inf), small.right, big.right) / 100
    gain = gain_of(small, big) if gain is None else gain
    # Agreement on a few rows proves little: one difference more than there was.
    error = float(np.sqrt((taken != big.right).sum() + 1.0))
    sure = 1.0 - (float(gain[~up].sum()) + ERRORS * error) / len(up) / most if most else 0.0
    return Point(threshold, share, accuracy, accuracy / most if most else 0.0, cost, lot, sure)


def choose(points: list[Point], goal: Goal, target: float) -> Point | None:
    """`accuracy`: the cheapest point that surely keeps this share of the big model's accuracy. `cost`: the most accurate one
    within this share of its cost. None where no point does."""
    if goal == "accuracy":
        good = [p for p in points if p.sure_share >= target - 1e-12]
        return min(good, key=lambda p: (p.cost_share, -p.accuracy), default=None)
    good = [p for p in points if p.cost_share <= target + 1e-12]
    return max(good, key=lambda p: (p.accuracy, -p.cost_share), default=None)


@dataclass(frozen=True, slots=True)
class Honest:
    """What a way of choosing gets on rows that chose nothing (K folds), with cluster-free bootstrap intervals."""

    accuracy_share: Interval
    cost_share: float
    escalated: float
    above_random: Interval  # in points of accuracy, paired


def across_folds(
    small: Answers,
    big: Answers,
    goal: Goal,
    target: float,
    *,
    folds: int = 5,
    seed: int = 0,
    draws: int = DRAWS,
) -> Honest:
    """Choose the threshold on the other folds, judge it on the one held back. Where none meets the target there, the
    big model is used alone (accuracy) or the small one (cost): a cascade that can't do what it is for isn't one."""
    n = len(small.right)
    order = np.random.default_rng(seed).permutation(n)
    up, alone = np.zeros(n, bool), np.zeros(n, bool)
    for held in np.array_split(order, folds):
        rest = np.setdiff1d(order, held)
        found = choose(curve(_take(small, rest), _take(big, rest)), goal, target)
        if found is None:
            alone[held] = up[held] = goal == "accuracy"
        else:
            up[held] = small.under(found.threshold)[held]
    taken = np.where(up, big.right, small.right).astype(float)
    open_ = np.ones(n, bool) if small.withheld is None else ~small.withheld | alone
    rng = np.random.default_rng(seed)
    shares, above = np.empty(draws), np.empty(draws)
    for i in range(draws):
        rows = rng.integers(0, n, n)
        shares[i] = taken[rows].mean() / max(big.right[rows].mean(), 1e-9)
        above[i] = _above_random(up[rows], open_[rows], small.right[rows], big.right[rows])
    share = float(up.mean())
    paid = small.cost * (1 - float(alone.mean())) + share * big.cost
    cost = paid / big.cost if big.cost else float("inf")
    low, high = np.percentile(shares, [2.5, 97.5])
    least, most = np.percentile(above, [2.5, 97.5])
    return Honest(
        Interval(float(taken.mean() / max(big.right.mean(), 1e-9)), float(low), float(high), n), cost, share,
        Interval(_above_random(up, open_, small.right, big.right), float(least), float(most), n),
    )  # fmt: skip


def _above_random(up: np.ndarray, can: np.ndarray, small: np.ndarray, big: np.ndarray) -> float:
    """Accuracy less that of as many escalations by lot among the rows that can be escalated (`can`), in points."""
    rate = float(up[can].mean()) if can.any() else 0.0
    gained = (np.where(up, big, small).astype(float) - small)[can]
    by_lot = rate * (big[can].astype(float) - small[can])
    return float(100 * (gained.sum() - by_lot.sum()) / len(up))


def _take(answers: Answers, rows: np.ndarray) -> Answers:
    held = None if answers.withheld is None else answers.withheld[rows]
    return Answers(answers.right[rows], answers.confidence[rows], answers.cost, held)
