"""The metrics of audits against fairlearn, scipy and scikit-learn on 500 random frames, and against numbers by hand."""

import itertools

import numpy as np
import pytest
from fairlearn import metrics as fairlearn
from scipy import stats
from sklearn.metrics import f1_score, roc_auc_score

from modelhub.ml.fairness import bbq, frame, intervals, paired, ranking, rates

FRAMES, PER_TEST = 500, 50
EXACT = 1e-12


def random_frame(seed):
    """Groups of uneven size, some of them tiny, decisions and truths that lean with the group."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(40, 300))
    groups = rng.choice(["amber", "blue", "coral", "dun"], n, p=[0.55, 0.3, 0.1, 0.05])
    lean = {"amber": 0.5, "blue": 0.4, "coral": 0.7, "dun": 0.2}
    truth = (rng.random(n) < [lean[g] for g in groups]).astype(int)
    predicted = np.where(rng.random(n) < 0.2, 1 - truth, truth)
    return rng, groups, predicted, truth


def tight(value, abs_=EXACT):
    return pytest.approx(value, abs=abs_, rel=0, nan_ok=True)


@pytest.mark.parametrize("start", range(0, FRAMES, PER_TEST))
def test_rates_equal_fairlearns_on_random_frames(start):
    for seed in range(start, start + PER_TEST):
        _, groups, predicted, truth = random_frame(seed)
        found = rates.by_group(groups, predicted, truth)
        for group, ours in found.items():
            rows = groups == group
            y, given = truth[rows], predicted[rows]
            assert ours.selection == tight(fairlearn.selection_rate(y, given))
            if 0 < ours.positives < ours.n:
                assert ours.true_positive == tight(fairlearn.true_positive_rate(y, given, pos_label=1))
                assert ours.false_positive == tight(fairlearn.false_positive_rate(y, given, pos_label=1))


@pytest.mark.parametrize("seed", range(0, FRAMES, 10))
def test_gaps_equal_fairlearns_on_random_frames(seed):
    _, groups, predicted, truth = random_frame(seed)
    found = rates.by_group(groups, predicted, truth)
    oracle = fairlearn.MetricFrame(
        metrics={"selection": fairlearn.selection_rate, "true_positive": fairlearn.true_positive_rate,
                 "false_positive": fairlearn.false_positive_rate},
        y_true=truth, y_pred=predicted, sensitive_features=groups,
    )  # fmt: skip
    gap = oracle.difference()
    assert rates.demographic_parity_difference(found) == tight(gap["selection"])
    assert rates.demographic_parity_ratio(found) == tight(oracle.ratio()["selection"])
    if all(0 < rate.positives < rate.n for rate in found.values()):
        assert rates.equal_opportunity_difference(found) == tight(gap["true_positive"])
        assert rates.equalized_odds_difference(found) == tight(
            max(gap["true_positive"], gap["false_positive"])
        )


@pytest.mark.parametrize("start", range(0, FRAMES, PER_TEST))
def test_quality_auc_and_tests_equal_scikit_learns_and_scipys_on_random_frames(start):
    for seed in range(start, start + PER_TEST):
        rng, groups, predicted, truth = random_frame(seed)
        quality = frame.quality_by_group(groups, truth, predicted)
        for group, found in quality.items():
            assert found.accuracy.value == tight(
                np.mean(truth[groups == group] == predicted[groups == group])
            )
        rows = groups == "amber"
        expected = f1_score(truth[rows], predicted[rows], average="macro", zero_division=0)
        assert quality["amber"].macro_f1 == tight(expected)
        score = np.round(rng.random(len(truth)), 1)  # ties on purpose
        if 0 < truth.sum() < len(truth):
            assert ranking.auc(score[truth == 1], score[truth == 0]) == tight(roc_auc_score(truth, score))
        other = np.where(rng.random(len(truth)) < 0.15, 1 - predicted, predicted)
        found = paired.mcnemar(predicted == truth, other == truth)
        changed = found.only_first + found.only_second
        expected = stats.binomtest(found.only_first, changed).pvalue if changed else 1.0
        assert found.p_value == tight(expected)
        hits = int(predicted.sum())
        oracle = stats.binomtest(hits, len(predicted)).proportion_ci(0.95, method="wilson")
        ours = intervals.wilson(hits, len(predicted))
        assert (ours.low, ours.high) == (tight(oracle.low), tight(oracle.high))


def test_impact_ratios_cover_intersections_and_leave_tiny_categories_out_with_the_reason():
    sex = np.array(["f"] * 100 + ["m"] * 100)
    race = np.array((["a"] * 60 + ["b"] * 39 + ["c"]) * 2)
    selected = np.zeros(200, int)
    selected[:30], selected[100:160] = 1, 1
    found = frame.impact_ratios(selected, {"sex": sex, "race": race})
    assert set(found) == {"sex", "race", "race × sex"}
    by_sex = {row.category: row for row in found["sex"]}
    assert (by_sex["m"].ratio, by_sex["f"].ratio) == (1.0, pytest.approx(0.5))
    tiny = next(row for row in found["race"] if row.category == "c")
    assert (tiny.ratio, tiny.n) == (None, 2) and "2%" in tiny.left_out
    assert {row.category for row in found["race × sex"]} == {
        f"{r} × {s}" for r, s in itertools.product("abc", "fm")
    }


def test_abstentions_are_wrong_and_told_and_calibration_is_by_hand():
    truth = np.array(["x", "x", "y", "y"], object)
    predicted = np.array(["x", None, "y", "x"], object)
    found = frame.quality_by_group(np.array(["g"] * 4), truth, predicted, np.array([0.9, 0.2, 0.7, 0.9]))["g"]
    assert (found.accuracy.value, found.abstention) == (0.5, 0.25)
    # bins 0.9: two rows, one right, confidence 0.9 → gap 0.4 · 2/3; bin 0.7: one right → gap 0.3 · 1/3
    assert found.calibration_error == pytest.approx((0.8 + 0.3) / 3)


def test_naming_a_group_that_raises_scores_lowers_bpsn_alone():
    rng = np.random.default_rng(0)
    bad, member = rng.random(4000) < 0.5, rng.random(4000) < 0.5
    fair = bad + rng.normal(0, 0.3, 4000)
    leaning = fair + 0.6 * member
    before, after = ranking.by_named_group(fair, bad, member), ranking.by_named_group(leaning, bad, member)
    assert abs(after.subgroup - before.subgroup) < 1e-9
    assert after.bpsn < before.bpsn - 0.1 and after.bnsp > before.bnsp
    inside = ranking.by_named_group(fair, bad, member)
    assert inside.subgroup == tight(roc_auc_score(bad[member], fair[member]))


def test_bbq_scores_by_hand():
    # ambiguous: 4 rows, 2 unknown (right), 2 stereotyped; sure: 4 rows, 3 told of which 2 stereotyped, 1 unknown
    ambiguous = np.array([True] * 4 + [False] * 4)
    unknown = np.array([1, 1, 0, 0, 0, 0, 0, 1], bool)
    stereotyped = np.array([0, 0, 1, 1, 1, 1, 0, 0], bool)
    right = np.array([1, 1, 0, 0, 1, 0, 1, 0], bool)
    found = bbq.scores(ambiguous, right, unknown, stereotyped)
    assert found.s_dis == pytest.approx(2 * 2 / 3 - 1)
    assert found.s_amb == pytest.approx((1 - 0.5) * 1.0)
    assert (found.accuracy_ambiguous, found.accuracy_disambiguated) == (0.5, 0.5)
    with pytest.raises(ValueError, match="unknown and stereotyped"):
        bbq.scores(ambiguous, right, np.ones(8, bool), stereotyped)


def test_an_answer_that_is_always_unknown_has_no_lean():
    found = bbq.scores(np.array([True, False]), np.array([True, False]), np.ones(2, bool), np.zeros(2, bool))
    assert (found.s_dis, found.s_amb, found.biased) == (None, 0.0, None)


def test_the_bootstrap_agrees_with_the_normal_interval_and_is_the_same_every_time():
    rng = np.random.default_rng(1)
    teacher, member = rng.random(3000) < 0.95, rng.random(3000) < 0.2
    student = teacher & (rng.random(3000) > np.where(member, 0.15, 0.03))
    drawn = paired.excess_gap_bootstrap(teacher, student, member, seed=5)
    normal = paired.excess_gap(teacher, student, member)
    assert drawn.value == tight(normal.value)
    assert (drawn.low, drawn.high) == (
        pytest.approx(normal.low, abs=0.01),
        pytest.approx(normal.high, abs=0.01),
    )
    assert drawn == paired.excess_gap_bootstrap(teacher, student, member, seed=5)


def test_rows_that_stand_together_widen_the_interval():
    rng = np.random.default_rng(2)
    clusters = np.repeat(np.arange(60), 20)
    member = clusters % 2 == 0
    teacher = np.ones(1200, bool)
    student = (rng.random(60) > 0.2)[clusters]  # whole templates lost
    alone = paired.excess_gap_bootstrap(teacher, student, member)
    together = paired.excess_gap_bootstrap(teacher, student, member, clusters=clusters)
    assert together.high - together.low > 2.5 * (alone.high - alone.low)


def test_emergence_counts_both_directions():
    teacher = np.array([True] * 10 + [False] * 90)
    student = np.array([True] * 5 + [False] * 5 + [True] * 20 + [False] * 70)
    found = paired.emergence(teacher, student)
    assert (found.only_student, found.only_teacher) == (20, 5)
    assert found.emerged.value == pytest.approx(0.2) and found.difference.value == pytest.approx(0.15)
    assert found.p_value == tight(stats.binomtest(20, 25).pvalue)


def test_five_equal_groups_break_the_naked_four_fifths_rule_about_half_the_time():
    rng = np.random.default_rng(3)
    broken = 0
    for _ in range(200):
        selected = (rng.random(500) < 0.5).astype(int)
        found = frame.impact_ratios(selected, {"group": np.repeat(list("abcde"), 100)})["group"]
        broken += min(row.ratio for row in found) < 0.8
    assert 0.4 < broken / 200 < 0.64
