"""Betting on a difference: quiet when there is none however often one looks, loud when there is, and it survives a row."""

import json
import math

import numpy as np
import pytest
from scipy import stats

from modelhub.ml.fairness import live

LOOKS, PER_LOOK, STREAMS = 90, 20, 120


def looks(rng, rate_group, rate_rest):
    """90 looks of 20 answers: (is it the group, outcome)."""
    for _ in range(LOOKS):
        member = rng.random(PER_LOOK) < 0.3
        yield list(zip(member, rng.random(PER_LOOK) < np.where(member, rate_group, rate_rest), strict=True))


def test_equal_groups_alarm_at_most_as_often_as_said_over_90_looks_and_a_naive_test_far_more_often():
    betting = naive = 0
    for seed in range(STREAMS):
        watch, alarmed, cried = live.Difference(), False, False
        for outcomes in looks(np.random.default_rng(seed), 0.1, 0.1):
            watch.see(outcomes)
            alarmed = alarmed or watch.bettor.refuted()
            (a, b), (n, m) = watch.hits, watch.n
            if min(n, m) > 20 and 0 < a + b < n + m:
                pooled = (a + b) / (n + m)
                z = (b / m - a / n) / math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
                cried = cried or 2 * stats.norm.sf(abs(z)) < 0.05
        betting += alarmed
        naive += cried
    assert betting / STREAMS <= 0.05
    assert naive / STREAMS > 0.2


def test_a_real_difference_is_found_in_either_direction():
    for rates in ((0.35, 0.1), (0.1, 0.35)):
        found = 0
        for seed in range(20):
            watch = live.Difference()
            for outcomes in looks(np.random.default_rng(seed), *rates):
                watch.see(outcomes)
            found += watch.bettor.refuted()
        assert found >= 19


def test_wealth_by_hand():
    bettor = live.Bettor()
    bettor.see(1.0)  # nothing was bet yet
    assert bettor.e_value == 1.0
    step = 2 / (2 - math.log(3)) * 1 / 2
    assert bettor.bet == min(0.5, step)
    bettor.see(1.0)
    assert bettor.e_value == pytest.approx(1.5)
    bettor.see(-1.0)
    assert bettor.e_value == pytest.approx(1.5 * (1 - bettor_before(2)))
    for bad in (1.01, float("nan")):
        with pytest.raises(ValueError, match="-1..1"):
            bettor.see(bad)


def bettor_before(wins):
    bettor = live.Bettor()
    for _ in range(wins):
        bettor.see(1.0)
    return bettor.bet


def test_a_rate_under_its_limit_is_never_accused_and_one_over_it_is():
    over = under = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        low, high = live.Above(0.05), live.Above(0.05)
        low.see(rng.random(1500) < 0.05)
        high.see(rng.random(1500) < 0.1)
        under += low.bettor.refuted()
        over += high.bettor.refuted()
    assert under <= 2 and over >= 27


def test_a_change_is_dated_and_none_is_seen_where_there_is_none():
    rng = np.random.default_rng(4)
    moved, still = live.Cusum(), live.Cusum()
    moved.see(np.concatenate([rng.random(1000) < 0.05, rng.random(400) < 0.3]))
    still.see(rng.random(1400) < 0.05)
    assert still.changed_at is None
    assert 1000 < moved.changed_at < 1100


def test_a_watch_continues_from_its_row_as_if_it_had_never_stopped():
    rng = np.random.default_rng(5)
    outcomes = list(zip(rng.random(400) < 0.4, rng.random(400) < 0.3, strict=True))
    whole, halves = live.Difference(), live.Difference()
    whole.see(outcomes)
    halves.see(outcomes[:217])
    again = live.from_state(json.loads(json.dumps(live.as_state(halves))))
    again.see(outcomes[217:])
    assert live.as_state(again) == live.as_state(whole)
    above = live.from_state(json.loads(json.dumps(live.as_state(live.Above(0.1)))))
    assert above == live.Above(0.1) and above.bettor.one_sided
    with pytest.raises(ValueError, match="expected one of"):
        live.from_state({"kind": "Nothing"})
