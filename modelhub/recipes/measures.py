"""What counts as right, by workload: the metric with its interval, and plain right answers beside."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from modelhub.ml.fairness.intervals import wilson

BOOTSTRAPS = 400
SEED = 7


@dataclass(frozen=True, slots=True)
class Measured:
    """The workload's metric over n rows with a 95 % interval, and which answers were right."""

    metric: str
    value: float
    low: float
    high: float
    right: np.ndarray  # (N,) bool
    detail: dict[str, Any] = field(default_factory=dict)


def bootstrap(measure: Callable[[np.ndarray], float], n: int) -> tuple[float, float]:
    """A seeded percentile interval of `measure(rows)` over resampled row positions."""
    rng = np.random.default_rng(SEED)
    values = [measure(rng.integers(0, n, n)) for _ in range(BOOTSTRAPS)]
    values = [v for v in values if not math.isnan(v)]
    return (
        (float(np.quantile(values, 0.025)), float(np.quantile(values, 0.975)))
        if values
        else (math.nan, math.nan)
    )


def macro_f1(answers: np.ndarray, truth: np.ndarray) -> float:
    """Unweighted mean of F1 over the labels that occur in the truth."""
    scores = []
    for label in np.unique(truth):
        hit = np.sum((answers == label) & (truth == label))
        wrong = np.sum((answers == label) != (truth == label))
        scores.append(2 * hit / (2 * hit + wrong) if hit + wrong else 0.0)
    return float(np.mean(scores))


def average_precision(scores: np.ndarray, truth: np.ndarray) -> float:
    """Area under the precision-recall curve as a step function; NaN without positives."""
    order = np.argsort(-scores, kind="stable")
    hits = truth[order]
    if not hits.sum():
        return math.nan
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return float((precision * hits).sum() / hits.sum())


def labels(rows: Sequence[dict[str, Any]], truth: Sequence[Any]) -> Measured:
    answers, wanted = np.array([str(r["label"]) for r in rows]), np.array([str(t) for t in truth])
    right = answers == wanted
    rate = wilson(int(right.sum()), len(right))
    f1 = macro_f1(answers, wanted)
    low, high = bootstrap(lambda i: macro_f1(answers[i], wanted[i]), len(right))
    return Measured(
        "accuracy",
        rate.value,
        rate.low,
        rate.high,
        right,
        {"macro_f1": {"value": f1, "low": low, "high": high}},
    )


def alarms(rows: Sequence[dict[str, Any]], truth: Sequence[Any]) -> Measured:
    """PR-AUC; recall and precision at the model's own threshold; "always no" beside."""
    wanted = np.array([int(t) for t in truth])
    said, scores = (
        np.array([int(r["prediction"]) for r in rows]),
        np.array([float(r["probability"]) for r in rows]),
    )
    low, high = bootstrap(lambda i: average_precision(scores[i], wanted[i]), len(wanted))
    caught = int(((said == 1) & (wanted == 1)).sum())
    detail = {
        "recall": caught / max(1, int(wanted.sum())), "precision": caught / max(1, int(said.sum())),
        "always_no": float((wanted == 0).mean()), "faults": int(wanted.sum()),
    }  # fmt: skip
    return Measured("pr_auc", average_precision(scores, wanted), low, high, said == wanted, detail)


def faults(rows: Sequence[dict[str, Any]], truth: Sequence[Any]) -> Measured:
    answers, wanted = np.array([str(r["prediction"]) for r in rows]), np.array([str(t) for t in truth])
    low, high = bootstrap(lambda i: macro_f1(answers[i], wanted[i]), len(wanted))
    return Measured("macro_f1", macro_f1(answers, wanted), low, high, answers == wanted)


def cycles(
    rows: Sequence[dict[str, Any]], truth: Sequence[Any], cap: float = 125, within: float = 20
) -> Measured:
    given = np.minimum([float(r["prediction"]) for r in rows], cap)
    wanted = np.minimum([float(t) for t in truth], cap)
    error = given - wanted

    def rmse(i: np.ndarray) -> float:
        return float(np.sqrt(np.mean(error[i] ** 2)))

    low, high = bootstrap(rmse, len(error))
    return Measured("rmse", rmse(np.arange(len(error))), low, high, np.abs(error) <= within)


def units(rows: Sequence[dict[str, Any]], truth: Sequence[Any], within: float = 0.15) -> Measured:
    given, wanted = np.array([float(r["prediction"]) for r in rows]), np.array([float(t) for t in truth])
    share = np.abs(given - wanted) / np.maximum(np.abs(wanted), 1e-9)
    low, high = bootstrap(lambda i: float(share[i].mean()), len(share))
    return Measured("mape", float(share.mean()), low, high, share <= within)


MEASURES: dict[str, Callable[..., Measured]] = {
    "equipment-fault": alarms, "plate-fault": faults, "remaining-life": cycles, "price-advice": units,
}  # fmt: skip
HIGHER_IS_BETTER = {"accuracy": True, "pr_auc": True, "macro_f1": True, "rmse": False, "mape": False}


def measure(workload: str, task: str, rows: Sequence[dict[str, Any]], truth: Sequence[Any]) -> Measured:
    """By the workload's own measure; KeyError for a prediction workload that has none."""
    return labels(rows, truth) if task == "classification" else MEASURES[workload](rows, truth)
