"""Prices: integers, one rounding per leg, and worst cases that hold."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costs.contracts import NodeRate, PriceSheet, Usage
from costs.pricing import (
    OtherSide,
    Unpriced,
    cost_of,
    external_cost,
    external_legs,
    node_nusd_per_hour,
    other_side_cost,
    private_cost,
    worst_case,
)

SHEET = PriceSheet("p1", input_nusd_per_munit=50_000_000, output_nusd_per_munit=400_000_000)
RATE = NodeRate("n1", "node-1", nusd_per_hour=50_000_000, planned_utilisation_ppm=1_000_000)
counts = st.integers(0, 10_000_000)


def test_a_call_of_1000_in_and_500_out_costs_a_quarter_of_a_thousandth():
    assert external_cost(Usage(tokens_in=1000, tokens_out=500), SHEET) == 50_000 + 200_000


def test_a_tenth_of_a_millisecond_on_a_five_cent_cpu_is_one_nano_dollar():
    assert private_cost(100_000, RATE) == 1  # 1.39 before rounding
    assert private_cost(1_000_000_000, RATE) == 13_889


def test_ties_round_to_even_on_both_sides():
    half = PriceSheet("p", input_nusd_per_munit=500_000)
    assert [external_cost(Usage(tokens_in=n), half) for n in (1, 3, 5)] == [0, 2, 2]
    per_ns = NodeRate("n", "n", nusd_per_hour=1_800_000_000_000)  # half a nano-dollar a nanosecond
    assert [private_cost(n, per_ns) for n in (1, 3, 5)] == [0, 2, 2]


def test_planned_utilisation_makes_a_used_second_dearer():
    half_used = NodeRate("n", "n", RATE.nusd_per_hour, planned_utilisation_ppm=500_000)
    assert private_cost(7_200_000_000_000, half_used) == 4 * RATE.nusd_per_hour


def test_cached_and_reasoning_tokens_have_their_own_price_only_where_the_sheet_names_one():
    usage = Usage(tokens_in=1000, cached_tokens_in=400, tokens_out=300, reasoning_tokens=200)
    assert set(external_legs(usage, SHEET)) == {"input", "output"}
    full = PriceSheet(
        "p",
        input_nusd_per_munit=1_000_000,
        cached_input_nusd_per_munit=100_000,
        output_nusd_per_munit=2_000_000,
        reasoning_nusd_per_munit=3_000_000,
        call_nusd_per_munit=7_000_000,
    )
    assert external_legs(usage, full) == {
        "input": 600, "cached_input": 40, "output": 200, "reasoning": 600, "calls": 7,
    }  # fmt: skip


def test_a_call_never_costs_less_than_the_sheets_minimum():
    assert external_cost(Usage(tokens_in=1), PriceSheet("p", minimum_nusd=99)) == 99


def test_without_a_price_nothing_is_guessed():
    with pytest.raises(Unpriced):
        cost_of(Usage(), prices=None, rate=None)
    with pytest.raises(Unpriced):
        worst_case(prices=None, rate=None, text_bytes=1, max_tokens=1)


@given(counts, counts, st.integers(1, 8), st.integers(0, 10**9), st.integers(0, 10**9))
def test_the_worst_case_covers_every_answer_within_it(text_bytes, cap, n, price_in, price_out):
    sheet = PriceSheet("p", price_in, price_in // 2, price_out, price_out * 2, 3_000_000)
    worst = worst_case(prices=sheet, rate=None, text_bytes=text_bytes, max_tokens=cap, n=n)
    used = Usage(
        tokens_in=text_bytes, tokens_out=cap * n, cached_tokens_in=text_bytes // 3, reasoning_tokens=cap
    )
    assert external_cost(used, sheet) <= worst


@given(st.integers(0, 10**15), st.integers(0, 10**13), st.integers(1, 1_000_000))
def test_private_cost_is_within_half_a_nano_dollar_of_the_exact_fraction(ns, hourly, ppm):
    exact = Fraction(ns * hourly * 1_000_000, 3_600_000_000_000 * ppm)
    assert abs(private_cost(ns, NodeRate("n", "n", hourly, ppm)) - exact) <= Fraction(1, 2)


def test_the_other_side_is_its_cheapest_that_was_measured():
    usage = Usage(tokens_in=1000, tokens_out=1, accelerator_ns=5)
    dear = OtherSide("dear", prices=PriceSheet("p", input_nusd_per_munit=10**12))
    never_measured = OtherSide("new", rate=RATE)
    usual = OtherSide("usual", rate=RATE, usual_accelerator_ns=1_000_000_000)
    assert other_side_cost(usage, 2, [dear, never_measured, usual]) == ("usual", 27_778)
    assert other_side_cost(usage, 2, [never_measured]) is None


def test_a_bought_node_costs_purchase_over_life_plus_power_and_operations():
    hourly = node_nusd_per_hour(
        usd_per_hour=None,
        capex_usd=Decimal("7305"),
        life_months=10,
        watts=500,
        pue=Decimal("1.2"),
        usd_per_kwh=Decimal("0.10"),
        operations_usd_per_month=Decimal("73.05"),
    )
    assert hourly == 1_000_000_000 + 60_000_000 + 100_000_000
    with pytest.raises(Unpriced):
        node_nusd_per_hour(usd_per_hour=None, capex_usd=Decimal(1))
