"""The gain over plain models: hand-worked, with the better of the two as the measure in every draw."""

from __future__ import annotations

import numpy as np
import pytest

from modelhub import artifacts
from modelhub.ml.tabular import vertical
from modelhub.ml.tabular.vertical import Scores
from modelhub.serving.runners.tabular import TabularModel

TRUTH = np.array([1, 0, 1, 0] * 50)
PERFECT = TRUTH.astype(float)
USELESS = np.zeros(200)


def test_a_perfect_model_doubles_one_that_knows_nothing():
    scores = Scores(TRUTH, {"own": PERFECT, "none": USELESS})
    found = vertical.gain(scores, "own", ["none"])
    assert found["value"] == pytest.approx(100)  # an area of 1 over one of 0.5
    assert found["low"] < 100 < found["high"] and found["n"] == 200


def test_the_better_of_the_plain_models_is_what_must_be_beaten():
    scores = Scores(TRUTH, {"own": PERFECT, "none": USELESS, "as good": PERFECT})
    assert vertical.gain(scores, "own", ["none", "as good"])["value"] == 0


def test_the_shipped_fault_model_earns_the_area_its_manifest_states():
    scores = vertical.served_scores(TabularModel(artifacts.SHIPPED / "tabular-base"))
    stated = artifacts.load_manifest(artifacts.SHIPPED / "tabular-base")["metrics"]["equipment-fault"]
    assert scores.area("private") == pytest.approx(stated["value"], abs=2e-3)
    assert len(scores.truth) == stated["n"]
