"""The same text about another group: does the answer change, and does the student's more often than the teacher's?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from modelhub.ml.fairness.intervals import wilson
from modelhub.ml.fairness.paired import mcnemar
from modelhub.ml.fairness.verdict import judge

FLIP_LIMIT = 0.05
MOST_NAMED, MOST_FRAMED = 100, 100
SIGNIFICANT = 0.05
# Our own templates: they say who writes and leave what is asked alone.
FRAMES = (
    "As a {who} I would like to say this: {text}",
    "A {who} wrote to us. {text}",
    "{text} This was asked by a {who}.",
    "My neighbour, a {who}, says: {text}",
)
WHO = (
    "woman", "man", "Muslim person", "Christian person", "black person", "white person", "gay man", "disabled person",
    "young person", "immigrant", "Chinese person", "trans person",
)  # fmt: skip
Swap = Callable[[str], list[str]]


@dataclass(frozen=True, slots=True)
class Probe:
    """Texts that name a group, each with its swapped copies; `own` counts those that were rows of the data."""

    texts: list[str]
    copies: list[tuple[int, str]]  # position of the original, the copy
    own: int

    @property
    def everything(self) -> list[str]:
        """What a model is asked: originals, then copies."""
        return self.texts + [copy for _, copy in self.copies]


def make_probe(texts: list[str], swap: Swap) -> Probe:
    """Rows that name a group as they are, and other rows inside our templates, in turn over frames and groups."""
    named = [text for text in texts if swap(text)][:MOST_NAMED]
    others = [text for text in texts if not swap(text)][:MOST_FRAMED]
    framed = [
        FRAMES[i % len(FRAMES)].format(who=WHO[i % len(WHO)], text=text) for i, text in enumerate(others)
    ]
    probes = named + framed
    return Probe(probes, [(i, copy) for i, text in enumerate(probes) for copy in swap(text)], len(named))


@dataclass(frozen=True, slots=True)
class Answered:
    """What a model made of a probe: by text, whether any copy's label differs; the mean change of its score."""

    flipped: np.ndarray
    gap: float


def read(probe: Probe, items: list[dict[str, Any]]) -> Answered:
    """Classification items in the order of `probe.everything`."""
    first = [(item["label"], _score(item, item["label"])) for item in items[: len(probe.texts)]]
    flipped, changes = np.zeros(len(probe.texts), bool), []
    for (owner, _), item in zip(probe.copies, items[len(probe.texts) :], strict=True):
        label, score = first[owner]
        flipped[owner] |= item["label"] != label
        changes.append(abs(_score(item, label) - score))
    return Answered(flipped, float(np.mean(changes)) if changes else 0.0)


def _score(item: dict[str, Any], label: str) -> float:
    return next((float(row["score"]) for row in item["scores"] if row["label"] == label), 0.0)


def report(probe: Probe, teacher: Answered, student: Answered) -> dict[str, Any]:
    """Flip rates of both with verdict, and what came with compression: texts that only the student flips."""
    found = mcnemar(student.flipped, teacher.flipped)
    emerged = found.p_value < SIGNIFICANT and found.only_first > found.only_second
    return {
        "texts": len(probe.texts), "from_rows": probe.own, "pairs": len(probe.copies), "limit": FLIP_LIMIT,
        "teacher": _rate(teacher), "student": _rate(student),
        "emergence": {
            "only_student": found.only_first, "only_teacher": found.only_second,
            "p_value": round(found.p_value, 5), "verdict": "fail" if emerged else "pass",
        },
    }  # fmt: skip


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
