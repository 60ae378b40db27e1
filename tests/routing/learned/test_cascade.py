"""Thresholds from rows that both models answered."""

import numpy as np
import pytest

from modelhub.ml.answer_sheets import Sheet, digest_of, unpack
from routing.learned import cascade
from routing.learned.cascade import Answers


def pair(n: int = 2_000, seed: int = 0) -> tuple[Answers, Answers]:
    """A small model that knows what it knows, and a big one that costs twenty times as much."""
    rng = np.random.default_rng(seed)
    confidence = rng.beta(6, 1, n)
    small = rng.random(n) < confidence
    big = np.where(rng.random(n) < 0.6, True, small & (rng.random(n) < 0.97))
    return Answers(small, confidence, 1.0), Answers(big, np.ones(n), 20.0)


def test_a_threshold_pays_for_both_attempts():
    small = Answers(np.array([True, False]), np.array([0.9, 0.2]), 1.0)
    big = Answers(np.array([True, True]), np.array([1.0, 1.0]), 4.0)
    point = cascade.at(small, big, 0.5)
    assert (point.escalated, point.accuracy, point.cost_share) == (0.5, 1.0, (1 + 0.5 * 4) / 4)
    assert point.random_accuracy == 0.75


def test_an_accuracy_target_is_met_for_a_fraction_of_the_cost_and_beats_lots():
    small, big = pair()
    found = cascade.choose(cascade.curve(small, big), "accuracy", 0.99)
    assert found is not None and found.accuracy_share >= 0.99 and found.cost_share < 0.75
    honest = cascade.across_folds(small, big, "accuracy", 0.99)
    assert honest.accuracy_share.value >= 0.985
    assert honest.above_random.low > 0


def test_a_gain_falls_with_confidence_and_is_never_below_zero():
    """Worked by hand, from the unsurest up: +1 stands, −1 0 +1 become one block of 0, −1 is cut at 0."""
    small = Answers(np.array([False, True, True, False, True]), np.array([0.1, 0.2, 0.3, 0.4, 0.9]), 1.0)
    big = Answers(np.array([True, False, True, True, False]), np.ones(5), 9.0)
    assert cascade.gain_of(small, big).tolist() == [1.0, 0.0, 0.0, 0.0, 0.0]
    swapped = Answers(small.right, np.array([0.9, 0.2, 0.3, 0.1, 0.4]), 1.0)
    assert cascade.gain_of(swapped, big).tolist() == [0.0, 0.0, 0.0, 1.0, 0.0]


def test_what_the_small_model_withheld_keeps_its_own_difference():
    held = np.array([True, False])
    small = Answers(np.array([False, True]), np.array([0.9, 0.9]), 1.0, held)
    big = Answers(np.array([True, True]), np.ones(2), 9.0)
    assert cascade.gain_of(small, big).tolist() == [1.0, 0.0]


def test_few_rows_are_chosen_more_carefully_than_many():
    """The same rows twenty times over say the same with less error."""
    small, big = pair(300)
    rows = np.tile(np.arange(300), 20)
    many = (
        Answers(small.right[rows], small.confidence[rows], 1.0),
        Answers(big.right[rows], np.ones(6_000), 20.0),
    )
    careful, plain = (
        cascade.choose(cascade.curve(*answers), "accuracy", 0.99) for answers in ((small, big), many)
    )
    assert careful is not None and plain is not None and careful.escalated > plain.escalated
    same = cascade.at(small, big, 0.8), cascade.at(*many, 0.8)
    assert same[0].accuracy_share == pytest.approx(same[1].accuracy_share)
    assert same[0].sure_share < same[1].sure_share


def test_on_rows_to_come_an_accuracy_target_holds_more_often_than_not():
    """Chosen on 450 rows, judged on 20,000 others: the mean share reaches the target."""
    other = pair(20_000, seed=99)
    reached = []
    for seed in range(20):
        found = cascade.choose(cascade.curve(*pair(450, seed=seed)), "accuracy", 0.99)
        threshold = found.threshold if found is not None else 1.1
        reached.append(cascade.at(*other, threshold).accuracy_share)
    assert np.mean(reached) >= 0.99
    assert np.mean(np.array(reached) >= 0.99) > 0.5


def test_a_cost_target_is_never_exceeded():
    small, big = pair()
    found = cascade.choose(cascade.curve(small, big), "cost", 0.3)
    assert found is not None and found.cost_share <= 0.3
    assert cascade.choose(cascade.curve(small, big), "cost", 0.01) is None


def test_confidence_that_says_nothing_is_no_better_than_lots():
    small, big = pair()
    blind = Answers(small.right, np.random.default_rng(5).random(len(small.right)), 1.0)
    honest = cascade.across_folds(blind, big, "cost", 0.4)
    assert honest.above_random.low < 0 < honest.above_random.high


def test_where_no_threshold_keeps_the_accuracy_the_big_model_is_used_alone():
    """The small one withholds a tenth of what the big one answers, and those rows are asked of nobody else."""
    small, big = pair()
    held = np.arange(len(big.right)) % 10 == 0
    strict = Answers(small.right & ~held, small.confidence, 1.0, held)
    assert cascade.choose(cascade.curve(strict, big), "accuracy", 0.99) is None
    honest = cascade.across_folds(strict, big, "accuracy", 0.99)
    assert (honest.accuracy_share.value, honest.cost_share, honest.escalated) == (1.0, 1.0, 1.0)


def test_rows_of_unequal_number_are_refused():
    small, big = pair(40)
    with pytest.raises(ValueError, match="same ones"):
        cascade.at(small, Answers(big.right[:-1], big.confidence[:-1], 1.0), 0.5)


def test_a_sheet_holds_rows_in_a_byte_each_and_comes_back():
    rng = np.random.default_rng(0)
    right, confidence = rng.random(1_001) < 0.8, rng.random(1_001)
    stored = Sheet(right, confidence, digest_of(["a", "b"])).pack()
    found = unpack(stored)
    assert found is not None and (found.right == right).all()
    assert np.abs(found.confidence - confidence).max() < 0.005
    assert np.abs(found.confidence - confidence)[confidence > 0.97].max() < 0.001
    assert len(str(stored)) < 2 * 1_001


@pytest.mark.parametrize(
    "stored", [None, {}, {"n": 3, "right": "AA==", "unsure": "AA==", "rows": ""}, {"n": "x"}]
)
def test_something_else_than_a_sheet_is_none(stored):
    assert unpack(stored) is None
