"""Student against teacher on the same rows: what compression took, and from whom."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from modelhub.ml.fairness.intervals import Interval, paired_difference, wilson


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


def excess_gap_bootstrap(
    teacher_right: np.ndarray,
    student_right: np.ndarray,
    in_group: np.ndarray,
    *,
    clusters: np.ndarray | None = None,
    draws: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Interval:
    """`excess_gap` with a percentile interval from whole clusters drawn again, group and rest apart.

    Rows of one cluster (a template, an end user) stand or fall together, so rows drawn one by one would promise too much.
    Clusters with the same sum and size are interchangeable, so their counts are drawn, which is the same and quick.
    Shapes: (N,) each. Raises ValueError when group or rest is empty.
    """
    teacher, student = np.asarray(teacher_right, float), np.asarray(student_right, float)
    member = np.asarray(in_group, bool)
    if not member.any() or member.all():
        raise ValueError("both the group and the rest need rows")
    lost = teacher - student
    keys = (
        np.arange(len(lost)) if clusters is None else np.unique(np.asarray(clusters), return_inverse=True)[1]
    )
    rng = np.random.default_rng(seed)
    drawn = _drawn_means(lost[member], keys[member], draws, rng) - _drawn_means(
        lost[~member], keys[~member], draws, rng
    )
    tail = 100 * (1 - confidence) / 2
    low, high = np.percentile(drawn, [tail, 100 - tail])
    return Interval(float(lost[member].mean() - lost[~member].mean()), float(low), float(high))


def _drawn_means(lost: np.ndarray, keys: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Means of `draws` samples of as many clusters as there are, with replacement. Gives (draws,)."""
    _, place = np.unique(keys, return_inverse=True)
    sums, sizes = np.bincount(place, lost), np.bincount(place)
    kinds, count = np.unique(np.stack([sums, sizes]), axis=1, return_counts=True)
    taken = rng.multinomial(len(sums), count / len(sums), size=draws)
    return (taken @ kinds[0]) / (taken @ kinds[1])


@dataclass(frozen=True, slots=True)
class Emergence:
    """Bias that came with compression: rows where the student is biased and the teacher isn't, and the inverse.

    `emerged`, `healed`: those shares with Wilson's interval; `difference`: emerged less healed, paired; McNemar's p beside.
    """

    n: int
    only_student: int
    only_teacher: int
    emerged: Interval
    healed: Interval
    difference: Interval
    p_value: float


def emergence(teacher_biased: np.ndarray, student_biased: np.ndarray) -> Emergence:
    """P(student biased, teacher not) and the inverse, on the same rows. Shapes: (N,) of bool each, N > 0."""
    teacher, student = np.asarray(teacher_biased, bool), np.asarray(student_biased, bool)
    found, n = mcnemar(student, teacher), len(teacher)
    return Emergence(
        n, found.only_first, found.only_second, wilson(found.only_first, n), wilson(found.only_second, n),
        paired_difference(student, teacher), found.p_value,
    )  # fmt: skip


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
