"""Metrics by group of any classifier: accuracy, F1, calibration, abstention; impact ratios over groups and intersections."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from modelhub.ml import calibration
from modelhub.ml.fairness.intervals import Interval, wilson

LEFT_OUT_UNDER = (
    0.02  # NYC Local Law 144: a category of less than 2 % of the rows may be left out, with the reason
)


@dataclass(frozen=True, slots=True)
class GroupQuality:
    """One group's rows: how often right (with Wilson's interval), macro F1, calibration error, share without an answer."""

    n: int
    accuracy: Interval
    macro_f1: float
    calibration_error: float | None
    abstention: float


def quality_by_group(
    groups: np.ndarray, truth: np.ndarray, predicted: np.ndarray, confidence: np.ndarray | None = None
) -> dict[str, GroupQuality]:
    """Every group's quality, in order of name. Shapes: (N,) each; confidence is the score of the predicted label.

    An empty or None prediction is an abstention: it is wrong, and takes no part in calibration. Raises ValueError for
    unequal lengths or a confidence outside 0..1.
    """
    groups, truth, predicted = np.asarray(groups), np.asarray(truth, object), np.asarray(predicted, object)
    if not len(groups) == len(truth) == len(predicted):
        raise ValueError(f"{len(groups)} groups, {len(truth)} truths and {len(predicted)} predictions differ")
    if confidence is not None:
        confidence = np.asarray(confidence, float)
        if len(confidence) != len(groups) or ((confidence < 0) | (confidence > 1)).any():
            raise ValueError("confidence must hold one score in 0..1 for each row")
    found = {}
    for group in np.unique(groups):
        rows = groups == group
        answered = np.array([label is not None and label != "" for label in predicted[rows]], bool)
        right = (predicted[rows] == truth[rows]) & answered
        error = None
        if confidence is not None and answered.any():
            error = calibration.by_width(confidence[rows][answered], right[answered])
        found[str(group)] = GroupQuality(
            int(rows.sum()), wilson(int(right.sum()), int(rows.sum())), macro_f1(truth[rows], predicted[rows]), error,
            float(1 - answered.mean()),
        )  # fmt: skip
    return found


def macro_f1(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Mean F1 over the labels that occur in either, 0 where a label was never hit. Shapes: (N,) each."""
    truth, predicted = np.asarray(truth, object), np.asarray(predicted, object)
    labels = {label for label in (*truth, *predicted) if label is not None and label != ""}
    scores = []
    for label in sorted(labels, key=str):
        asked, given = truth == label, predicted == label
        hits, whole = int((asked & given).sum()), int(asked.sum() + given.sum())
        scores.append(2 * hits / whole)
    return float(np.mean(scores)) if scores else 0.0


@dataclass(frozen=True, slots=True)
class Impact:
    """One category's selection rate over the highest, with Wilson's interval of the rate; `left_out` says why it isn't judged."""

    category: str
    n: int
    selection: Interval
    ratio: float | None
    left_out: str = ""


def impact_ratios(selected: np.ndarray, categories: Mapping[str, np.ndarray]) -> dict[str, list[Impact]]:
    """Impact ratios by every category and by every intersection of two of them ("sex × race").

    Shapes: selected (N,) of 0 and 1; each category (N,) of names. A category of less than 2 % of the rows is left out of the
    comparison, not of the table. The four-fifths rule asks for 0.8; beside a ratio stands an interval, since five equal
    groups of 100 break the rule by chance about every second time.
    """
    selected = np.asarray(selected)
    if not np.isin(selected, (0, 1)).all():
        raise ValueError("selected must hold 0 and 1 only")
    values = {name: np.asarray(column).astype(str) for name, column in categories.items()}
    if any(len(column) != len(selected) for column in values.values()):
        raise ValueError("every category needs one name for each row")
    names = sorted(values)
    crossed = {
        f"{a} × {b}": np.char.add(np.char.add(values[a], " × "), values[b])
        for i, a in enumerate(names)
        for b in names[i + 1 :]
    }
    return {name: _impacts(selected, column) for name, column in (values | crossed).items()}


def _impacts(selected: np.ndarray, column: np.ndarray) -> list[Impact]:
    rows = [(str(name), column == name) for name in np.unique(column)]
    rates = {name: wilson(int(selected[mask].sum()), int(mask.sum())) for name, mask in rows}
    judged = [name for name, mask in rows if mask.mean() >= LEFT_OUT_UNDER]
    highest = max((rates[name].value for name in judged), default=0.0)
    found = []
    for name, mask in rows:
        if name not in judged:
            found.append(
                Impact(name, int(mask.sum()), rates[name], None, f"under {LEFT_OUT_UNDER:.0%} of the rows")
            )
        else:
            found.append(
                Impact(name, int(mask.sum()), rates[name], rates[name].value / highest if highest else 1.0)
            )
    return found
