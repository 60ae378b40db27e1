"""What a text model's manifest says of each workload: accuracy, the TF-IDF row, and whether it loses to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from modelhub.ml import datasets
from modelhub.ml.fairness.intervals import paired_difference, wilson
from modelhub.ml.text import baseline
from modelhub.ml.text.blend import calibration_error
from modelhub.ml.text.corpus import Part

ALLOWED_LOSS = -0.02  # the paired difference's lower 95 % bound must lie above this
ENOUGH_ROWS = 1000


def macro_f1(truth: np.ndarray, predicted: np.ndarray) -> float:
    """F1 averaged over the labels that occur in the truth or the predictions."""
    scores = []
    for label in np.union1d(truth, predicted):
        hit = int(((truth == label) & (predicted == label)).sum())
        wrong = int((truth == label).sum() + (predicted == label).sum()) - 2 * hit
        scores.append(2 * hit / (2 * hit + wrong))
    return float(np.mean(scores))


def metric_row(
    workload: str, truth: np.ndarray, predicted: np.ndarray, tfidf: np.ndarray, method: str
) -> dict[str, Any]:
    """One workload's entry under `metrics`. Shapes: (N,) label positions each.

    The verdict is on losing to TF-IDF: pass when the paired difference lies wholly above −2 points, fail when
    it lies wholly below, not_enough_data in between or where validation rows are under 1,000 and the rows
    were not cross-validated.
    """
    right, beside = predicted == truth, tfidf == truth
    difference = paired_difference(right, beside)
    row: dict[str, Any] = {
        "metric": "accuracy",
        **wilson(int(right.sum()), len(truth)).as_dict(),
        "n": len(truth),
        "method": method,
        "tfidf": {**wilson(int(beside.sum()), len(truth)).as_dict(), "n": len(truth)},
        "paired_difference": difference.as_dict(),
    }
    if workload in datasets.MACRO_F1_WORKLOADS:
        row["macro_f1"] = round(macro_f1(truth, predicted), 4)
        row["tfidf"]["macro_f1"] = round(macro_f1(truth, tfidf), 4)
    row["verdict"] = verdict(difference.low, difference.high, len(truth), method)
    return row


def validation_row(name: str, train: Part, part: Part, logits: np.ndarray, kept: Path) -> dict[str, Any]:
    """The entry from validation rows. The TF-IDF row's predictions are kept in the folder `kept`."""
    tfidf, strength = baseline.best_predictions(
        train.texts, train.y, part.texts, part.y, kept / f"tfidf-{name}.npz"
    )
    row = metric_row(name, part.y, logits.argmax(axis=1), tfidf, "validation")
    row["tfidf"]["strength"] = strength
    row["calibration_error"] = round(calibration_error(logits, part.y), 4)
    row["kept"] = surest(logits, part.y)
    return row


def surest(logits: np.ndarray, y: np.ndarray, coverage: float = 0.85) -> dict[str, float]:
    """Accuracy on the surest share of the answers, by calibrated confidence, with its interval and n."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    confidence = (shifted / shifted.sum(axis=1, keepdims=True)).max(axis=1)
    kept = np.argsort(-confidence, kind="stable")[: max(1, round(coverage * len(y)))]
    right = int((logits[kept].argmax(axis=1) == y[kept]).sum())
    return {"coverage": coverage, **wilson(right, len(kept)).as_dict(), "n": len(kept)}


def verdict(low: float, high: float, n: int, method: str) -> str:
    """Whether a paired difference from low to high is no loss."""
    if n < ENOUGH_ROWS and method != "cross-validated":
        return "not_enough_data"
    if low > ALLOWED_LOSS:
        return "pass"
    return "fail" if high < ALLOWED_LOSS else "not_enough_data"
