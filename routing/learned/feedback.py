"""Scorers of one workload from judged answers: no text, only what a decision's facts say and, where a line of business opted in,
the numbers of the edge student. Pure numpy.

Each deployment has a logistic model of its own over shared features, drawn towards its plain rate; it is kept only where it beats
that rate on answers that it hadn't seen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

LEAST_ROWS, LEAST_OF_EACH = 200, 20
PENALTY = 20.0
FOLDS, DRAWS = 5, 1_000
FACTS = (
    "log_tokens_in",
    "difficulty",
    "tools",
    "chinese",
    "other_language",
    "entities",
    "log_max_tokens",
    "stream",
)


def fact_features(facts: Mapping[str, Any]) -> list[float]:
    """Eight numbers of a decision's facts, in the order of FACTS."""
    request, entities = facts.get("request") or {}, (facts.get("data") or {}).get("entities") or ()
    language = request.get("language")
    return [
        math.log1p(max(0.0, float(request.get("tokens_in") or 0))), float(request.get("difficulty") or 0),
        float(bool(request.get("has_tools"))), float(language == "zh"), float(language == "other"), float(len(entities)),
        math.log1p(max(0.0, float(request.get("max_tokens") or 0))), float(bool(request.get("stream"))),
    ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Judged:
    """N judged answers: features (N, K), which deployment gave each (N,), and whether it was right (N,) in {0, 1}."""

    features: np.ndarray
    deployment: np.ndarray
    right: np.ndarray

    def take(self, rows: np.ndarray) -> Judged:
        return Judged(self.features[rows], self.deployment[rows], self.right[rows])


@dataclass(frozen=True, slots=True)
class WorkloadScorer:
    """Chances by deployment for one workload. `sketch`: which edge student's numbers follow the facts' eight; empty: none."""

    centre: tuple[float, ...]
    scale: tuple[float, ...]
    weights: Mapping[str, tuple[float, ...]]  # deployment → bias, then one a feature
    sketch: str = ""
    _flat: dict[str, np.ndarray] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        flat = {name: np.asarray(row, float) for name, row in self.weights.items()}
        if any(len(row) != len(self.centre) + 1 or not np.isfinite(row).all() for row in flat.values()):
            raise ValueError("a workload's scorer has weights of another number than its features")
        object.__setattr__(self, "_flat", flat)

    def chances(self, features: np.ndarray) -> dict[str, float]:
        """Deployment → chance. Shape: (K,)."""
        plain = np.clip((features - self.centre) / self.scale, -4, 4)
        return {
            n: float(1 / (1 + math.exp(-float(row[0] + row[1:] @ plain)))) for n, row in self._flat.items()
        }

    def as_json(self) -> dict[str, Any]:
        return {
            "centre": list(self.centre), "scale": list(self.scale), "sketch": self.sketch,
            "weights": {name: [round(w, 6) for w in row] for name, row in self.weights.items()},
        }  # fmt: skip

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> WorkloadScorer:
        """Raises KeyError, TypeError or ValueError for what `as_json` didn't write."""
        weights = {str(name): tuple(map(float, row)) for name, row in stored["weights"].items()}
        return cls(tuple(stored["centre"]), tuple(stored["scale"]), weights, str(stored["sketch"]))


@dataclass(frozen=True, slots=True)
class Fitted:
    """A scorer, and by how much it beats each deployment's plain rate: mean log loss saved an answer, with its interval."""

    scorer: WorkloadScorer
    gain: float
    low: float
    high: float
    n: int
    by_deployment: dict[str, int]

    @property
    def better(self) -> bool:
        return self.low > 0


def enough(judged: Judged) -> dict[str, str]:
    """Deployment → what is missing; those with enough answers of both kinds aren't named."""
    missing = {}
    for name in np.unique(judged.deployment):
        right = judged.right[judged.deployment == name]
        least = int(min(right.sum(), len(right) - right.sum()))
        if len(right) < LEAST_ROWS or least < LEAST_OF_EACH:
            missing[str(name)] = (
                f"{len(right)} of {LEAST_ROWS} judged answers, {least} of {LEAST_OF_EACH} of the rarer kind"
            )
    return missing


def fit(judged: Judged, *, sketch: str = "", seed: int = 0, present: WorkloadScorer | None = None) -> Fitted:
    """Fit on all rows, judge across folds against each deployment's plain rate, or against the scorer now in use.

    Raises ValueError where no deployment has enough judged answers.
    """
    missing = enough(judged)
    rows = np.flatnonzero([name not in missing for name in judged.deployment.tolist()])
    if not len(rows):
        told = "; ".join(f"{name}: {why}" for name, why in missing.items()) or "no judged answers"
        raise ValueError(f"not enough judged answers ({told})")
    judged = judged.take(rows)
    order = np.random.default_rng(seed).permutation(len(judged.right))
    ours, theirs = np.empty(len(order)), np.empty(len(order))
    for held in np.array_split(order, FOLDS):
        rest = judged.take(np.setdiff1d(order, held))
        scorer, rates = _scorer(rest, sketch), _rates(rest)
        for i in held:
            name, features = str(judged.deployment[i]), judged.features[i]
            ours[i] = scorer.chances(features)[name]
            usual = present.chances(features).get(name) if present is not None else None
            theirs[i] = rates[name] if usual is None else usual
    gain = _loss(theirs, judged.right) - _loss(ours, judged.right)
    rng = np.random.default_rng(seed)
    drawn = [gain[rng.integers(0, len(gain), len(gain))].mean() for _ in range(DRAWS)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    names, counts = np.unique(judged.deployment, return_counts=True)
    return Fitted(
        _scorer(judged, sketch), float(gain.mean()), float(low), float(high), len(gain),
        {str(n): int(c) for n, c in zip(names, counts, strict=True)},
    )  # fmt: skip


def _scorer(judged: Judged, sketch: str) -> WorkloadScorer:
    centre, scale = judged.features.mean(axis=0), judged.features.std(axis=0)
    scale = np.where(scale < 1e-6, 1.0, scale)
    plain = np.clip((judged.features - centre) / scale, -4, 4)
    weights = {}
    for name in np.unique(judged.deployment):
        rows = judged.deployment == name
        weights[str(name)] = tuple(_logistic(plain[rows], judged.right[rows]).tolist())
    return WorkloadScorer(tuple(centre.tolist()), tuple(scale.tolist()), weights, sketch)


def _rates(judged: Judged) -> dict[str, float]:
    return {
        str(name): float(
            (judged.right[judged.deployment == name].sum() + 1) / ((judged.deployment == name).sum() + 2)
        )
        for name in np.unique(judged.deployment)
    }


def _logistic(features: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Ridge-penalised logistic regression by Newton's method, the bias free. Shapes: (N, K), (N,) -> (K + 1,)."""
    x = np.concatenate([np.ones((len(features), 1)), features], axis=1)
    penalty = np.full(x.shape[1], PENALTY)
    penalty[0] = 1e-6
    weight = np.zeros(x.shape[1])
    for _ in range(30):
        chance = 1 / (1 + np.exp(-np.clip(x @ weight, -30, 30)))
        gradient = x.T @ (chance - right) + penalty * weight
        hessian = (x * (chance * (1 - chance))[:, None]).T @ x + np.diag(penalty + 1e-9)
        step = np.linalg.solve(hessian, gradient)
        weight = weight - step
        if np.abs(step).max() < 1e-8:
            break
    return weight


def _loss(chance: Sequence[float] | np.ndarray, right: np.ndarray) -> np.ndarray:
    kept = np.clip(np.asarray(chance), 1e-3, 1 - 1e-3)
    return -(right * np.log(kept) + (1 - right) * np.log(1 - kept))
