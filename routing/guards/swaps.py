"""The word-swap probe: an input that names a group is classified again with another group in its place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

MAX_SWAPS_PER_INPUT = 1
MAX_PROBED_INPUTS = 16


@dataclass(frozen=True, slots=True)
class Probe:
    """Swapped copies appended to a batch: `origins[i]` is the input that copy i was made from."""

    inputs: list[str]
    origins: list[int]


def with_swaps(texts: Sequence[str], swaps: Callable[[str], Sequence[str]]) -> Probe:
    """The texts, then a swapped copy of each of the first few that name a group."""
    inputs: list[str] = list(texts)
    origins: list[int] = []
    for i, text in enumerate(texts):
        if len(origins) >= MAX_PROBED_INPUTS:
            break
        for copy in list(swaps(text))[:MAX_SWAPS_PER_INPUT]:
            inputs.append(copy)
            origins.append(i)
    return Probe(inputs, origins)


def flipped(rows: Sequence[dict[str, Any]], probe: Probe) -> list[int]:
    """Indices of inputs whose label changed when only the group did."""
    first_copy = len(rows) - len(probe.origins)
    return [
        origin
        for copy, origin in enumerate(probe.origins)
        if rows[first_copy + copy]["label"] != rows[origin]["label"]
    ]
