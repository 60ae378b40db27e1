"""Student against teacher on the same rows: what compression took, and from whom."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from modelhub.ml.fairness.intervals import Interval, paired_difference


@dataclass(frozen=True, slots=True)
class McNemar:
    """Rows that only the first got right, only the second did, and the chance of so uneven a split."""

    only_first: int
    only_second: int
    p_value: float


def mcnemar(first_right: np.ndarray, second_right: np.ndarray) -> McNemar:
    """Exact two-sided McNemar test. Shapes: (N,) of bool each, over the same rows."""
    first, second = np.asarray(first_right, bool), np.asarray(second_right, bool)
    if first.shape != second.shape:
        raise ValueError(f"paired rows must be equal, got {first.shape} and {second.shape}")
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    changed = only_first + only_second
    p_value = float(stats.binomtest(only_first, changed).pvalue) if changed else 1.0
    return McNemar(only_first, only_second, p_value)


def excess_gap(
    teacher_right: np.ndarray, student_right: np.ndarray, in_group: np.ndarray, confidence: float = 0.95
) -> Interval:
    """What the student lost in the group beyond what it lost on the rest: (A_T,g − A_S,g) − (A_T,rest − A_S,rest).

    The two losses are of different rows, so their variances add. Positive means that the group paid more.
    Shapes: (N,) of bool each. Raises ValueError when group or rest is empty.
    """
    teacher, student = np.asarray(teacher_right, float), np.asarray(student_right, float)
    member = np.asarray(in_group, bool)
    if not member.any() or member.all():
        raise ValueError("both the group and the rest need rows")
    own = paired_difference(teacher[member], student[member], confidence)
    rest = paired_difference(teacher[~member], student[~member], confidence)
    half = math.hypot(own.high - own.value, rest.high - rest.value)
    value = own.value - rest.value
    return Interval(value, value - half, value + half)


def disagreement(
    teacher_labels: np.ndarray, student_labels: np.ndarray, groups: np.ndarray
) -> dict[str, float]:
    """The share of rows where the two choose differently, by group. Shapes: (N,) each."""
    different = np.asarray(teacher_labels) != np.asarray(student_labels)
    groups = np.asarray(groups)
    return {str(group): float(different[groups == group].mean()) for group in np.unique(groups)}


def holm(p_values: list[float]) -> list[float]:
    """Adjusted p-values within one audit (Holm 1979), in the order given."""
    order = np.argsort(p_values, kind="stable")
    adjusted, highest = np.empty(len(p_values)), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted.tolist()
