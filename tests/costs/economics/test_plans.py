"""The replay, on worlds small enough to work by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import stdtrit

from costs.economics.answers import (
    STUDENT,
    accuracy_delta_points,
    cheapest_single_side,
    ratios,
    replay,
    tornado,
)
from costs.economics.assumptions import DEFAULTS, values
from costs.economics.plans import Outcome, World, compare
from costs.economics.streams import A_DAY, SHIPPED, WINDOW_S, WINDOWS, Facts, build, escalated

FLAT = {"a": np.ones(WINDOWS)}
# One request a second of 1,000 tokens in and 100 out: small 0.00014 USD, large 0.00225 USD; 0.09 s of an accelerator.
CHAT = Facts("shop", "chat", "chat", "a", False, 1000, 100, 1.0, "chat_rate", None, 0.80, 0.80, 0.90)
DAYS = 6


def world(*facts: Facts, **changes: float) -> World:
    numbers = values(changes)
    return World(build(facts, FLAT, numbers), numbers)


def test_a_flat_day_of_chat_costs_what_the_sheet_says() -> None:
    found = compare(world(CHAT))
    requests = 86_400 * DAYS
    assert found["all_external_small"].total_usd == pytest.approx(requests * 0.00014)
    assert found["all_external_large"].total_usd == pytest.approx(requests * 0.00225)
    # 0.09 busy of 0.7 → one machine of 2.5 USD an hour.
    assert found["all_private"].total_usd == pytest.approx(DAYS * 24 * 2.5)
    # 12.10 USD a day outside are less than 60 USD for a machine: it all goes out.
    assert found["hybrid"].total_usd == pytest.approx(found["all_external_small"].total_usd)
    assert found["hybrid"].nodes == [{"cpu": 0, "gpu": 0}] * DAYS


def test_enough_traffic_pays_for_a_machine_and_the_rest_goes_out() -> None:
    # 10 a second: 0.9 of a machine's second, of which 0.7 may be used; one machine saves 7.78/s × 0.00014 × 86,400 = 94 USD.
    found = compare(world(CHAT, chat_rate=10))["hybrid"]
    home = 0.7 / 0.09
    assert found.nodes == [{"cpu": 0, "gpu": 1}] * DAYS
    assert found.usd[0] == pytest.approx(60 + (10 - home) * 86_400 * 0.00014)


def test_bound_work_never_leaves_and_what_does_not_fit_waits() -> None:
    bound = replace(CHAT, bound=True, small=None, large=None)
    week = np.ones(WINDOWS)
    week[3 * A_DAY :] = 12.0  # the fourth day brings twelve times what was ever seen
    numbers = values({})
    found = compare(World(build((bound,), {"a": week}, numbers), numbers))
    hybrid = found["hybrid"]
    assert hybrid.usd == pytest.approx(hybrid.machines_usd)
    assert hybrid.nodes[2] == {"cpu": 0, "gpu": 1} and hybrid.nodes[3] == {"cpu": 0, "gpu": 2}
    assert 0 < hybrid.late_share < 1
    assert found["hindsight"].late_share == 0
    assert not found["all_external_small"].lawful and not found["all_external_large"].lawful


def test_a_floor_above_the_cheap_models_sends_just_enough_to_the_large_one() -> None:
    assert escalated(CHAT, 0.85) == pytest.approx(0.5)
    found = compare(world(CHAT, floor_chat=0.85 / 0.90))
    assert found["hybrid"].right == pytest.approx(0.85)
    assert found["hybrid"].usd[0] == pytest.approx(86_400 * (0.5 * 0.00225 + 0.5 * 0.00014))
    assert not found["all_private"].floors and not found["all_external_small"].floors
    assert cheapest_single_side(found) is found["all_external_large"]


def test_nothing_is_cheaper_than_hindsight_on_machines_and_nobody_answers_twice() -> None:
    outcomes = replay(shapes={f.client: _week(int(f.client)) for f in SHIPPED})
    best = outcomes["hindsight"].total_usd
    for name in ("hybrid", "all_private", "external_but_bound", "random_split"):
        assert outcomes[name].total_usd >= best * (1 - 1e-9), name
    assert all(0 < one.right <= 1 for one in outcomes.values())


def _week(seed: int) -> np.ndarray:
    """A shape with days, nights and noise."""
    hours = np.arange(WINDOWS) * WINDOW_S / 3600
    week = 1.2 + np.sin(hours / 24 * 2 * np.pi) + np.random.default_rng(seed).gamma(2.0, 0.2, WINDOWS)
    return week / week.mean()


def test_ratios_lie_in_their_intervals_and_are_the_same_every_time() -> None:
    shapes = {f.client: _week(int(f.client)) for f in SHIPPED}
    first, second = (ratios(replay(shapes=shapes)) for _ in range(2))
    assert first == second
    for ratio in first.values():
        assert ratio is not None and ratio.low <= ratio.value <= ratio.high


def test_six_days_give_an_interval_as_wide_as_students_not_the_bells() -> None:
    """Of a mean of days that are equally far from it on both sides the interval can be worked by hand: t(5) × s ÷ √6."""
    usd = [10.0, 11.0, 12.0, 13.0, 14.0, 15.0]
    plans = {name: Outcome(name, usd=list(usd if name == "hybrid" else [1.0] * 6)) for name in
             ("hybrid", "hindsight", "all_external_large", "all_external_small", "all_private")}  # fmt: skip
    found = ratios(plans)["ratio_to_hindsight"]
    assert found is not None and found.value == 12.5
    by_hand = stdtrit(5, 0.975) * np.std(usd, ddof=1) / 6**0.5
    assert (found.high - found.low) / 2 == pytest.approx(by_hand, rel=0.08)
    assert pytest.approx([stdtrit(n, 0.975) for n in range(1, 11)], abs=0.0006) == STUDENT


def test_the_tornado_moves_what_it_names_and_nothing_that_was_fixed() -> None:
    shapes = {f.client: _week(int(f.client)) for f in SHIPPED}
    bars = tornado("share_of_all_external_large", {"gpu_usd_per_hour": 2.0}, shapes=shapes)
    names = [bar.assumption.name for bar in bars]
    assert "gpu_usd_per_hour" not in names and set(names) < set(DEFAULTS)
    assert [bar.reach for bar in bars] == sorted((bar.reach for bar in bars), reverse=True)
    large = next(bar for bar in bars if bar.assumption.name == "large_usd_per_mtok_in")
    assert large.at_high is not None and large.at_high < bars[0].base


def test_unmeasured_models_are_taken_to_be_as_good_as_the_best_so_nothing_is_won_by_it() -> None:
    text = Facts("shop", "text", "text", "a", False, 100, 10, 1.0, "text_rate", 0.005, 0.9, None, None)
    found = compare(world(text))
    assert found["all_external_large"].right == pytest.approx(0.9)
    assert accuracy_delta_points(found) == pytest.approx(0)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"gpu_price": 1.0}, "is no assumption"),
        ({"gpu_usd_per_hour": -1.0}, "expected a number"),
        ({"gpu_usd_per_hour": float("nan")}, "expected a number"),
        ({"utilisation_cap": 0.0}, "must be above 0"),
        ({"prefix_cache_share": 1.5}, "shares"),
    ],
)
def test_assumptions_that_cannot_be_are_refused_in_words(changes: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        values(changes)
