"""Prices: integers, one rounding per leg, and worst cases that hold."""

import random
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from costs.contracts import NodeRate, PriceSheet, PriceTier, Usage
from costs.models import LEGS
from costs.pricing import (
    OtherSide,
    Unpriced,
    charge_of,
    cost_of,
    external_charge,
    external_cost,
    external_legs,
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


# --- real public sheets, worked by hand ---------------------------------------------------------------------------

# Gemini 2.5 Pro, as of 2026-08-05: 1.25 / 10 up to 200,000 tokens of input, 2.50 / 15 above; cached 0.125 / 0.25.
GEMINI = PriceSheet(
    "g", input_nusd_per_munit=1_250_000_000, output_nusd_per_munit=10_000_000_000, cached_input_nusd_per_munit=125_000_000,
    tiers=(PriceTier(200_000, 2_500_000_000, 250_000_000, None, 15_000_000_000),), batch_ppm=500_000,
)  # fmt: skip
# Claude Sonnet 4.5: 3 / 15, cache write (5 min) 3.75, cache read 0.30; above 200,000: 6 / 22.50, 7.50, 0.60; batch 50 %.
SONNET = PriceSheet(
    "s", input_nusd_per_munit=3_000_000_000, output_nusd_per_munit=15_000_000_000, cached_input_nusd_per_munit=300_000_000,
    cache_write_nusd_per_munit=3_750_000_000, batch_ppm=500_000,
    tiers=(PriceTier(200_000, 6_000_000_000, 600_000_000, 7_500_000_000, 22_500_000_000),),
)  # fmt: skip


def test_a_call_of_200_000_tokens_pays_the_first_tier_and_one_more_token_doubles_the_whole_call():
    # 200,000 × 1.25 / 10⁶ = $0.25; 1,000 × 10 / 10⁶ = $0.01.
    assert external_legs(Usage(200_000, 1_000), GEMINI) == {"input": 250_000_000, "output": 10_000_000}
    # 200,001 × 2.50 / 10⁶ = $0.5000025, all of it and not just the token above; 1,000 × 15 / 10⁶ = $0.015.
    assert external_legs(Usage(200_001, 1_000), GEMINI) == {"input": 500_002_500, "output": 15_000_000}


def test_a_cache_read_at_a_tenth_saves_nine_tenths_of_what_it_read():
    charge = external_charge(Usage(100_000, 1_000, cached_tokens_in=90_000), SONNET)
    # 10,000 × 3 = $0.03; 90,000 × 0.30 = $0.027; 1,000 × 15 = $0.015; without the cache 100,000 × 3 = $0.30.
    assert charge.legs == {"input": 30_000_000, "cached_input": 27_000_000, "output": 15_000_000}
    assert (charge.cost_nusd, charge.saved) == (72_000_000, {"cache": 243_000_000})


def test_writing_the_cache_costs_a_quarter_more_and_shows_as_a_negative_saving():
    charge = external_charge(Usage(100_000, 0, cache_write_tokens=90_000), SONNET)
    # 10,000 × 3 = $0.03; 90,000 × 3.75 = $0.3375; plain $0.30.
    assert charge.legs == {"input": 30_000_000, "cache_write": 337_500_000}
    assert charge.saved == {"cache": -67_500_000}


def test_batch_work_pays_half_in_the_tier_and_class_it_falls_into():
    charge = external_charge(Usage(300_000, 2_000, cached_tokens_in=100_000, batch=True), SONNET)
    # Above 200,000: 200,000 × 6 = 1.2; 100,000 × 0.60 = 0.06; 2,000 × 22.50 = 0.045; all halved. Plain 300,000 × 6 = 1.8.
    assert charge.legs == {"input": 600_000_000, "cached_input": 30_000_000, "output": 22_500_000}
    assert charge.saved == {"cache": 540_000_000, "batch": 652_500_000}
    assert charge.cost_nusd + sum(charge.saved.values()) == 1_845_000_000


def test_batch_is_rounded_once_not_twice():
    # 3 × 0.5 nano-dollars × 50 % = 0.75 → 1; rounding before halving would have given 2 × 50 % = 1, but 1 × 0.5 gives 0.
    half = PriceSheet("p", input_nusd_per_munit=500_000, batch_ppm=500_000)
    assert [external_cost(Usage(tokens_in=n, batch=True), half) for n in (1, 2, 3, 6)] == [0, 0, 1, 2]


def test_a_vendor_by_the_second_is_paid_for_the_calls_duration():
    # $0.000725 a second (an on-demand GPU endpoint) is 725 dollars a million seconds; 2.5 s = $0.0018125.
    sheet = PriceSheet("p", second_nusd_per_munit=725_000_000_000)
    assert external_legs(Usage(duration_ns=2_500_000_000), sheet) == {"seconds": 1_812_500}


def test_what_the_minimum_added_is_a_leg_of_its_own():
    sheet = PriceSheet(
        "p", input_nusd_per_munit=1_000_000, call_nusd_per_munit=5_000_000_000, minimum_nusd=10_000
    )
    assert external_legs(Usage(tokens_in=2_000), sheet) == {"input": 2_000, "calls": 5_000, "minimum": 3_000}


def test_no_saving_is_claimed_that_the_minimum_charge_took_back():
    sheet = PriceSheet("p", 1_000_000, 100_000, batch_ppm=500_000, minimum_nusd=900)
    charge = external_charge(Usage(1_000, cached_tokens_in=1_000, batch=True), sheet)
    # Plain 1,000; by the cache price 100, by batch 50: both meet the minimum of 900.
    assert (charge.cost_nusd, charge.legs, charge.saved) == (
        900,
        {"cached_input": 50, "minimum": 850},
        {"cache": 100},
    )


def test_what_a_tier_leaves_open_stays_the_sheets():
    sheet = PriceSheet(
        "p", 1_000_000, 100_000, output_nusd_per_munit=7_000_000, tiers=(PriceTier(10, 2_000_000),)
    )
    assert external_legs(Usage(11, 1, cached_tokens_in=10), sheet) == {
        "input": 2,
        "cached_input": 1,
        "output": 7,
    }


def test_in_house_time_is_one_leg():
    assert charge_of(Usage(accelerator_ns=1_000_000_000), prices=None, rate=RATE).legs == {"compute": 13_889}


prices = st.integers(0, 10**14)
optional = st.none() | prices
tier_prices = st.tuples(optional, optional, optional, optional, optional)


@st.composite
def sheets(draw):
    bounds = sorted(draw(st.sets(st.integers(0, 2_000), max_size=3)))
    return PriceSheet(
        "p", draw(prices), draw(optional), draw(optional), draw(prices), draw(optional), draw(prices),
        draw(st.integers(0, 10**17)), draw(st.integers(0, 10**8)), draw(st.none() | st.integers(0, 1_000_000)),
        tuple(PriceTier(bound, *draw(tier_prices)) for bound in bounds),
    )  # fmt: skip


@st.composite
def usages(draw, most_in=2_500, most_out=2_500, most_ns=10**12):
    return Usage(
        draw(st.integers(0, most_in)), draw(st.integers(0, most_out)), draw(st.integers(0, most_in)),
        draw(st.integers(0, most_in)), draw(st.integers(0, most_out)), duration_ns=draw(st.integers(0, most_ns)),
        batch=draw(st.booleans()),
    )  # fmt: skip


@settings(max_examples=400)
@given(
    st.data(), sheets(), st.integers(0, 2_500), st.integers(0, 600), st.integers(1, 4), st.integers(0, 10**12)
)
def test_the_worst_case_covers_any_usage_within_its_bounds(data, sheet, text_bytes, cap, n, longest_ns):
    worst = worst_case(
        prices=sheet, rate=None, text_bytes=text_bytes, max_tokens=cap, n=n, duration_ns=longest_ns
    )  # fmt: skip
    for used in (
        data.draw(usages(text_bytes, cap * n, longest_ns)),
        Usage(text_bytes, cap * n, duration_ns=longest_ns),
    ):
        assert external_cost(used, sheet) <= worst


@settings(max_examples=300)
@given(usages(), sheets())
def test_legs_sum_to_the_cost_and_savings_to_the_plain_price(usage, sheet):
    charge = external_charge(usage, sheet)
    assert sum(charge.legs.values()) == charge.cost_nusd == external_cost(usage, sheet)
    assert set(charge.legs) <= set(LEGS) and 0 not in charge.legs.values() and 0 not in charge.saved.values()
    plain = Usage(
        usage.tokens_in,
        usage.tokens_out,
        reasoning_tokens=usage.reasoning_tokens,
        duration_ns=usage.duration_ns,
    )
    assert charge.cost_nusd + sum(charge.saved.values()) == external_cost(plain, sheet)


@settings(max_examples=300)
@given(usages(), sheets())
def test_every_leg_is_within_half_a_nano_dollar_of_the_exact_fraction(usage, sheet):
    """An independent pricing in fractions, tier by tier."""
    tier = max(
        (t for t in sheet.tiers if usage.tokens_in > t.above_tokens_in),
        key=lambda t: t.above_tokens_in,
        default=None,
    )

    def price(name):
        own = getattr(tier, name) if tier else None
        return getattr(sheet, name) if own is None else own

    share = Fraction(1 if not usage.batch or sheet.batch_ppm is None else sheet.batch_ppm, 1)
    share = share / 1_000_000 if usage.batch and sheet.batch_ppm is not None else share
    left, exact = usage.tokens_in, {}
    for leg, count in (("cached_input", usage.cached_tokens_in), ("cache_write", usage.cache_write_tokens)):
        if price(f"{leg}_nusd_per_munit") is not None:
            taken = min(count, left)
            exact[leg], left = Fraction(taken * price(f"{leg}_nusd_per_munit"), 10**6) * share, left - taken
    exact["input"] = Fraction(left * price("input_nusd_per_munit"), 10**6) * share
    thought = (
        min(usage.reasoning_tokens, usage.tokens_out) if price("reasoning_nusd_per_munit") is not None else 0
    )
    exact["reasoning"] = Fraction(thought * (price("reasoning_nusd_per_munit") or 0), 10**6) * share
    exact["output"] = Fraction((usage.tokens_out - thought) * price("output_nusd_per_munit"), 10**6) * share
    exact["calls"] = Fraction(sheet.call_nusd_per_munit, 10**6) * share
    exact["seconds"] = Fraction(usage.duration_ns * sheet.second_nusd_per_munit, 10**15) * share
    legs = external_legs(usage, sheet)
    assert {leg: legs.get(leg, 0) for leg in exact} == {leg: round(amount) for leg, amount in exact.items()}


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


def test_a_sheet_that_could_save_nothing_is_charged_as_any_other():
    """A tier that no call reaches takes the longer way."""
    draw = random.Random(11)
    for _ in range(300):
        sheet = PriceSheet(
            "v1", draw.randrange(9_000_001), None, None, draw.randrange(9_000_001), None, draw.choice([0, 1_500_000]),
            draw.choice([0, 17_000_000]), draw.choice([0, 900]),
        )  # fmt: skip
        usage = Usage(draw.randrange(2000), draw.randrange(2000), duration_ns=draw.randrange(10**10))
        tiered = replace(sheet, tiers=(PriceTier(10**12, 1),))
        assert external_charge(usage, sheet) == external_charge(usage, tiered)


# --- what vendors bill beside tokens of text ----------------------------------------------------------------------

# gpt-4o-audio-preview: text 2.50 / 10, sound 40 / 80 a million tokens; a web search $25 a thousand; batch 50 %.
AUDIO = PriceSheet(
    "a", input_nusd_per_munit=2_500_000_000, output_nusd_per_munit=10_000_000_000,
    audio_input_nusd_per_munit=40_000_000_000, audio_output_nusd_per_munit=80_000_000_000,
    search_nusd_per_munit=25_000 * 10**9, batch_ppm=500_000,
)  # fmt: skip


def test_sound_is_a_part_of_input_and_output_with_a_price_of_its_own():
    used = Usage(1_000, 500, audio_tokens_in=800, audio_tokens_out=450)
    # 200 × 2.50 = $0.0005; 800 × 40 = $0.032; 50 × 10 = $0.0005; 450 × 80 = $0.036.
    assert external_legs(used, AUDIO) == {
        "input": 500_000, "output": 500_000, "audio_input": 32_000_000, "audio_output": 36_000_000,
    }  # fmt: skip
    unpriced = replace(AUDIO, audio_input_nusd_per_munit=None, audio_output_nusd_per_munit=None)
    assert external_legs(used, unpriced) == {"input": 2_500_000, "output": 5_000_000}


def test_searches_cost_by_the_piece_and_batch_work_pays_the_whole_of_them():
    charge = external_charge(Usage(1_000, 0, searches=3, batch=True), AUDIO)
    # 1,000 × 2.50 × 50 % = $0.00125; 3 × $0.025 = $0.075.
    assert charge.legs == {"input": 1_250_000, "searches": 75_000_000}
    assert charge.saved == {"batch": 1_250_000}


def test_the_worst_case_holds_searches_and_sound_where_they_are_asked_for():
    plain = worst_case(prices=AUDIO, rate=None, text_bytes=1_000, max_tokens=100)
    assert plain == 2_500_000 + 1_000_000
    asked = worst_case(
        prices=AUDIO, rate=None, text_bytes=1_000, max_tokens=100, searches=2, heard=True, spoken=True
    )
    # 1,000 × 40 = $0.04; 100 × 80 = $0.008; 2 × $0.025; one nano-dollar more for each class that is rounded apart.
    assert asked == 40_000_000 + 8_000_000 + 50_000_000 + 2
    for heard, spoken in ((0, 0), (400, 30), (1_000, 100)):
        used = Usage(1_000, 100, audio_tokens_in=heard, audio_tokens_out=spoken, searches=2)
        assert external_cost(used, AUDIO) <= asked
