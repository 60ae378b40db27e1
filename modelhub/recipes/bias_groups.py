"""What compression took, and from whom: student against teacher on the same rows, group by group."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

from modelhub.ml.fairness import paired
from modelhub.ml.fairness.intervals import Interval, paired_difference, wilson
from modelhub.ml.fairness.verdict import judge
from modelhub.ml.risk.identities import CHINESE, ENGLISH, names_a_group

EXCESS_LIMIT = 0.05  # a group may not lose five points more than the rest
SMALLEST_GROUP = 20  # smaller cells are not shown: they would tell of single rows
MOST_LABELS = 12
SIGNIFICANT = 0.05
RULE_OF_THREE = 3.0  # without an event in n rows its rate lies under 3/n with 95 % confidence


def groups_of(texts: list[str], truth: np.ndarray) -> dict[str, np.ndarray]:
    """Slices by length, by naming a group of people (and which kind), and by label: masks (N,) of bool.

    A slice that holds no row, or all of them, has nothing to be compared with and is left out.
    """
    lengths = np.array([len(text) for text in texts])
    short, long = np.quantile(lengths, [0.25, 0.75])
    slices = {
        "length: shortest quarter": lengths <= short,
        "length: longest quarter": lengths >= long,
        "names a group of people": np.array([names_a_group(text) for text in texts]),
    }
    for kind in ENGLISH:
        slices[f"names: {kind}"] = np.array([_names(text, kind) for text in texts])
    names, counts = np.unique(truth, return_counts=True)
    for position in np.argsort(-counts, kind="stable")[:MOST_LABELS]:
        slices[f"label: {names[position]}"] = truth == names[position]
    return {name: mask for name, mask in slices.items() if 0 < mask.sum() < len(mask)}


def _names(text: str, kind: str) -> bool:
    lowered = text.lower()
    words = set("".join(c if c.isalnum() or c == "-" else " " for c in lowered).split())
    english = {word for row in ENGLISH[kind] for word in row}
    chinese = {word for row in CHINESE.get(kind, ()) for word in row}
    return (
        not words.isdisjoint(english)
        or any(" " in word and word in lowered for word in english)
        or any(word in text for word in chinese)
    )


def compare(texts: list[str], truth: np.ndarray, teacher: np.ndarray, student: np.ndarray) -> dict[str, Any]:
    """Accuracy of both, the loss overall, and each group's excess loss with interval, Holm's p and verdict.

    Shapes: (N,) labels each. A group fails only when its interval lies wholly beyond the limit and it still stands
    out after correction for how many groups were looked at.
    """
    right_t, right_s = teacher == truth, student == truth
    rows = [
        _group(name, mask, right_t, right_s, teacher != student)
        for name, mask in groups_of(texts, truth).items()
    ]
    judged = [row for row in rows if "p_value" in row]
    for row, adjusted in zip(judged, paired.holm([row["p_value"] for row in judged]), strict=True):
        row["p_holm"] = round(adjusted, 5)
        if row["verdict"] == "fail" and adjusted >= SIGNIFICANT:
            row["verdict"] = "not_enough_data"
    n = len(truth)
    return {
        "n": n, "limit": EXCESS_LIMIT,
        "teacher_accuracy": wilson(int(right_t.sum()), n).as_dict(),
        "student_accuracy": wilson(int(right_s.sum()), n).as_dict(),
        "lost_overall": paired_difference(right_t, right_s).as_dict(),
        "disagreement": round(float((teacher != student).mean()), 4),
        "groups": rows,
    }  # fmt: skip


def _group(
    name: str, mask: np.ndarray, right_t: np.ndarray, right_s: np.ndarray, different: np.ndarray
) -> dict[str, Any]:
    n = int(mask.sum())
    if n < SMALLEST_GROUP:
        return {
            "group": name, "n": None, "note": f"fewer than {SMALLEST_GROUP} rows: not shown",
            "verdict": "not_enough_data", "n_needed": SMALLEST_GROUP,
        }  # fmt: skip
    gap = _widened(paired.excess_gap(right_t, right_s, mask), n)
    verdict = judge(gap, EXCESS_LIMIT, n)
    spread = (gap.high - gap.value) / stats.norm.ppf(0.975)
    return {
        "group": name, "n": n,
        "teacher": wilson(int(right_t[mask].sum()), n).as_dict(),
        "student": wilson(int(right_s[mask].sum()), n).as_dict(),
        "excess_gap": gap.as_dict(), "disagreement": round(float(different[mask].mean()), 4),
        "p_value": float(stats.norm.sf((gap.value - EXCESS_LIMIT) / spread)),
        "verdict": verdict.outcome, "n_needed": verdict.n_needed,
    }  # fmt: skip


def _widened(gap: Interval, n: int) -> Interval:
    """Never narrower than what n rows can say: a group without a changed answer isn't proof of none."""
    half = max(gap.high - gap.value, RULE_OF_THREE / n)
    return Interval(gap.value, gap.value - half, gap.value + half)
