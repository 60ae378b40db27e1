"""Joining the deep and the wide channel, and making their confidence mean what it says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from modelhub.ml import calibration


@dataclass(frozen=True, slots=True)
class Blend:
    """probabilities = softmax((deep + wide_share · wide) / temperature)."""

    wide_share: float
    temperature: float

    def logits(self, deep: np.ndarray, wide: np.ndarray) -> np.ndarray:
        """Blended and calibrated logits. Shapes: (N, L) each."""
        return (deep + self.wide_share * wide) / self.temperature


def fit_blend(deep: np.ndarray, wide: np.ndarray, y: np.ndarray) -> Blend:
    """The two weights that make held-out rows likeliest; both stay positive. Shapes: (N, L), (N, L), (N,)."""

    def loss(logs: np.ndarray) -> float:
        return cross_entropy(np.exp(logs[0]) * deep + np.exp(logs[1]) * wide, y)

    found = minimize(loss, np.zeros(2), method="Nelder-Mead", options={"xatol": 1e-3, "fatol": 1e-6})
    a, b = np.exp(np.clip(found.x, -7, 7))
    return Blend(wide_share=float(b / a), temperature=float(1 / a))


def cross_entropy(logits: np.ndarray, y: np.ndarray) -> float:
    """Mean negative log-likelihood of the right labels. Shapes: (N, L), (N,)."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    return float((np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(y)), y]).mean())


def calibration_error(logits: np.ndarray, y: np.ndarray) -> float:
    """Expected calibration error of the likeliest label's chance, over equal bins of confidence. Shapes: (N, L), (N,)."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    confidence = (shifted / shifted.sum(axis=1, keepdims=True)).max(axis=1)
    return calibration.by_width(confidence, logits.argmax(axis=1) == y)
