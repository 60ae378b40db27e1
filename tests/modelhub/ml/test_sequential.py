"""Bets on "the new one is no worse": few false alarms however often one looks, and real harm found soon."""

from __future__ import annotations

import math

import numpy as np
import pytest

from modelhub.ml.sequential import WorseTest, always_bounds, no_worse_by


def looks(
    rng: np.random.Generator, new: float, old: float, share: float, days: int = 90, a_day: int = 60
) -> bool:
    """Whether an alarm at 5 % was raised at any of the looks."""
    test = WorseTest()
    for _ in range(days):
        is_new = rng.random(a_day) < share
        bad = np.where(is_new, rng.random(a_day) < new, rng.random(a_day) < old)
        test.see(zip(is_new.tolist(), bad.tolist(), strict=True))
        if test.refutes(0.05):
            return True
    return False


@pytest.mark.parametrize(("rate", "share"), [(0.02, 0.1), (0.3, 0.5), (0.0, 0.1)])
def test_two_that_are_the_same_alarm_in_at_most_five_of_a_hundred_over_ninety_looks(
    rate: float, share: float
):
    rng = np.random.default_rng(7)
    false = sum(looks(rng, rate, rate, share) for _ in range(200))
    # 5 % of 200 is 10; a binomial of that mean passes 17 with chance 1 %.
    assert false <= 17


def test_a_naive_test_would_alarm_far_more_often_so_the_bound_above_means_something():
    rng, false = np.random.default_rng(7), 0
    for _ in range(200):
        bad = rng.random((90, 2, 60)) < 0.3
        totals = bad.sum(axis=2).cumsum(axis=0)
        n = 60 * np.arange(1, 91)
        common = totals.sum(axis=1) / (2 * n)
        z = (totals[:, 0] - totals[:, 1]) / n / np.sqrt(2 * common * (1 - common) / n)
        false += bool((z > 1.645).any())
    assert false > 34  # twice what the e-process is allowed


def test_one_that_is_worse_is_found_and_one_that_is_better_is_not():
    rng = np.random.default_rng(3)
    assert sum(looks(rng, 0.15, 0.02, 0.1, days=20) for _ in range(40)) >= 38
    assert sum(looks(rng, 0.02, 0.15, 0.1, days=20) for _ in range(40)) == 0


def test_the_first_bet_is_the_hand_worked_one():
    """Nothing learnt: old rate 0.5/1, new 0.52; eight outcomes, four each, all of the new bad, none of the old."""
    test = WorseTest()
    test.see([(True, True)] * 4 + [(False, False)] * 4)
    common = (4 * 0.52 + 4 * 0.5) / 8
    assert test.log_e == pytest.approx(4 * math.log(0.52 / common) + 4 * math.log(0.5 / (1 - common)))


def test_a_test_goes_on_where_it_was_kept():
    rng = np.random.default_rng(0)
    outcomes = [(bool(a), bool(b)) for a, b in rng.random((300, 2)) < 0.4]
    whole, halves = WorseTest(), WorseTest()
    whole.see(outcomes)
    halves.see(outcomes[:143])
    halves = WorseTest.from_dict(halves.as_dict())
    halves.see(outcomes[143:])
    assert halves == whole


def test_bounds_that_hold_at_all_times_cover_and_hold_the_exact_case():
    assert always_bounds(0, 0) == (0.0, 1.0)
    low, high = always_bounds(0, 99)
    # With no hits the mixture is 1/(n+1), so the bound solves (1−p)^99 = 0.05/100.
    assert low == 0.0 and high == pytest.approx(1 - (0.05 / 100) ** (1 / 99), abs=1e-9)
    rng, missed = np.random.default_rng(1), 0
    for _ in range(200):
        hits = (rng.random(400) < 0.1).cumsum()
        missed += any(
            not lo <= 0.1 <= hi for lo, hi in (always_bounds(int(hits[n - 1]), n) for n in range(20, 401, 20))
        )
    assert missed <= 17
    with pytest.raises(ValueError):
        always_bounds(3, 2)


def test_how_much_worse_at_most_narrows_with_rows():
    few, many = WorseTest(), WorseTest()
    few.see_counts(50, 1, 50, 1)
    many.see_counts(5000, 100, 5000, 100)
    assert 0 < no_worse_by(many) < 0.02 < no_worse_by(few)
