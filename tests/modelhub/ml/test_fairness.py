"""Fairness arithmetic against fairlearn, scipy, statsmodels and numbers worked by hand."""

import numpy as np
import pytest
from fairlearn import metrics as fairlearn
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from modelhub.ml.fairness import counterfactual, intervals, paired, rates, verdict


def random_frame(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    groups = rng.choice(["amber", "blue", "coral"], 200, p=[0.6, 0.3, 0.1])
    return groups, rng.integers(0, 2, 200), rng.integers(0, 2, 200)


@pytest.mark.parametrize("seed", range(20))
def test_group_rates_equal_fairlearns(seed):
    groups, predicted, truth = random_frame(seed)
    found = rates.by_group(groups, predicted, truth)
    kwargs = {"sensitive_features": groups}
    pairs = [
        (rates.demographic_parity_difference, fairlearn.demographic_parity_difference),
        (rates.demographic_parity_ratio, fairlearn.demographic_parity_ratio),
        (rates.equalized_odds_difference, fairlearn.equalized_odds_difference),
        (rates.equal_opportunity_difference, fairlearn.equal_opportunity_difference),
    ]
    for ours, oracle in pairs:
        assert ours(found) == pytest.approx(oracle(truth, predicted, **kwargs), abs=1e-12)


def test_rates_refuse_anything_but_zero_and_one():
    with pytest.raises(ValueError, match="0 and 1"):
        rates.by_group(np.array(["a"]), np.array([2]), np.array([1]))


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (10, 10), (3, 17), (850, 1000)])
def test_wilson_equals_statsmodels(hits, n):
    low, high = proportion_confint(hits, n, method="wilson")
    found = intervals.wilson(hits, n)
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-12), pytest.approx(high, abs=1e-12))


def test_newcombe_equals_the_published_example():
    found = intervals.newcombe(56, 70, 48, 80)  # Newcombe 1998, table II, case (a), method 10
    assert found.value == pytest.approx(0.2)
    assert found.low == pytest.approx(0.0524, abs=5e-5)
    assert found.high == pytest.approx(0.3339, abs=5e-5)


def test_a_paired_difference_equals_the_one_sample_z_interval_by_hand():
    a, b = np.array([1, 1, 1, 0, 1, 0]), np.array([1, 0, 0, 0, 1, 1])
    found = intervals.paired_difference(a, b)
    differences = np.array([0, 1, 1, 0, 0, -1])
    half = 1.959963984540054 * differences.std(ddof=1) / np.sqrt(6)
    assert found.value == pytest.approx(1 / 6)
    assert found.high - found.value == pytest.approx(half)


@pytest.mark.parametrize(("difference", "needed"), [(0.10, 385), (0.05, 1562), (0.02, 9804)])
def test_rows_needed_for_eighty_percent_power_are_the_known_ones(difference, needed):
    assert intervals.rows_needed(difference) == pytest.approx(needed, rel=0.02)


def test_mcnemar_equals_scipys_exact_binomial():
    first = np.array([1] * 12 + [0] * 3 + [1] * 30, bool)
    second = np.array([0] * 12 + [1] * 3 + [1] * 30, bool)
    found = paired.mcnemar(first, second)
    assert (found.only_first, found.only_second) == (12, 3)
    assert found.p_value == pytest.approx(stats.binomtest(12, 15).pvalue)
    assert paired.mcnemar(first, first).p_value == 1.0


def test_holm_equals_statsmodels_in_the_order_given():
    p = [0.04, 0.001, 0.3, 0.02, 0.02]
    assert paired.holm(p) == pytest.approx(multipletests(p, method="holm")[1].tolist())


def test_the_excess_gap_is_what_the_group_lost_beyond_the_rest():
    teacher = np.ones(20)
    student = np.array([1] * 8 + [0] * 2 + [1] * 9 + [0])
    group = np.arange(20) < 10
    found = paired.excess_gap(teacher, student, group)
    assert found.value == pytest.approx(0.2 - 0.1)
    assert found.low < 0 < found.high
    with pytest.raises(ValueError, match="rows"):
        paired.excess_gap(teacher, student, np.ones(20, bool))


def test_disagreement_is_counted_by_group():
    found = paired.disagreement(np.array([1, 2, 3, 4]), np.array([1, 0, 3, 4]), np.array(list("aabb")))
    assert found == {"a": 0.5, "b": 0.0}


def test_a_flip_is_found_and_texts_without_a_group_take_no_part():
    def swaps(text):
        return [text.replace("women", "men")] if "women" in text.split() else []

    def score(texts):
        return np.array([[0.9, 0.1] if "women" in text.split() else [0.4, 0.6] for text in texts])

    found = counterfactual.flips(["women work", "rain", "many women"], swaps, score)
    assert (found.texts, found.pairs) == (2, 2)
    assert found.flipped is not None and found.flipped.value == 1.0
    assert found.gap == pytest.approx(0.5)
    assert [index for index, _ in found.worst] == [0, 2]
    assert counterfactual.flips(["rain"], swaps, score).flipped is None


def test_verdicts_follow_the_interval_and_say_how_many_rows_are_missing():
    assert verdict.judge(intervals.Interval(0.01, 0.0, 0.04), 0.05, 100).outcome == "pass"
    assert verdict.judge(intervals.Interval(0.2, 0.1, 0.3), 0.05, 100).outcome == "fail"
    undecided = verdict.judge(intervals.Interval(0.03, -0.05, 0.11), 0.05, 100)
    assert undecided.outcome == "not_enough_data"
    assert undecided.n_needed == 1600  # the half width 0.08 must shrink to 0.02: sixteen times the rows
    assert verdict.judge(None, 0.05, 0).outcome == "not_enough_data"


def test_a_signed_difference_may_stray_either_way():
    assert verdict.judge_difference(intervals.Interval(-0.01, -0.04, 0.02), 0.05, 100).outcome == "pass"
    assert verdict.judge_difference(intervals.Interval(-0.2, -0.3, -0.1), 0.05, 100).outcome == "fail"
    undecided = verdict.judge_difference(intervals.Interval(-0.03, -0.11, 0.05), 0.05, 100)
    assert (undecided.outcome, undecided.n_needed) == ("not_enough_data", 1600)
