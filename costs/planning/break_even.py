"""From which volume on the private side is the cheaper one.

A machine is paid for whether it works or not, so up to what it can do one more answer costs nothing more; beyond, more of
it must be bought. Privately x answers a day therefore cost max(fixed, marginal × x), where `marginal` is the standard rate
(what an answer takes of a machine that is used as planned) and fixed ÷ marginal the answers a day that are paid for.
Externally they cost price × x. The lines cross at fixed ÷ price, or never when the marginal cost is no lower than the price.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import inf

import numpy as np
from numpy.typing import NDArray

LEAST_DAYS = 7
RESAMPLES = 2000
SEED = 20261125
VERDICTS = (
    "private", "external", "unclear", "always", "never", "bound", "no_external_price", "no_private_price", "no_traffic",
    "not_enough_data",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Day:
    """One day of one workload. Priced answers are those whose cost on that side is known, measured or estimated."""

    answers: int = 0
    external_nusd: Fraction = Fraction(0)
    external_answers: Fraction = Fraction(0)
    private_nusd: Fraction = Fraction(0)
    private_answers: Fraction = Fraction(0)
    fixed_nusd: Fraction = Fraction(0)


@dataclass(frozen=True, slots=True)
class Estimate:
    """Answers a day and nano-dollars; None where it can't be said. `high` None with a `low`: no upper end."""

    verdict: str
    days: int
    answers_per_day: Fraction
    fixed_nusd: Fraction | None = None
    marginal_nusd: Fraction | None = None
    external_nusd: Fraction | None = None
    break_even: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def capacity_per_day(self) -> float | None:
        """Answers a day that the fixed cost pays for."""
        if self.fixed_nusd is None or not self.marginal_nusd:
            return None
        return float(self.fixed_nusd / self.marginal_nusd)


def crossing(fixed: float, marginal: float, external: float) -> float:
    """Answers a day above which private is cheaper: 0 when it always is, infinite when it never is."""
    if external <= marginal or external <= 0:
        return 0.0 if fixed <= 0 and marginal <= external else inf
    return max(0.0, fixed / external)


def private_nusd(volume: float, fixed: float, marginal: float) -> float:
    """What a day's answers cost at home."""
    return max(fixed, marginal * volume)


def estimate(
    days: list[Day], *, movable: bool = True, resamples: int = RESAMPLES, seed: int = SEED
) -> Estimate:
    """The break-even of a workload from its days, first to last, with a 95 % interval by resampling whole days.

    `movable` false: residency keeps it at home. Fewer than seven days are not enough to say anything.
    """
    answers = sum(day.answers for day in days)
    if not answers:
        return Estimate("no_traffic", len(days), Fraction(0))
    a_day = Fraction(answers, len(days))
    fixed = sum((day.fixed_nusd for day in days), Fraction(0)) / len(days)
    marginal = _each(days, "private")
    external = _each(days, "external")
    known = Estimate("", len(days), a_day, fixed, marginal, external)
    if not movable:
        return _as(known, "bound")
    if external is None:
        return _as(known, "no_external_price")
    if marginal is None:
        return _as(known, "no_private_price")
    if len(days) < LEAST_DAYS:
        return _as(known, "not_enough_data")
    point = crossing(float(fixed), float(marginal), float(external))
    low, high = _interval(days, resamples, seed)
    return _as(known, _verdict(float(a_day), point, low, high), point, low, high)


def _as(
    known: Estimate,
    verdict: str,
    point: float | None = None,
    low: float | None = None,
    high: float | None = None,
) -> Estimate:
    def finite(value: float | None) -> float | None:
        return None if value is None or value == inf else value

    return Estimate(
        verdict, known.days, known.answers_per_day, known.fixed_nusd, known.marginal_nusd, known.external_nusd,
        finite(point), finite(low), finite(high),
    )  # fmt: skip


def _each(days: list[Day], side: str) -> Fraction | None:
    priced = sum((getattr(day, f"{side}_answers") for day in days), Fraction(0))
    if not priced:
        return None
    return Fraction(sum(getattr(day, f"{side}_nusd") for day in days)) / priced


def _verdict(volume: float, point: float, low: float, high: float) -> str:
    if high == 0:
        return "always"
    if low == inf:
        return "never"
    if low <= volume <= high:
        return "unclear"
    if point == inf:
        return "never"
    return "private" if volume > high else "external"


def _interval(days: list[Day], resamples: int, seed: int) -> tuple[float, float]:
    """2.5 and 97.5 % of the crossing over days drawn with replacement. Draws in which a price is unknown are left out."""
    names = ("fixed_nusd", "private_nusd", "private_answers", "external_nusd", "external_answers")
    table = np.array([[float(getattr(day, name)) for name in names] for day in days])
    drawn = np.random.default_rng(seed).multinomial(
        len(days), np.full(len(days), 1 / len(days)), size=resamples
    )
    sums: NDArray[np.float64] = drawn @ table
    told = sums[(sums[:, 2] > 0) & (sums[:, 4] > 0)]
    points = [crossing(f / len(days), p / pn, e / en) for f, p, pn, e, en in told.tolist()]
    low, high = np.quantile(np.array(points), [0.025, 0.975], method="inverted_cdf")
    return float(low), float(high)
