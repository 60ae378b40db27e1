"""The Dynamic Gating network over rows as graphs: the float forms say what torch says, 8 bits rank faults as it does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

from modelhub import artifacts
from modelhub.ml.features import open_session
from modelhub.ml.moe.expert_graph import EIGHT_BITS, FORMS
from modelhub.ml.tabular import features, metrics
from modelhub.ml.tabular.gating import train_typed
from modelhub.ml.tabular.gating_graph import write_typed
from modelhub.ml.tabular.recipes import table
from modelhub.serving.runners.tabular import TabularModel
from tests.modelhub.tabular.test_gating import CONFIG, rows

SHIPPED = artifacts.SHIPPED / "tabular-dgn"


@pytest.fixture(scope="module", params=["by type", "free", "k varies"])
def trained(request):
    change = {
        "by type": {},
        "free": {"free": True},
        "k varies": {"k_min": 1, "k_max": 3, "mass": 0.5, "hidden": 24},
    }[request.param]
    inputs, truth = rows(600, 1)
    return train_typed(inputs, truth, replace(CONFIG, epochs=6, **change), seed=1)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_answers_as_torch_does(trained, form, tmp_path):
    held, truth = rows(900, 2)
    session = open_session(write_typed(trained, tmp_path / "rows.onnx", form=form))
    found = session.run(["probabilities"], {"features": held.astype(np.float32)})[0]
    wanted = trained.probabilities(held)
    assert found.shape == (900, 2) and np.allclose(found.sum(axis=1), 1.0, atol=1e-6)
    if form not in EIGHT_BITS:
        assert np.abs(found[:, 1] - wanted).max() < 1e-4
        return
    lost = metrics.average_precision(truth, wanted) - metrics.average_precision(truth, found[:, 1])
    assert abs(lost) < 0.01
    assert ((found[:, 1] > 0.5) == (wanted > 0.5)).mean() >= 0.985


@pytest.mark.parametrize("form", FORMS)
def test_no_row_and_a_row_without_a_number(trained, form, tmp_path):
    session = open_session(write_typed(trained, tmp_path / "rows.onnx", form=form))
    held = rows(3, 4)[0].astype(np.float32)
    assert session.run(None, {"features": held[:0]})[0].shape == (0, 2)
    clean = session.run(None, {"features": held})[0]
    held[1, 1] = np.nan
    found = session.run(None, {"features": held})[0]
    assert np.isnan(found[1]).all()
    assert np.abs(found[[0, 2]] - clean[[0, 2]]).max() < 1e-6  # a product of fewer rows rounds differently


def test_what_ships_agrees_in_its_three_forms_and_is_what_its_manifest_says():
    manifest = artifacts.verify(SHIPPED)
    held, truth = table("equipment-fault", "val")
    inputs = features.equipment(held)
    answers = {
        form: open_session(artifacts.file_of(SHIPPED, manifest, role)).run(
            ["probabilities"], {"features": inputs}
        )[0][:, 1]
        for form, role in (("moe", "equipment-fault"), ("unrolled", "unrolled"), ("qmoe", "qmoe"))
    }
    assert np.abs(answers["moe"] - answers["unrolled"]).max() < 1e-4
    stated = manifest["forms"]
    for form, own in answers.items():
        assert metrics.average_precision(truth, own) == pytest.approx(stated[form]["pr_auc"], abs=2e-3)
    assert abs(stated["qmoe"]["pr_auc"] - stated["moe"]["pr_auc"]) < 0.01
    assert stated["qmoe"]["same_alarm"] >= 0.985


def test_what_ships_answers_through_the_runner_that_serves():
    model = TabularModel(SHIPPED)
    record = {
        "type": "L", "air_temperature_k": 300.0, "process_temperature_k": 310.0, "rotational_speed_rpm": 1400,
        "torque_nm": 60.0, "tool_wear_min": 210,
    }  # fmt: skip
    (found,) = model.predict("equipment-fault", [record])
    assert found["prediction"] in (0, 1) and 0.0 <= found["probability"] <= 1.0
    assert model.predict("equipment-fault", []) == []
    with pytest.raises(Exception, match="type"):
        model.predict("equipment-fault", [record | {"type": "X"}])
