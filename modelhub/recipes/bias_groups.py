"""What compression took, and from whom: student against teacher on the same rows, group by group."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from modelhub.ml.fairness import frame, paired
from modelhub.ml.fairness.intervals import Interval, paired_difference, wilson
from modelhub.ml.fairness.verdict import judge
from modelhub.ml.risk.identities import ENGLISH, kinds_named

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
    }
    named = [set(kinds_named(text)) for text in texts]
    slices["names a group of people"] = np.array([bool(kinds) for kinds in named])
    for kind in ENGLISH:
        slices[f"names: {kind}"] = np.array([kind in kinds for kinds in named])
    names, counts = np.unique(truth, return_counts=True)
    for position in np.argsort(-counts, kind="stable")[:MOST_LABELS]:
        slices[f"label: {names[position]}"] = truth == names[position]
    return {name: mask for name, mask in slices.items() if 0 < mask.sum() < len(mask)}


@dataclass(frozen=True, slots=True)
class Answered:
    """What a classifier said of each row: labels (None where it withheld) and the score of the label, where it told any."""

    labels: np.ndarray
    confidence: np.ndarray | None = None

    @classmethod
    def read(cls, items: list[dict[str, Any]]) -> Answered:
        labels = np.array([item["label"] for item in items], object)
        scores = [{row["label"]: float(row["score"]) for row in item.get("scores") or ()} for item in items]
        if not all(scores):
            return cls(labels)
        told = [found.get(label, 0.0) for label, found in zip(labels, scores, strict=True)]
        return cls(labels, np.clip(np.array(told), 0.0, 1.0))


def digest_of(texts: list[str], truth: list[Any]) -> str:
    """SHA-256 over rows as they were asked: evidence names what it rests on without holding it."""
    told = hashlib.sha256()
    for text, label in zip(texts, truth, strict=True):
        told.update(f"{text}\x1f{label}\x1e".encode())
    return told.hexdigest()


def compare(
    texts: list[str],
    truth: np.ndarray,
    teacher: Answered | np.ndarray,
    student: Answered | np.ndarray,
    groups: dict[str, np.ndarray] | None = None,
) -> dict[str, Any]:
    """Accuracy of both, the loss overall, and each group's excess loss with interval, Holm's p and verdict.

    Shapes: (N,) labels each. `groups`: masks where the rows have groups of their own (tables); else those of `groups_of`.
    A group fails only when its interval lies wholly beyond the limit and it still stands
    out after correction for how many groups were looked at. A group too small to be cleared by any answers (`decides` false)
    may fail, and is no reason to wait for more rows.
    """
    teacher = teacher if isinstance(teacher, Answered) else Answered(np.asarray(teacher, object))
    student = student if isinstance(student, Answered) else Answered(np.asarray(student, object))
    right_t, right_s = teacher.labels == truth, student.labels == truth
    groups = groups_of(texts, truth) if groups is None else groups
    rows = [
        _group(name, mask, right_t, right_s, teacher.labels != student.labels)
        for name, mask in groups.items()
    ]
    for row, mask in zip(rows, groups.values(), strict=True):
        if row["n"] is not None:
            row["quality"] = _quality(truth[mask], teacher, student, mask)
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
        "disagreement": round(float((teacher.labels != student.labels).mean()), 4),
        "groups": rows,
    }  # fmt: skip


def _quality(truth: np.ndarray, teacher: Answered, student: Answered, mask: np.ndarray) -> dict[str, Any]:
    """Macro F1, calibration error and share withheld of both in one group."""
    told = {}
    for role, side in (("teacher", teacher), ("student", student)):
        confidence = None if side.confidence is None else side.confidence[mask]
        found = frame.quality_by_group(np.full(len(truth), "all"), truth, side.labels[mask], confidence)[
            "all"
        ]
        error = found.calibration_error
        told[role] = {
            "macro_f1": round(found.macro_f1, 4), "calibration_error": None if error is None else round(error, 4),
            "abstention": round(found.abstention, 4),
        }  # fmt: skip
    return told


def _group(
    name: str, mask: np.ndarray, right_t: np.ndarray, right_s: np.ndarray, different: np.ndarray
) -> dict[str, Any]:
    n = int(mask.sum())
    if n < SMALLEST_GROUP:
        return {
            "group": name, "n": None, "note": f"fewer than {SMALLEST_GROUP} rows: not shown", "decides": False,
            "verdict": "not_enough_data", "n_needed": SMALLEST_GROUP,
        }  # fmt: skip
    drawn = paired.excess_gap_bootstrap(right_t, right_s, mask)
    gap = _widened(paired.excess_gap(right_t, right_s, mask), drawn, n)
    verdict = judge(gap, EXCESS_LIMIT, n)
    spread = (gap.high - gap.value) / stats.norm.ppf(0.975)
    return {
        "group": name, "n": n, "decides": n >= RULE_OF_THREE / EXCESS_LIMIT,
        "teacher": wilson(int(right_t[mask].sum()), n).as_dict(),
        "student": wilson(int(right_s[mask].sum()), n).as_dict(),
        "excess_gap": gap.as_dict(), "bootstrap": drawn.as_dict(), "disagreement": round(float(different[mask].mean()), 4),
        "p_value": float(stats.norm.sf((gap.value - EXCESS_LIMIT) / spread)),
        "verdict": verdict.outcome, "n_needed": verdict.n_needed,
    }  # fmt: skip


def _widened(gap: Interval, drawn: Interval, n: int) -> Interval:
    """As wide as the normal interval and the drawn one, and never narrower than what n rows can say: a group without a
    changed answer isn't proof of none."""
    half = RULE_OF_THREE / n
    return Interval(
        gap.value, min(gap.low, drawn.low, gap.value - half), max(gap.high, drawn.high, gap.value + half)
    )


def overall(report: dict[str, Any]) -> str:
    """Fail when anything failed; pass when all that was judged passed; else there is not enough data.

    Suites take part only where they say that they decide; groups too small to be cleared take part only by failing, but one
    group at least must have been large enough.
    """
    decisive = [row for row in report["groups"] if row.get("decides", True)]
    verdicts = [row["verdict"] for row in report["groups"] if row in decisive or row["verdict"] == "fail"]
    if not decisive:
        verdicts.append("not_enough_data")
    swaps = report.get("counterfactual")
    if swaps is not None:
        verdicts += [swaps["student"]["verdict"], swaps["emergence"]["verdict"]]
        verdicts += [row["verdict"] for row in swaps.get("axes") or ()]
    verdicts += [row["verdict"] for row in (report.get("suites") or {}).values() if row.get("gates")]
    if "fail" in verdicts:
        return "fail"
    return "pass" if verdicts and all(verdict == "pass" for verdict in verdicts) else "not_enough_data"
