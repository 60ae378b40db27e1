"""Break-even: the crossing by hand, its interval against a planted truth, and every case in which there is none."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from costs.planning.break_even import Day, crossing, estimate, private_nusd

# A machine of $2.04 a day; 5.6 ms an answer used half the time: 264.4 nano-dollars each; outside 1,400 each.
DAY = Day(
    answers=100, external_nusd=Fraction(140_000), external_answers=Fraction(100), private_nusd=Fraction(26_444),
    private_answers=Fraction(100), fixed_nusd=Fraction(2_040_000_000),
)  # fmt: skip


def test_the_crossing_is_the_machine_divided_by_the_price() -> None:
    found = estimate([DAY] * 14)
    assert found.break_even == pytest.approx(2_040_000_000 / 1400) == pytest.approx(1_457_142.857)
    assert (found.low, found.high) == (found.break_even, found.break_even), "days alike leave no doubt"
    assert found.verdict == "external" and found.answers_per_day == 100
    assert found.capacity_per_day == pytest.approx(2_040_000_000 / 264.44)


def test_above_the_crossing_private_is_cheaper() -> None:
    busy = replace(
        DAY, answers=2_000_000, external_nusd=Fraction(2_000_000 * 1400), external_answers=Fraction(2_000_000)
    )
    assert estimate([busy] * 7).verdict == "private"


@given(
    st.floats(1, 1e12), st.floats(0.01, 1e6), st.floats(0.01, 1e6), st.floats(1, 1e9)
)  # fmt: skip
def test_the_verdict_follows_from_comparing_the_two_bills(
    fixed: float, marginal: float, external: float, volume: float
) -> None:
    at = crossing(fixed, marginal, external)
    private, outside = private_nusd(volume, fixed, marginal), external * volume
    if volume < at * 0.999:
        assert private >= outside
    elif volume > at * 1.001:
        assert private < outside


def test_it_is_never_cheaper_where_a_full_machine_costs_more_than_the_price() -> None:
    found = estimate([replace(DAY, external_nusd=Fraction(20_000))] * 10)
    assert (found.verdict, found.break_even, found.low, found.high) == ("never", None, None, None)


def test_it_is_always_cheaper_where_the_machine_is_paid_for_anyway() -> None:
    found = estimate([replace(DAY, fixed_nusd=Fraction(0))] * 10)
    assert (found.verdict, found.break_even) == ("always", 0)


def test_work_that_may_not_leave_has_no_break_even() -> None:
    at_home = replace(DAY, external_nusd=Fraction(0), external_answers=Fraction(0))
    assert estimate([at_home] * 10, movable=False).verdict == "bound"
    assert estimate([at_home] * 10).verdict == "no_external_price"
    outside = replace(DAY, private_nusd=Fraction(0), private_answers=Fraction(0))
    assert estimate([outside] * 10).verdict == "no_private_price"


def test_six_days_are_not_enough_and_seven_are() -> None:
    six = estimate([DAY] * 6)
    assert (six.verdict, six.break_even) == ("not_enough_data", None)
    assert six.external_nusd == 1400, "what was measured is told all the same"
    assert estimate([DAY] * 7).verdict == "external"
    assert estimate([]).verdict == "no_traffic" == estimate([Day()] * 20).verdict


def _noisy(random: np.random.Generator, days: int, price: float) -> list[Day]:
    """Days whose token mix varies around a price by 20 %."""
    return [
        replace(DAY, external_nusd=Fraction(round(100 * price * random.lognormal(-0.02, 0.2)))) for _ in range(days)
    ]  # fmt: skip


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    random, held = np.random.default_rng(9), 0
    truth = 2_040_000_000 / 1400  # exp(σ²/2 − 0.02) = 1: the mean price is 1,400
    for _ in range(200):
        found = estimate(_noisy(random, 28, 1400), resamples=400)
        assert found.low is not None and found.high is not None
        held += found.low <= truth <= found.high
    assert 0.87 <= held / 200 <= 0.99


def test_a_volume_inside_the_interval_is_called_unclear() -> None:
    days = _noisy(np.random.default_rng(3), 14, 1400)
    at = estimate(days).break_even
    assert at is not None
    found = estimate([replace(day, answers=round(at)) for day in days])
    assert found.verdict == "unclear"


def test_the_interval_is_open_above_where_some_weeks_say_never() -> None:
    """The price lies below the marginal cost on half the days and above it on the others."""
    days = [replace(DAY, external_nusd=Fraction(10_000 if i % 2 else 46_000)) for i in range(14)]
    found = estimate(days)
    assert found.high is None and found.low is not None and found.break_even is not None


def test_the_same_days_give_the_same_interval() -> None:
    days = _noisy(np.random.default_rng(5), 14, 1400)
    assert estimate(days) == estimate(days)
