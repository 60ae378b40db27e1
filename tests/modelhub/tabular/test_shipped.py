"""The artifacts that ship still earn the figures their manifests state."""

from __future__ import annotations

import numpy as np
import pytest

from modelhub import artifacts
from modelhub.ml.tabular import data
from modelhub.serving.runners.tabular import TabularModel

WITHIN = {
    "equipment-fault": lambda guess, truth: guess == truth,
    "plate-fault": lambda guess, truth: guess == truth,
    "remaining-life": lambda guess, truth: abs(guess - min(truth, 125)) <= 20,
    "price-advice": lambda guess, truth: abs(guess / max(truth, 1) - 1) <= 0.15,
}


@pytest.fixture(scope="module", params=["tabular-base", "tabular-edge"])
def model(request: pytest.FixtureRequest) -> TabularModel:
    return TabularModel(artifacts.SHIPPED / request.param)


@pytest.mark.parametrize("workload", ["equipment-fault", "plate-fault", "remaining-life"])
def test_the_share_of_right_answers_is_the_manifests(model: TabularModel, workload: str):
    records, targets = data.load(workload, "val")
    items = model.predict(workload, records)
    right = [
        WITHIN[workload](item["prediction"], target) for item, target in zip(items, targets, strict=True)
    ]
    stated = model.manifest["metrics"][workload]["correct"]
    assert (np.mean(right), len(right)) == (pytest.approx(stated["value"], abs=1e-4), stated["n"])


def test_some_demand_is_right_as_often_as_the_manifest_says(model: TabularModel):
    records, targets = data.load("price-advice", "val")
    items = model.predict("price-advice", records[::6])
    right = [
        WITHIN["price-advice"](item["prediction"], target)
        for item, target in zip(items, targets[::6], strict=True)
    ]
    assert np.mean(right) == pytest.approx(
        model.manifest["metrics"]["price-advice"]["correct"]["value"], abs=0.08
    )


def test_the_private_model_beats_the_plain_one_beside_it_on_every_head():
    verdicts = {
        workload: figures["verdict"]
        for workload, figures in artifacts.load_manifest(artifacts.SHIPPED / "tabular-base")[
            "metrics"
        ].items()
    }
    assert set(verdicts.values()) == {"pass"}, verdicts
