"""Figures agree with worked values and with scikit-learn, and intervals behave."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score

from modelhub.ml.tabular import metrics


def test_average_precision_agrees_with_scikit_learn_also_with_ties():
    rng = np.random.default_rng(0)
    for _ in range(5):
        truth = (rng.random(200) < 0.1).astype(int)
        score = np.round(rng.random(200) + 0.3 * truth, 1)
        assert metrics.average_precision(truth, score) == pytest.approx(average_precision_score(truth, score))


def test_macro_f1_agrees_with_scikit_learn():
    rng = np.random.default_rng(1)
    truth, guess = rng.integers(0, 4, 100), rng.integers(0, 4, 100)
    assert metrics.macro_f1(truth, guess) == pytest.approx(f1_score(truth, guess, average="macro"))


def test_precision_and_recall_of_a_worked_case():
    truth, alarm = np.array([1, 1, 0, 0, 1]), np.array([1, 0, 1, 0, 1])
    assert metrics.precision_recall(truth, alarm) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert metrics.precision_recall(truth, np.zeros(5)) == (1.0, 0.0)


def test_the_threshold_is_the_lowest_whose_precision_is_sure():
    score = np.linspace(1, 0, 1000)
    truth = np.zeros(1000, int)
    truth[:100] = 1  # every alarm among the first hundred is right
    threshold = metrics.threshold_for_precision(truth, score, 0.6)
    alarms = int((score >= threshold).sum())
    assert metrics.wilson(100, alarms)["low"] >= 0.6 > metrics.wilson(100, alarms + 1)["low"]


def test_the_threshold_falls_back_to_plain_precision_on_few_rows_and_says_when_none_is_right():
    assert metrics.threshold_for_precision(np.array([1, 0]), np.array([0.9, 0.1]), 0.6) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="no threshold"):
        metrics.threshold_for_precision(np.array([0, 0]), np.array([0.9, 0.1]), 0.6)


def test_errors_of_worked_cases():
    assert metrics.rmse(np.array([1.0, 5.0]), np.array([4.0, 1.0])) == pytest.approx(12.5**0.5)
    assert metrics.mape(np.array([10.0, 0.0, 20.0]), np.array([11.0, 3.0, 15.0])) == pytest.approx(0.175)


def test_intervals_hold_the_value_and_draw_whole_groups():
    values = np.repeat([0.0, 1.0], 50)
    groups = np.repeat([1, 2], 50)
    alone = metrics.bootstrap(lambda i: float(values[i].mean()), 100)
    together = metrics.bootstrap(lambda i: float(values[i].mean()), 100, groups)
    assert alone["low"] < 0.5 < alone["high"]
    assert (together["low"], together["high"]) == (0.0, 1.0)  # two groups alone: the interval is all there is
    assert metrics.bootstrap(lambda i: float(values[i].mean()), 100) == alone


@pytest.mark.parametrize(
    ("low", "high", "word"), [(0.1, 0.2, "pass"), (-0.2, -0.1, "fail"), (-0.1, 0.1, "not_enough_data")]
)
def test_the_verdict_follows_the_interval(low: float, high: float, word: str):
    assert metrics.verdict({"low": low, "high": high}) == word
