"""How rare a value is beside its own past, from the few most extreme of it: peaks over a threshold.

Whatever a quantity's middle looks like, the excess over a high threshold is close to exponential on a log scale (Pickands 1975,
Hill 1975); for one stream of figures watched over time, see Siffer et al. 2017 (SPOT). A middle and a spread fit neither what
rests on most days nor what comes in bursts, and most workloads do one or the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from statistics import median

EXTREMES = 3  # of the past, on either side: fewer know too little, more are no extremes of a month


@dataclass(frozen=True)
class Tail:
    """What is known of a figure beforehand, as natural logarithms: the mean excess of its extremes, counted as one more of
    them, and the smallest that is believed of a past that never moved."""

    usual: float
    least: float


def rarity(value: float, past: Sequence[float], told: Sequence[float], tail: Tail) -> tuple[float, int]:
    """(natural logarithm of the chance of a value as far out, 1 above the past, -1 below it, 0 within it).

    `told`: days that stood out already. The farthest of them on either side is left out: once is no pattern, twice is.
    """
    middle = median(past)
    known = sorted(
        [*past, *sorted(v for v in told if v > middle)[:-1], *sorted(v for v in told if v < middle)[1:]]
    )
    n = len(known)
    k = min(EXTREMES, n // 3)
    high, low = known[-k - 1], known[k]
    if value > high:
        beyond, excesses, side = value - high, [v - high for v in known[-k:]], 1
    elif value < low:
        beyond, excesses, side = low - value, [low - v for v in known[:k]], -1
    else:
        return 0.0, 0
    scale = max(tail.least, (sum(excesses) + tail.usual) / (k + 1))
    return log(k / n) - beyond / scale, side
