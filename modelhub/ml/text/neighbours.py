"""Texts beside a small workload's own that its teacher is heard on: nobody labelled them for the task.

A workload of a few hundred or thousand rows shows a student too little of what its teacher knows. Sets that ship with the
product lend texts near enough for the teacher's view of them to mean something: short opinions for sentiment, the notes that
were written from the dialogues for clinical notes. Only training parts are read, and only texts, never a label.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from modelhub.ml import datasets
from modelhub.ml.text import augment

TWEETS, REQUESTS, NOTE_COPIES = 9000, 2000, 3


def texts(workload: str, seed: int = 1) -> list[str]:
    """Texts without a label for a workload's student; none for a workload that has rows enough."""
    found = _LENDERS.get(workload)
    return found(seed) if found is not None else []


def _opinions(seed: int) -> list[str]:
    """Tweets, which are full of praise and blame, and customers' requests, which hold little of either."""
    rng = np.random.default_rng(seed)
    tweets = datasets.load_offensive("en", "train").texts
    requests = (
        datasets.load("support-intent", "train").texts + datasets.load("assistant-intent", "train").texts
    )
    return [
        held[i]
        for held, count in ((tweets, TWEETS), (requests, REQUESTS))
        for i in rng.permutation(len(held))[:count]
    ]


def _notes(seed: int) -> list[str]:
    """The sections that were written from the dialogues, whole and broken."""
    notes = [row["section_text"] for row in datasets.read_csv("mts_dialog", "train")]
    return notes + augment.augment(notes, NOTE_COPIES, seed)


_LENDERS: dict[str, Callable[[int], list[str]]] = {
    "support-sentiment": _opinions,
    "clinical-notes": _notes,
}
