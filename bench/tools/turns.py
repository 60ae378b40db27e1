"""Timing contestants against each other, in turn, by the CPU time of one thread."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import numpy as np

Contestant = Callable[[int], object]  # called with the number of an input
INPUTS = 16  # they take turns, so that a sparse layer doesn't meet the same experts, warm in the cache, at every call
REPEATS = 5
ROUND_S, TRIAL_S = 0.6, 0.25  # CPU seconds for all calls of a round, and for trying one contestant


def check_agreement(found: Mapping[str, Contestant]) -> None:
    """Contestants must do the same work: RuntimeError unless 99 rows in 100 of their answers agree to 1e-3.

    Not all rows: a score within rounding of the next may choose another expert in another library.
    """
    answers = {name: np.asarray(run(0)) for name, run in found.items()}
    (first, wanted), *others = answers.items()
    for name, answer in others:
        same = float((np.abs(answer - wanted).max(axis=1) < 1e-3).mean())
        if same < 0.99:
            raise RuntimeError(
                f"{name} and {first} agree on {same:.1%} of the rows: they don't do the same work"
            )


def fastest(found: Mapping[str, Contestant]) -> str:
    """The name of the quickest, in a trial whose times go into no row."""
    spent: dict[str, float] = {}
    for name, run in found.items():
        run(0)
        times: list[float] = []
        while len(times) < 3 or sum(times) < TRIAL_S:
            times.append(once(run, len(times) % INPUTS))
        spent[name] = statistics.median(times)
    return min(spent, key=spent.__getitem__)


def timed(runs: Mapping[str, Contestant]) -> list[dict[str, float]]:
    """Median seconds of each contestant in each of REPEATS rounds; within a round they take turns."""
    rounds = []
    for _ in range(REPEATS):
        times: dict[str, list[float]] = {name: [] for name in runs}
        turn, spent = 0, 0.0
        while turn < 5 or spent < ROUND_S:
            for name, run in runs.items():
                times[name].append(once(run, turn % INPUTS))
                spent += times[name][-1]
            turn += 1
        rounds.append({name: statistics.median(found) for name, found in times.items()})
    return rounds


def once(run: Contestant, index: int) -> float:
    start = time.thread_time()
    run(index)
    return time.thread_time() - start
