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


def hull_cost(cost: np.ndarray, right: np.ndarray, score: float) -> float:
    """The least cost at which mixing single models at random reaches `score`: along the upper convex hull of their points.

    Shapes: cost, right (M,) means of each model. Infinite above the best.
    """
    best = np.inf
    for i in range(len(cost)):
        if right[i] >= score:
            best = min(best, cost[i])
        for j in range(len(cost)):
            if right[i] < score < right[j]:
                share = (score - right[i]) / (right[j] - right[i])
                best = min(best, cost[i] + share * (cost[j] - cost[i]))
    return float(best)


def area_over_mixing(points: Curve, cost: np.ndarray, right: np.ndarray, steps: int = 50) -> float:
    """Mean score above the hull of single models at equal cost, over the hull's range of costs: > 0 beats random mixing.

    Shapes: cost, right (M,) means of each model. Both are read as "the best score at this cost or less".
    """
    grid = np.linspace(cost.min(), cost[int(right.argmax())], steps)
    router = np.array([points.score[points.cost_usd <= g + 1e-15].max(initial=-np.inf) for g in grid])
    router = np.where(np.isfinite(router), router, right[int(cost.argmin())])
    return float((router - np.array([hull_score(cost, right, g) for g in grid])).mean())


def hull_score(cost: np.ndarray, right: np.ndarray, budget: float) -> float:
    """The best mean score that mixing single models at random gets for a mean cost of `budget`. Shapes: (M,) each."""
    best = -np.inf
    for i in range(len(cost)):
        if cost[i] <= budget:
            best = max(best, right[i])
            for j in range(len(cost)):
                if cost[j] > budget:
                    share = (budget - cost[i]) / (cost[j] - cost[i])
                    best = max(best, right[i] + share * (right[j] - right[i]))
    return float(best)
