"""Many models with prices: what accuracy costs, by a router, by one model, by mixing at random, by an oracle. Pure numpy.

`chance` (N, M) is each model's chance of a right answer to each prompt, `cost` (N, M) its price there, `right` (N, M) the score
that it then got. A router maximises chance − λ·cost: λ is the threshold, apart from the score; λ from 0 to ∞ draws its curve.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Curve:
    """Points of one rule, by λ ascending: mean cost (P,) in dollars a prompt and mean score (P,)."""

    lam: np.ndarray
    cost_usd: np.ndarray
    score: np.ndarray


def lambdas(cost: np.ndarray, points: int = 200) -> np.ndarray:
    """Thresholds from "whatever it costs" to "the cheapest", in chance per dollar. Shape: (points,)."""
    usual = float(np.median(cost[cost > 0]))
    return np.concatenate([[0.0], np.geomspace(1e-3, 1e4, points - 1) / usual * 0.05])


def chosen(chance: np.ndarray, cost: np.ndarray, lam: float) -> np.ndarray:
    """The model of each prompt (N,) int: highest chance − λ·cost, the cheaper of two equals."""
    value = chance - lam * cost
    best = value.max(axis=1, keepdims=True)
    return np.where(value >= best - 1e-12, cost, np.inf).argmin(axis=1)


def curve(
    chance: np.ndarray,
    cost: np.ndarray,
    right: np.ndarray,
    lam: np.ndarray,
    expected: np.ndarray | None = None,
) -> Curve:
    """What each λ pays and gets. `expected`: the costs the router goes by, where the true ones (`cost`) aren't known before."""
    rows = np.arange(len(right))
    seen = cost if expected is None else expected
    picks = [chosen(chance, seen, value) for value in lam]
    return Curve(
        lam,
        np.array([cost[rows, pick].mean() for pick in picks]),
        np.array([right[rows, pick].mean() for pick in picks]),
    )


def best_single(cost: np.ndarray, right: np.ndarray) -> int:
    """The model with the highest mean score."""
    return int(right.mean(axis=0).argmax())


def cheapest_at(points: Curve, score: float) -> float:
    """The least mean cost among points that reach `score`; infinite when none does."""
    reached = points.score >= score - 1e-12
    return float(points.cost_usd[reached].min()) if reached.any() else float("inf")


def hull(cost: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The corners of what mixing points by lot can reach: cost and score both rising, slopes falling.

    Shapes: (P,) each -> (C,) each, C ≥ 1; the first is the cheapest point, the last the best one.
    """
    corners: list[tuple[float, float]] = []
    for x, y in sorted(zip(cost.tolist(), score.tolist(), strict=True), key=lambda p: (p[0], -p[1])):
        if corners and y <= corners[-1][1]:
            continue
        while len(corners) > 1 and _slope(corners[-2], corners[-1]) <= _slope(corners[-1], (x, y)):
            corners.pop()
        corners.append((x, y))
    flat = np.array(corners)
    return flat[:, 0], flat[:, 1]


def _slope(a: tuple[float, float], b: tuple[float, float]) -> float:
    return (b[1] - a[1]) / max(b[0] - a[0], 1e-15)


def hull_cost(cost: np.ndarray, score: np.ndarray, wanted: float) -> float:
    """The least cost at which mixing points by lot reaches a score; infinite above the best. Shapes: (P,) each."""
    x, y = hull(cost, score)
    if wanted > y[-1] + 1e-12:
        return float("inf")
    return float(np.interp(wanted, y, x))


def hull_score(cost: np.ndarray, score: np.ndarray, budget: float) -> float:
    """The best score that mixing points by lot gets for a mean cost of at most `budget`. Shapes: (P,) each."""
    x, y = hull(cost, score)
    return float(np.interp(budget, x, y))


def area_over_mixing(points: Curve, cost: np.ndarray, right: np.ndarray, steps: int = 50) -> float:
    """Mean score of a router above single models mixed by lot, at equal cost, from the cheapest model's to the best one's.

    Both may mix their points by lot. Shapes: cost, right (M,) means of each model.
    """
    single, own = hull(cost, right), hull(points.cost_usd, points.score)
    grid = np.linspace(single[0][0], single[0][-1], steps)
    return float((np.interp(grid, *own) - np.interp(grid, *single)).mean())
