"""How rare a value is: within the past not at all, beyond it by the past's own extremes."""

from __future__ import annotations

from math import exp, log

import numpy as np
import pytest

from costs.foresight.tails import EXTREMES, Tail, rarity

TAIL = Tail(usual=0.3, least=0.05)


def test_what_was_seen_before_is_not_rare() -> None:
    past = [float(v) for v in range(40)]
    assert rarity(20.0, past, [], TAIL) == (0.0, 0)
    assert rarity(35.0, past, [], TAIL) == (0.0, 0), "as high as the fifth highest"


def test_the_chance_beyond_the_past_by_hand() -> None:
    """Ten days, so three extremes: excesses 1, 2 and 3 over the fourth highest, and 0.3 that is believed beforehand."""
    past = [0.0] * 6 + [1.0, 2.0, 3.0, 4.0]
    chance, side = rarity(5.0, past, [], TAIL)
    assert side == 1
    assert chance == pytest.approx(log(3 / 10) - (5.0 - 1.0) / ((1 + 2 + 3 + 0.3) / 4))
    mirrored = rarity(-5.0, [-v for v in past], [], TAIL)
    assert mirrored == (pytest.approx(chance), -1)


def test_a_past_that_never_moved_has_the_least_spread_there_is() -> None:
    chance, _ = rarity(1.0, [0.0] * 28, [], Tail(usual=0.1, least=0.04))
    assert chance == pytest.approx(log(EXTREMES / 28) - 1.0 / 0.04)


def test_what_stood_out_once_is_no_pattern_twice_it_is() -> None:
    past = [0.1 * (i % 5) for i in range(28)]
    alone = rarity(3.0, past, [], TAIL)
    assert rarity(3.0, past, [3.0], TAIL) == alone
    assert rarity(3.0, past, [3.0, 3.1], TAIL)[0] > alone[0] + 3
    below = rarity(3.0, past, [-3.0, -3.1], TAIL)
    assert below[0] == pytest.approx(alone[0], abs=0.1), (
        "days below say nothing of days above, but for their number"
    )


def test_chances_are_right_where_tails_are_exponential() -> None:
    """Of days drawn as the past was, one in a hundred is given a chance of less than a hundredth, or fewer."""
    random = np.random.default_rng(3)
    told = [rarity(v[-1], list(v[:-1]), [], Tail(0.3, 0.05))[0] for v in random.exponential(1.0, (4_000, 92))]
    share = float(np.mean([chance < log(0.01) for chance in told]))
    assert 0.002 < share < 0.02
    assert exp(min(told)) > 0
