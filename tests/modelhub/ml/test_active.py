"""Which rows to label next, and how well two labellers agree: hand-worked values."""

from __future__ import annotations

import math

import numpy as np
import pytest

from modelhub.ml.active import (
    cohens_kappa,
    combined,
    disagreement,
    expert_load,
    krippendorffs_alpha,
    pick,
    uncertainty,
)


def test_unsure_rows_and_rows_on_which_two_models_part_score_high():
    scores = np.array([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [0.6, 0.3, 0.1]])
    assert uncertainty(scores) == pytest.approx([1.0, 0.0, 0.7])
    assert disagreement(scores, scores[[1, 1, 1]]) == pytest.approx([0.5, 0.0, 0.4])
    assert expert_load(["a", "b", "new"], {"a": 30.0, "b": 60.0}) == pytest.approx([0.5, 1.0, 0.0])
    assert combined({"uncertainty": np.array([1.0]), "expert_load": np.array([0.0])}) == pytest.approx(
        [2 / 3]
    )
    for wrong in (np.ones((3, 1)), np.ones(3)):
        with pytest.raises(ValueError):
            uncertainty(wrong)
    with pytest.raises(ValueError):
        disagreement(np.ones((2, 2)), np.ones((3, 2)))


def test_the_worthiest_come_first_and_near_copies_are_not_taken_together():
    worth = np.array([0.9, 0.89, 0.5, 0.1])
    assert list(pick(worth, None, 2)) == [0, 1]
    copies = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    assert set(pick(worth, copies, 2)) == {0, 2}
    assert len(pick(worth, copies, 9)) == 4


def test_kappa_by_hand():
    """Cohen's own kind of table: 20 both yes, 15 both no, 5 and 10 apart of 50: (0.7 − 0.5) / 0.5."""
    first = ["y"] * 20 + ["y"] * 5 + ["n"] * 10 + ["n"] * 15
    second = ["y"] * 20 + ["n"] * 5 + ["y"] * 10 + ["n"] * 15
    assert cohens_kappa(first, second) == pytest.approx(0.4)
    assert cohens_kappa(["a", "b"], ["a", "b"]) == 1.0
    assert cohens_kappa(["a", "a"], ["a", "a"]) == 1.0
    with pytest.raises(ValueError):
        cohens_kappa(["a"], [])


def test_alpha_by_hand_and_against_kappa():
    """Krippendorff's binary example of ten units: alpha 0.095."""
    a = [0, 1, 0, 0, 0, 0, 0, 0, 1, 0]
    b = [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]
    assert krippendorffs_alpha([[str(x), str(y)] for x, y in zip(a, b, strict=True)]) == pytest.approx(
        0.095, abs=5e-4
    )
    assert krippendorffs_alpha([["x", "x"], ["y", "y"], ["x"]]) == 1.0
    assert math.isnan(krippendorffs_alpha([["x"], []]))
