"""Calibration error by hand, by both ways of binning, and as the text models tell it from logits."""

import numpy as np
import pytest

from modelhub.ml import calibration
from modelhub.ml.text import blend


def test_by_width_bins_hold_what_falls_into_them():
    """0.05 and 0.09 share a bin (mean 0.07, half right), 0.95 and 1.0 another (mean 0.975, all right)."""
    chance, right = np.array([0.05, 0.09, 0.95, 1.0]), np.array([1, 0, 1, 1])
    assert calibration.by_width(chance, right) == pytest.approx(0.5 * (0.5 - 0.07) + 0.5 * (1 - 0.975))


def test_by_count_bins_hold_as_many_rows_each():
    chance, right = np.array([0.91, 0.92, 0.93, 0.94]), np.array([1, 0, 1, 1])
    found = calibration.by_count(chance, right, bins=2)
    assert found == pytest.approx(0.5 * (0.915 - 0.5) + 0.5 * (1 - 0.935))
    assert calibration.by_count(chance, right, bins=9) == pytest.approx(np.abs(chance - right).mean())


def test_logits_are_binned_by_the_likeliest_labels_chance():
    logits = np.log(np.array([[0.8, 0.2], [0.84, 0.16], [0.3, 0.7]]))
    found = blend.calibration_error(logits, np.array([0, 1, 1]))
    assert found == pytest.approx((abs(1.64 - 1) + abs(0.7 - 1)) / 3)
