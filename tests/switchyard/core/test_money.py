from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchyard.core.money import format_usd, largest_remainder, leg_nusd, nusd_to_usd, usd_to_nusd


def test_dollars_become_nano_dollars_and_come_back_exactly():
    assert usd_to_nusd("1.25") == 1_250_000_000
    assert usd_to_nusd(Decimal("0.000000001")) == 1
    assert nusd_to_usd(1_250_000_001) == Decimal("1.250000001")


def test_floats_are_refused_because_they_are_not_money():
    with pytest.raises(TypeError):
        usd_to_nusd(0.1)


def test_a_header_shows_plain_decimals_without_noise():
    assert format_usd(0) == "0.00"
    assert format_usd(1_500_000_000) == "1.50"
    assert format_usd(28) == "0.000000028"


def test_a_leg_is_half_even_of_quantity_times_price():
    assert leg_nusd(1, 500_000) == 0  # 0.5 → 0, the even one
    assert leg_nusd(3, 500_000) == 2  # 1.5 → 2, the even one
    assert leg_nusd(1_000_000, 50_000_000) == 50_000_000


@given(st.integers(0, 10**9), st.integers(0, 10**12))
def test_a_leg_equals_exact_rational_rounding(quantity, price):
    assert leg_nusd(quantity, price) == round(Fraction(quantity * price, 10**6))


@given(st.integers(0, 10**15), st.lists(st.integers(0, 10**9), min_size=1, max_size=40))
def test_shares_sum_to_the_bill_exactly_and_stay_within_one_of_fair(total, weights):
    if sum(weights) == 0:
        weights[0] = 1
    shares = largest_remainder(total, weights)
    assert sum(shares) == total
    for share, weight in zip(shares, weights, strict=True):
        assert abs(share - Fraction(total * weight, sum(weights))) < 1


def test_nothing_to_share_over_nobody_is_fine_and_something_is_an_error():
    assert largest_remainder(0, [0, 0]) == [0, 0]
    with pytest.raises(ValueError):
        largest_remainder(5, [0, 0])
