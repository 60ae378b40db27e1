"""Intervals for rates and for their differences, independent and paired. Rates are fractions, never percent."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate between two bounds."""

    value: float
    low: float
    high: float

    def as_dict(self, digits: int = 4) -> dict[str, float]:
        """For manifests and reports."""
        return {name: round(float(getattr(self, name)), digits) for name in ("value", "low", "high")}


def _z(confidence: float) -> float:
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence={confidence} must lie in (0, 1)")
    return float(stats.norm.ppf(0.5 + confidence / 2))


def wilson(hits: int, n: int, confidence: float = 0.95) -> Interval:
    """Wilson's score interval for a rate. Raises ValueError unless 0 <= hits <= n and n > 0."""
    if n <= 0 or not 0 <= hits <= n:
        raise ValueError(f"hits={hits}, n={n} must satisfy 0 <= hits <= n and n > 0")
    z, rate = _z(confidence), hits / n
    shrink = 1 + z * z / n
    centre = (rate + z * z / (2 * n)) / shrink
    half = z * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n)) / shrink
    return Interval(rate, max(0.0, centre - half), min(1.0, centre + half))


def newcombe(hits_a: int, n_a: int, hits_b: int, n_b: int, confidence: float = 0.95) -> Interval:
    """Interval for the difference a − b of two independent rates (Newcombe 1998, method 10)."""
    a, b = wilson(hits_a, n_a, confidence), wilson(hits_b, n_b, confidence)
    difference = a.value - b.value
    low = difference - math.hypot(a.value - a.low, b.high - b.value)
    high = difference + math.hypot(a.high - a.value, b.value - b.low)
    return Interval(difference, low, high)


def paired_difference(a: np.ndarray, b: np.ndarray, confidence: float = 0.95) -> Interval:
    """Interval for mean(a − b) over the same rows, by the normal approximation.

    Shapes: a, b (N,) outcomes of the two models, usually 0 or 1. Raises ValueError for unequal or empty rows.
    """
    a, b = np.asarray(a, float), np.asarray(b, float)
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        raise ValueError(f"paired rows must be two equal, non-empty vectors, got {a.shape} and {b.shape}")
    differences = a - b
    spread = differences.std(ddof=1) if len(a) > 1 else math.inf
    half = _z(confidence) * spread / math.sqrt(len(a))
    return Interval(
        float(differences.mean()), float(differences.mean() - half), float(differences.mean() + half)
    )


def rows_needed(difference: float, rate: float = 0.5, power: float = 0.8, confidence: float = 0.95) -> int:
    """Rows per group that find a difference of two rates with this power, two-sided (`rate` is their mean)."""
    if difference <= 0:
        raise ValueError(f"difference={difference} must be positive")
    reach = _z(confidence) + float(stats.norm.ppf(power))
    low, high = max(0.0, rate - difference / 2), min(1.0, rate + difference / 2)
    return math.ceil(reach**2 * (low * (1 - low) + high * (1 - high)) / difference**2)
