"""From an interval and a limit to a verdict, and the rows that an undecided one lacks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from modelhub.ml.fairness.intervals import Interval

Outcome = Literal["pass", "fail", "not_enough_data"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome, and for an undecided one about how many rows would decide it."""

    outcome: Outcome
    n_needed: int | None


def judge(interval: Interval | None, limit: float, n: int) -> Verdict:
    """Whether a quantity that ought to stay at or below `limit` does, from its interval over n rows.

    *pass* when the interval lies inside the limit, *fail* when wholly beyond it, else *not_enough_data*. The
    n needed is what would shrink the interval (as 1/√n) until it clears the limit at the present estimate.
    """
    if interval is None or n == 0 or math.isnan(interval.value):
        return Verdict("not_enough_data", None)
    if interval.high <= limit:
        return Verdict("pass", None)
    if interval.low > limit:
        return Verdict("fail", None)
    room = abs(interval.value - limit)
    half = interval.high - interval.value if interval.value <= limit else interval.value - interval.low
    needed = math.ceil(n * (half / room) ** 2) if room > 0 else None
    return Verdict("not_enough_data", needed)


def judge_difference(interval: Interval | None, limit: float, n: int) -> Verdict:
    """Like `judge` for a signed difference that may stray by `limit` either way."""
    if interval is None or n == 0 or math.isnan(interval.value):
        return Verdict("not_enough_data", None)
    if -limit <= interval.low and interval.high <= limit:
        return Verdict("pass", None)
    if interval.low > limit or interval.high < -limit:
        return Verdict("fail", None)
    if interval.value < 0:
        interval = Interval(-interval.value, -interval.high, -interval.low)
    room = abs(interval.value - limit)
    half = interval.high - interval.value if interval.value <= limit else interval.value - interval.low
    needed = math.ceil(n * (half / room) ** 2) if room > 0 else None
    return Verdict("not_enough_data", needed)
