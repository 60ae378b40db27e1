"""The word-swap probe: an input that names a group is classified again with another group in its place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

MAX_SWAPS_PER_INPUT = 1
MAX_PROBED_INPUTS = 16


@dataclass(frozen=True, slots=True)
class Probe:
    """Swapped copies appended to a batch: `origins[i]` is the input that copy i was made from, `kinds[i]` which kinds of
    group that input names."""

    inputs: list[str]
    origins: list[int]
    kinds: list[tuple[str, ...]] = field(default_factory=list)


Named = Callable[[str], Sequence[str]]


def with_swaps(
    texts: Sequence[str], swaps: Callable[[str], Sequence[str]], named: Named = lambda text: ()
) -> Probe:
    """The texts, then a swapped copy of each of the first few that name a group."""
    inputs: list[str] = list(texts)
    origins: list[int] = []
    kinds: list[tuple[str, ...]] = []
    for i, text in enumerate(texts):
        if len(origins) >= MAX_PROBED_INPUTS:
            break
        for copy in list(swaps(text))[:MAX_SWAPS_PER_INPUT]:
            inputs.append(copy)
            origins.append(i)
            kinds.append(tuple(named(text)))
    return Probe(inputs, origins, kinds)


def by_kind(probe: Probe, flips: Sequence[int]) -> dict[str, list[int]]:
    """Kind of group → [inputs probed, inputs flipped]: counts, of what was written and of nobody's person."""
    found: dict[str, list[int]] = {}
    for origin, kinds in zip(probe.origins, probe.kinds, strict=True):
        for kind in kinds:
            told = found.setdefault(kind, [0, 0])
            told[0] += 1
            told[1] += origin in flips
    return found


def flipped(rows: Sequence[dict[str, Any]], probe: Probe) -> list[int]:
    """Indices of inputs whose label changed when only the group did."""
    first_copy = len(rows) - len(probe.origins)
    return [
        origin
        for copy, origin in enumerate(probe.origins)
        if rows[first_copy + copy]["label"] != rows[origin]["label"]
    ]
