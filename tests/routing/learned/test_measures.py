"""Hand-worked numbers for the measures of the field."""

import numpy as np
import pytest

from routing.learned import costs, measures

CHEAP, STRONG = np.array([1.0, 0, 1, 0]), np.array([1.0, 1, 1, 0])


def test_a_router_that_asks_for_the_one_prompt_that_gains_recovers_the_whole_gap_at_once():
    gain = np.array([0, 1.0, 0, 0])
    assert measures.pgr_curve(gain, CHEAP, STRONG).tolist() == [0, 1, 1, 1, 1]
    assert measures.apgr(gain, CHEAP, STRONG) == pytest.approx((0.5 + 1 + 1 + 1) / 4)
    assert measures.cpt(gain, CHEAP, STRONG, 0.5) == 0.25


def test_the_router_that_asks_for_it_last_has_the_mirror_image():
    gain = np.array([1.0, 0, 1, 1])
    assert measures.apgr(gain, CHEAP, STRONG) == pytest.approx(0.5 / 4)
    assert measures.cpt(gain, CHEAP, STRONG, 0.8) == 1.0


def test_lots_recover_half():
    rng = np.random.default_rng(0)
    cheap, strong = rng.random(400) < 0.6, rng.random(400) < 0.8
    drawn = [measures.apgr(rng.random(400), cheap.astype(float), strong.astype(float)) for _ in range(200)]
    assert np.mean(drawn) == pytest.approx(0.5, abs=0.05)


def test_a_strong_model_that_is_no_better_has_no_gap_to_recover():
    assert np.isnan(measures.apgr(np.arange(4.0), STRONG, STRONG))


def test_auc_counts_ties_as_half_and_agrees_with_scikit_learn():
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(1)
    score, hit = rng.integers(0, 5, 300).astype(float), rng.integers(0, 2, 300)
    assert measures.auc(score, hit) == pytest.approx(roc_auc_score(hit, score), abs=1e-12)
    assert measures.auc(np.zeros(4), np.array([0, 1, 0, 1])) == 0.5


def test_within_groups_a_score_that_knows_the_group_alone_is_worth_nothing():
    group = np.repeat([0, 1], 50)
    hit = np.concatenate([np.arange(50) < 10, np.arange(50) < 40]).astype(int)
    assert measures.auc(group.astype(float), hit) > 0.7
    assert measures.auc_within(group.astype(float), hit, group) == 0.5


def test_perfect_calibration_is_zero_and_overconfidence_is_its_gap():
    right = np.array([1.0, 0] * 50)
    assert measures.calibration_error(np.full(100, 0.5), right, bins=1) == pytest.approx(0)
    assert measures.calibration_error(np.full(100, 0.9), right, bins=1) == pytest.approx(0.4)


def test_few_rows_show_an_error_even_when_chances_are_right():
    chance = np.random.default_rng(0).random(100)
    assert 0.05 < measures.calibration_noise(chance) < 0.2
    assert measures.calibration_noise(np.tile(chance, 50)) < 0.02


def test_the_bootstrap_draws_whole_groups():
    values, groups = np.array([0.0] * 50 + [1.0] * 50), np.repeat([0, 1], 50)
    plain = measures.bootstrap(lambda i: float(values[i].mean()), 100)
    whole = measures.bootstrap(lambda i: float(values[i].mean()), 100, groups=groups)
    assert (whole.low, whole.high) == (0, 1)
    assert plain.high - plain.low < 0.3


# --- many models with prices --------------------------------------------------------------------------------------------

RIGHT = np.array([[1.0, 1], [0, 1], [1, 1], [0, 1]])
PRICE = np.tile([1.0, 10.0], (4, 1))


def test_lambda_zero_takes_the_likeliest_and_a_large_one_the_cheapest():
    assert costs.chosen(RIGHT, PRICE, 0.0).tolist() == [0, 1, 0, 1]
    assert costs.chosen(RIGHT, PRICE, 1.0).tolist() == [0, 0, 0, 0]


def test_an_oracle_reaches_the_best_models_score_for_less():
    points = costs.curve(RIGHT, PRICE, RIGHT, np.array([0.0, 1.0]))
    assert costs.cheapest_at(points, 1.0) == pytest.approx(5.5)
    assert costs.cheapest_at(points, 1.1) == float("inf")


def test_mixing_two_models_by_lot_lies_on_the_line_between_them():
    cost, right = np.array([1.0, 10.0]), np.array([0.5, 1.0])
    assert costs.hull_cost(cost, right, 0.75) == pytest.approx(5.5)
    assert costs.hull_score(cost, right, 5.5) == pytest.approx(0.75)
    points = costs.curve(RIGHT, PRICE, RIGHT, costs.lambdas(PRICE))
    assert costs.area_over_mixing(points, cost, right) > 0.1
