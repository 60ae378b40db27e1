"""Maps of confidence: fitted, crossed, refused when they would fall."""

import numpy as np
import pytest

from routing.learned import calibrate, measures
from routing.learned.calibrate import Calibration


def drawn(n: int, bend, seed: int = 0):
    """n confidences and outcomes whose chance is `bend` of the confidence."""
    rng = np.random.default_rng(seed)
    confidence = rng.uniform(0.05, 0.999, n)
    return confidence, (rng.random(n) < bend(confidence)).astype(float)


def test_an_overconfident_model_is_brought_down_on_rows_that_fitted_nothing():
    confidence, right = drawn(3_000, lambda c: c**3)
    found = calibrate.fit(confidence, right)
    assert found.calibration.kind in ("platt", "isotonic")
    assert (
        measures.calibration_error(found.unseen, right) < 0.03 < measures.calibration_error(confidence, right)
    )
    fresh, outcome = drawn(3_000, lambda c: c**3, seed=1)
    assert measures.calibration_error(found.calibration.many(fresh), outcome) < 0.04


def test_what_is_calibrated_already_stays_as_it_is():
    confidence, right = drawn(2_000, lambda c: c)
    assert calibrate.fit(confidence, right).calibration is calibrate.IDENTITY


def test_one_value_and_many_agree_and_the_map_rises():
    for fitter in (calibrate.platt, calibrate.isotonic):
        found = fitter(*drawn(800, lambda c: c**2))
        grid = np.linspace(0, 1, 101)
        assert [found(float(x)) for x in grid] == pytest.approx(found.many(grid).tolist(), abs=1e-9)
        assert (np.diff(found.many(grid)) >= -1e-12).all()
        assert Calibration.from_json(found.as_json()).many(grid) == pytest.approx(found.many(grid), abs=1e-5)


def test_no_number_is_no_confidence():
    assert calibrate.IDENTITY(float("nan")) == 0.0
    assert calibrate.platt(*drawn(500, lambda c: c**2))(7.0) == 0.0


@pytest.mark.parametrize(
    "knots",
    [[[0, 0.5], [1, 0.4]], [[0, 0], [1, 1.2]], [[0, 0]], [[0.5, 0], [0.5, 1]], [[0, 0], [1, float("nan")]]],
)
def test_a_stored_map_that_falls_or_leaves_the_unit_interval_is_refused(knots):
    with pytest.raises(ValueError, match="calibration"):
        Calibration.from_json({"kind": "isotonic", "knots": knots})


def test_too_few_answers_or_one_outcome_are_refused_with_the_number_needed():
    with pytest.raises(ValueError, match="100"):
        calibrate.fit(*drawn(50, lambda c: c))
    with pytest.raises(ValueError, match="both outcomes"):
        calibrate.fit(np.linspace(0, 1, 200), np.ones(200))
