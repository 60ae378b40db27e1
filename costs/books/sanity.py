"""What a usage event may say: figures that can be true, times that can be. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

MAX_TOKENS = 10**12
MAX_COST_NUSD = 10**15  # a million dollars for one call
MAX_ACCELERATOR_NS = 10**17  # three years
AHEAD_NS = 5 * 60 * 10**9
BEHIND_NS = 400 * 86_400 * 10**9


def plausible(cost_nusd: int, quantities: tuple[int, ...]) -> bool:
    """The same test as check_amounts, for millions of rows: nothing is named."""
    whole = type(cost_nusd) is int and set(map(type, quantities)) == {int}
    return (
        whole and 0 <= cost_nusd <= MAX_COST_NUSD and min(quantities) >= 0 and max(quantities) <= MAX_TOKENS
    )


def check_amounts(*, cost_nusd: int, **quantities: int) -> None:
    """ValueError names the first figure that can't be true: negative, absurdly large, or no whole number."""
    if type(cost_nusd) is not int or not 0 <= cost_nusd <= MAX_COST_NUSD:
        raise ValueError(
            f"a cost of {cost_nusd} nano-dollars: expected a whole number of 0 to {MAX_COST_NUSD}"
        )
    for name, value in quantities.items():
        if type(value) is not int or not 0 <= value <= MAX_TOKENS:
            raise ValueError(f"{name} of {value}: expected a whole number of 0 to {MAX_TOKENS}")


def check_whole(values: Mapping[str, Any], bounds: Mapping[str, tuple[int, int]]) -> None:
    """ValueError names the first of these figures that is no whole number within its bounds."""
    for name, (least, most) in bounds.items():
        value = values[name]
        if type(value) is not int or not least <= value <= most:
            raise ValueError(f"{name} of {value!r:.60}: expected a whole number of {least} to {most}")


def check_names(
    values: Mapping[str, Any], lengths: Mapping[str, int], words: Mapping[str, frozenset[str]]
) -> None:
    """ValueError names the first of these that is no text, longer than its column, or none of the words there are."""
    for name, most in lengths.items():
        value = values[name]
        if type(value) is not str or len(value) > most:
            raise ValueError(f"{name} of {value!r:.60}: expected text of at most {most} characters")
    for name, known in words.items():
        if values[name] not in known:
            raise ValueError(f"{name} {values[name]!r:.60}: expected one of {', '.join(sorted(known))}")


def check_span(name: str, value: float, most: float) -> None:
    """ValueError for a duration that is negative, endless or no number."""
    if not math.isfinite(value) or not 0 <= value <= most:
        raise ValueError(f"{name} of {value}: expected 0 to {most:.0f}")


def skewed(at_ns: int, now_ns: int) -> bool:
    """Whether a clock went wrong: a time more than five minutes ahead, or more than 400 days ago."""
    return at_ns > now_ns + AHEAD_NS or at_ns < now_ns - BEHIND_NS
