import numpy as np
import pytest

from modelhub.recipes import measures
from modelhub.recipes.measures import Measured, measure, recall_at_precision, verdict


def measured(metric, low, high):
    return Measured(metric, (low + high) / 2, low, high, np.array([True]))


def test_recall_is_counted_where_most_alarms_are_true():
    truth = np.array([1, 1, 0, 1, 0, 0, 0, 1])
    score = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2])
    assert recall_at_precision(truth, score, 0.6) == 0.75  # the first four: three of four true
    assert recall_at_precision(truth, score, 0.9) == 0.5
    assert recall_at_precision(truth, -score, 0.9) == 0.25  # the last row alone
    assert recall_at_precision(np.array([0, 1]), np.array([0.9, 0.1]), 0.9) == 0.0
    assert np.isnan(recall_at_precision(np.zeros(3, int), np.ones(3)))


def test_rows_of_equal_score_are_one_alarm_or_none():
    truth, score = np.array([1, 0, 0, 1]), np.array([0.5, 0.5, 0.5, 0.5])
    assert recall_at_precision(truth, score, 0.6) == 0.0
    assert recall_at_precision(truth, score, 0.5) == 1.0


def test_labels_give_accuracy_with_macro_f1_beside():
    truth = ["a"] * 8 + ["b"] * 2
    found = measure("any", "classification", [{"label": "a"}] * 10, truth)
    assert (found.metric, found.value, int(found.right.sum())) == ("accuracy", 0.8, 8)
    assert found.detail["macro_f1"]["value"] == pytest.approx((2 * 8 / 18 + 0) / 2, abs=1e-4)


def test_always_no_is_right_often_and_finds_nothing():
    rows = [{"prediction": 0, "probability": 0.1}] * 97 + [{"prediction": 1, "probability": 0.9}] * 3
    found = measure("equipment-fault", "prediction", rows, [0] * 97 + [1] * 3)
    assert found.value == 1.0
    assert found.detail["recall"]["value"] == 1.0
    assert (found.detail["always_no"]["value"], found.detail["always_no"]["recall"]) == (0.97, 0.0)


def test_cycles_over_the_cap_count_as_the_cap():
    found = measure("remaining-life", "prediction", [{"prediction": 125}, {"prediction": 40}], [300, 65])
    assert found.value == pytest.approx(np.sqrt(25**2 / 2), abs=1e-3)
    assert found.right.tolist() == [True, False]


def test_demand_is_right_within_fifteen_percent():
    rows = [{"prediction": 100}, {"prediction": 114}, {"prediction": 120}]
    found = measure("price-advice", "prediction", rows, [100, 100, 100])
    assert found.right.tolist() == [True, True, False]
    assert found.value == pytest.approx(0.34 / 3, abs=1e-4)


def test_a_prediction_without_a_measure_is_not_guessed():
    with pytest.raises(KeyError):
        measure("weather", "prediction", [], [])


@pytest.mark.parametrize(
    ("found", "n", "plain", "expected"),
    [
        (measured("accuracy", 0.90, 0.94), 400, 0.90, "pass"),
        (measured("accuracy", 0.89, 0.93), 400, 0.90, "pass"),  # two points are allowed
        (measured("accuracy", 0.84, 0.92), 400, 0.90, "not_enough_data"),
        (measured("accuracy", 0.80, 0.87), 400, 0.90, "fail"),
        (measured("accuracy", 0.90, 0.99), 100, 0.80, "not_enough_data"),
        (measured("accuracy", 0.90, 0.99), 400, None, "not_enough_data"),
        (measured("rmse", 10.0, 12.0), 240, 15.0, "pass"),
        (measured("rmse", 16.0, 18.0), 240, 15.0, "fail"),
        (measured("mape", 0.10, 0.20), 400, 0.15, "not_enough_data"),
        (measured("pr_auc", 0.70, 0.90), 400, 0.60, "pass"),
        (measured("humaneval_pass_at_1", 0.0, 0.03), 115, None, "fail"),
        (measured("humaneval_pass_at_1", 0.2, 0.4), 115, None, "pass"),
    ],
)
def test_the_verdict_is_on_losing_to_a_plain_model(found, n, plain, expected):
    assert verdict(found, n, {"value": plain} if plain is not None else None, 30) == expected


def test_a_plain_figure_of_the_same_rows_is_preferred(monkeypatch):
    told = {
        "one": {"metrics": {"w": {"tfidf": {"value": 0.8, "n": 2000}}}},
        "two": {"metrics": {"w": {"control": {"value": 0.7, "n": 300, "name": "ridge"}}}},
    }
    monkeypatch.setattr(measures.artifacts, "find", lambda model_id: model_id)
    monkeypatch.setattr(measures.artifacts, "load_manifest", told.__getitem__)
    assert measures.plain_model("w", ["one", "two"], 300) == {"name": "ridge", "value": 0.7, "n": 300}
    assert measures.plain_model("w", ["one", "two"], 999)["value"] == 0.8
    assert measures.plain_model("other", ["one", "two"], 999) is None
