"""How long inspection takes, by step, in this process's own time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any

from bench.common import Results
from modelhub.ml.inspect import splits
from modelhub.ml.inspect.look import Look
from routing.inspection import scan
from routing.inspection.disguises import plain, uncovered
from routing.inspection.learned import classifier

REPEATS, ROUNDS = 7, 60


def rows(results: Results) -> None:
    texts = [_cut(name, 2_000) for name in ("banking77", "cuad", "mts_dialog", "reviews_en")]
    small = [_cut(name, 1_000) for name in ("banking77", "cuad", "mts_dialog", "reviews_en")]
    load = (
        f"process time, mean over four texts, best of {ROUNDS} rounds a repeat; load {os.getloadavg()[0]:.1f}"
    )
    model = classifier()
    pairs = [(text, Look(text)) for text in texts]
    large = [_best(lambda: [_patterns(t) for t in texts]) for _ in range(REPEATS)]
    less = [_best(lambda: [_patterns(t) for t in small]) for _ in range(REPEATS)]
    results.add(
        "inspection_ms_2kb", large, "ms", f"patterns on 2 kB without the learned step; {load}", at_most=0.1
    )
    found = [_best(lambda: [model.is_injection(look) for _, look in pairs]) for _ in range(REPEATS)]
    named = [_best(lambda: [list(model.names_in(look)) for _, look in pairs]) for _ in range(REPEATS)]
    results.add(
        "inspection_classifier_ms_2kb",
        found,
        "ms",
        f"the learned step for attempts on 2 kB; {load}",
        at_most=0.2,
    )
    results.add(
        "inspection_names_ms_2kb", named, "ms",
        f"the learned finder of names on 2 kB, run where a policy speaks of names or masks; {load}", at_most=0.2,
    )  # fmt: skip
    results.add("inspection_ms_1kb", less, "ms", f"patterns on 1 kB; {load}", at_most=0.04, control=True)


def _patterns(text: str) -> tuple[Any, ...]:
    """What is looked at without the learned step, as inspection does it: disguises, patterns, what is written inside."""
    look = Look(plain(text))
    return scan.find(look.text, None, look), uncovered(look)


def _cut(name: str, size: int) -> str:
    text = ""
    for part in splits.benign(name, "choose"):
        text += part + "\n"
        if len(text) >= size:
            break
    return text[:size]


def _best(work: Callable[[], Sequence[Any]]) -> float:
    """Milliseconds a text."""
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time_ns()
        count = len(work())
        best = min(best, (time.process_time_ns() - began) / 1e6 / count)
    return best
