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
