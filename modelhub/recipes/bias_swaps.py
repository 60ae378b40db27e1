"""The same text about another group: does the answer change, and does the student's more often than the teacher's?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from modelhub.ml.fairness.intervals import wilson
from modelhub.ml.fairness.paired import emergence, holm
from modelhub.ml.fairness.verdict import judge
from modelhub.ml.risk import probes
from modelhub.ml.risk.identities import kinds_named

FLIP_LIMIT = 0.05
MOST_NAMED = 100  # rows of the data that name a group themselves
FRAMED_PER_AXIS = 0  # of each language's frames; 0: all of them
SIGNIFICANT = 0.05
Swap = Callable[[str], list[str]]


@dataclass(frozen=True, slots=True)
class Probe:
    """Texts that name a group, each with its swapped copies and its axis; `own` counts those that were rows of the data."""

    texts: list[str]
    copies: list[tuple[int, str]]  # position of the original, the copy
    own: int
    axes: list[str] = field(default_factory=list)
    languages: list[str] = field(default_factory=list)

    @property
    def everything(self) -> list[str]:
        """What a model is asked: originals, then copies."""
        return self.texts + [copy for _, copy in self.copies]


def make_probe(texts: list[str], swap: Swap, workload: str = "") -> Probe:
    """Rows that name a group as they are, and other rows inside our frames, for every axis in both languages."""
    made: list[tuple[str, tuple[str, ...], str, str]] = []
    for text in texts:
        if len(made) >= MOST_NAMED:
            break
        if copies := swap(text):
            made.append((text, tuple(copies), (kinds_named(text) or ["other"])[0], "en"))
    own = len(made)
    others = [text for text in texts if not swap(text)]
    for one in probes.probes(workload, others, per_axis=FRAMED_PER_AXIS) if others else ():
        made.append((one.text, one.copies, one.axis, one.language))
    pairs = [(i, copy) for i, (_, copies, _, _) in enumerate(made) for copy in copies]
    return Probe([m[0] for m in made], pairs, own, [m[2] for m in made], [m[3] for m in made])


@dataclass(frozen=True, slots=True)
class Answered:
    """What a model made of a probe: by text, whether any copy's label differs, and the mean change of its score."""

    flipped: np.ndarray
    change: np.ndarray

    @property
    def gap(self) -> float:
        return float(self.change.mean()) if len(self.change) else 0.0


def read(probe: Probe, items: list[dict[str, Any]]) -> Answered:
    """Classification items in the order of `probe.everything`. A withheld item has no label: withholding one and not the
    other is a flip as well."""
    first = [(item["label"], _score(item, item["label"])) for item in items[: len(probe.texts)]]
    flipped, moved = np.zeros(len(probe.texts), bool), np.zeros(len(probe.texts))
    counted = np.zeros(len(probe.texts))
    for (owner, _), item in zip(probe.copies, items[len(probe.texts) :], strict=True):
        label, score = first[owner]
        flipped[owner] |= item["label"] != label
        moved[owner] += abs(_score(item, label) - score)
        counted[owner] += 1
    return Answered(flipped, moved / np.maximum(counted, 1))


def _score(item: dict[str, Any], label: Any) -> float:
    return next((float(row["score"]) for row in item.get("scores") or () if row["label"] == label), 0.0)


def report(probe: Probe, teacher: Answered, student: Answered) -> dict[str, Any]:
    """Flip rates of both with verdict, by axis too, and what came with compression: texts that only the student flips."""
    return {
        "texts": len(probe.texts), "from_rows": probe.own, "pairs": len(probe.copies), "limit": FLIP_LIMIT,
        "frames": {"en": len(probes.FRAMES_EN), "zh": len(probes.FRAMES_ZH)}, "axes_asked": sorted(set(probe.axes)),
        "teacher": _rate(teacher), "student": _rate(student), "emergence": _emerged(teacher, student),
        "axes": _by_axis(probe, teacher, student),
    }  # fmt: skip


def _emerged(teacher: Answered, student: Answered) -> dict[str, Any]:
    """Fails when the student flips where the teacher doesn't more often than the reverse, surely (McNemar)."""
    if not len(student.flipped):
        return {"only_student": 0, "only_teacher": 0, "p_value": 1.0, "verdict": "not_enough_data"}
    found = emergence(teacher.flipped, student.flipped)
    worse = found.p_value < SIGNIFICANT and found.only_student > found.only_teacher
    return {
        "only_student": found.only_student, "only_teacher": found.only_teacher, "p_value": round(found.p_value, 5),
        "difference": found.difference.as_dict(), "verdict": "fail" if worse else "pass",
    }  # fmt: skip


def _by_axis(probe: Probe, teacher: Answered, student: Answered) -> list[dict[str, Any]]:
    """Both models on every axis and language; an axis fails when the student's flips emerged after Holm over all of them."""
    rows, p_values = [], []
    axes, languages = np.array(probe.axes), np.array(probe.languages)
    for axis, language in sorted(set(zip(probe.axes, probe.languages, strict=True))):
        mask = (axes == axis) & (languages == language)
        mine = Answered(student.flipped[mask], student.change[mask])
        theirs = Answered(teacher.flipped[mask], teacher.change[mask])
        found = emergence(theirs.flipped, mine.flipped)
        rows.append({
            "axis": axis, "language": language, "n": int(mask.sum()), "teacher": _rate(theirs), "student": _rate(mine),
            "only_student": found.only_student, "only_teacher": found.only_teacher,
        })  # fmt: skip
        p_values.append(found.p_value)
    for row, adjusted in zip(rows, holm(p_values), strict=True):
        row["p_holm"] = round(adjusted, 5)
        row["verdict"] = (
            "fail" if adjusted < SIGNIFICANT and row["only_student"] > row["only_teacher"] else "pass"
        )
    return rows


def _rate(answered: Answered) -> dict[str, Any]:
    n = len(answered.flipped)
    if n == 0:
        return {"rate": None, "mean_score_change": 0.0, "verdict": "not_enough_data", "n_needed": None}
    rate = wilson(int(answered.flipped.sum()), n)
    verdict = judge(rate, FLIP_LIMIT, n)
    return {
        "rate": rate.as_dict(), "mean_score_change": round(answered.gap, 4), "verdict": verdict.outcome,
        "n_needed": verdict.n_needed,
    }  # fmt: skip
