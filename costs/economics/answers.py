"""The figures that the replay is made for: ratios with intervals, and a tornado of what they hang on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist

import numpy as np

from costs.economics import streams
from costs.economics.assumptions import DEFAULTS, Assumption, values
from costs.economics.plans import Outcome, World, compare

SEED, RESAMPLES = 20_260, 10_000
# Student's t at 97.5 % by degrees of freedom; written here because the page that shows these needs no scipy.
STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
SINGLE_SIDE = ("all_private", "all_external_small", "all_external_large")
RATIOS = ("share_of_all_external_large", "share_of_cheapest_single_side", "ratio_to_hindsight")


@dataclass(frozen=True, slots=True)
class Ratio:
    value: float
    low: float
    high: float


def replay(
    changes: Mapping[str, float] | None = None,
    *,
    facts: tuple[streams.Facts, ...] = streams.SHIPPED,
    shapes: Mapping[str, np.ndarray] | None = None,
    trace: Path | None = None,
) -> dict[str, Outcome]:
    """All plans under the assumptions, some of them changed. Give the week's shapes or the file that holds them."""
    if shapes is None:
        if trace is None:
            raise ValueError("The replay needs arrivals: shapes, or the file that holds them.")
        shapes = streams.read_shapes(trace)
    numbers = values(changes)
    return compare(World(streams.build(facts, shapes, numbers), numbers))


def cheapest_single_side(outcomes: Mapping[str, Outcome]) -> Outcome | None:
    """Of the plans that use one side, keep bound work at home and meet every floor; None when there is none."""
    lawful = [outcomes[name] for name in SINGLE_SIDE if outcomes[name].lawful and outcomes[name].floors]
    return min(lawful, key=lambda o: o.total_usd) if lawful else None


def ratios(outcomes: Mapping[str, Outcome], *, resamples: int = RESAMPLES) -> dict[str, Ratio | None]:
    """The hybrid against the others, with 95 % intervals from resampled days (paired: all plans share the days drawn).

    Resampling so few days gives intervals that are too narrow: their ends are taken farther out, so that a mean's interval
    would be Student's (the expanded percentile interval, Hesterberg 2015, "What teachers should know about the bootstrap").
    """
    single = cheapest_single_side(outcomes)
    against = {
        "share_of_all_external_large": outcomes["all_external_large"],
        "share_of_cheapest_single_side": single,
        "ratio_to_hindsight": outcomes["hindsight"],
    }
    ours = np.array(outcomes["hybrid"].usd)
    drawn = np.random.default_rng(SEED).integers(0, len(ours), (resamples, len(ours)))
    return {name: _ratio(ours, other, drawn) for name, other in against.items()}


def _ratio(ours: np.ndarray, other: Outcome | None, drawn: np.ndarray) -> Ratio | None:
    if other is None or other.total_usd == 0:
        return None
    theirs = np.array(other.usd)
    spread = ours[drawn].sum(axis=1) / theirs[drawn].sum(axis=1)
    outside = _outside(len(ours))
    low, high = np.quantile(spread, [outside, 1 - outside])
    return Ratio(float(ours.sum() / theirs.sum()), float(low), float(high))


def _outside(days: int) -> float:
    """The share of the resampled ratios to leave out on either side for 95 %: 0.25 % of six days' rather than 2.5 %."""
    if days < 2:
        return 0.0
    freedom = min(days - 1, len(STUDENT))
    return NormalDist().cdf(-STUDENT[freedom - 1] * (days / (days - 1)) ** 0.5)


def accuracy_delta_points(outcomes: Mapping[str, Outcome], against: str = "all_external_large") -> float:
    """Points by which the hybrid is right more often, over all requests."""
    return 100 * (outcomes["hybrid"].right - outcomes[against].right)


@dataclass(frozen=True, slots=True)
class Bar:
    """One assumption's reach: the ratio with its low and its high value."""

    assumption: Assumption
    at_low: float | None
    at_high: float | None
    base: float

    @property
    def reach(self) -> float:
        ends = [x for x in (self.at_low, self.at_high) if x is not None]
        return max((abs(x - self.base) for x in ends), default=0.0)


def tornado(
    name: str,
    changes: Mapping[str, float] | None = None,
    *,
    assumptions: Mapping[str, Assumption] = DEFAULTS,
    facts: tuple[streams.Facts, ...] = streams.SHIPPED,
    shapes: Mapping[str, np.ndarray],
) -> list[Bar]:
    """How far one ratio moves when each assumption alone goes to its low and its high value; farthest first."""
    own = dict(changes or {})

    def at(**more: float) -> float | None:
        found = ratios(replay(own | more, facts=facts, shapes=shapes), resamples=1)[name]
        return found.value if found else None

    base = at()
    if base is None:
        return []
    bars = [
        Bar(one, at(**{one.name: one.low}), at(**{one.name: one.high}), base)
        for one in assumptions.values()
        if one.name not in own
    ]
    return sorted(bars, key=lambda bar: -bar.reach)
