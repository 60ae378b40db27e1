"""The risk classifier: one weight per hashed n-gram, a slope and an offset per script; numpy alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from modelhub.ml.risk import ngrams


@dataclass(frozen=True, slots=True)
class RiskWeights:
    """Shapes: weight (BUCKETS,) float32; bias a number. The score is a probability after the sigmoid."""

    weight: np.ndarray
    bias: float

    def logit(self, text: str) -> float:
        """Log-odds of one text being offensive."""
        buckets = ngrams.buckets_of(text)
        return float(self.weight[buckets].sum() / np.sqrt(len(buckets)) + self.bias)

    def score(self, texts: list[str]) -> np.ndarray:
        """Probabilities (N,) float32 in [0, 1]."""
        logits = np.array([self.logit(text) for text in texts], np.float64)
        return (1.0 / (1.0 + np.exp(-np.clip(logits, -60, 60)))).astype(np.float32)

    def save(self, path: Path) -> None:
        """Write as `.npz`, the weights in 16 bits."""
        np.savez_compressed(path, weight=self.weight.astype(np.float16), bias=np.float32(self.bias))


def load(path: Path) -> RiskWeights:
    """Read what `save` wrote. Raises ValueError for another shape."""
    with np.load(path, allow_pickle=False) as stored:
        weight = stored["weight"].astype(np.float32)
        bias = float(stored["bias"])
    if weight.shape != (ngrams.BUCKETS,):
        raise ValueError(f"{path.name} holds {weight.shape} weights, expected ({ngrams.BUCKETS},)")
    return RiskWeights(weight, bias)
