"""The smoke run goes the whole way: fit, export, judge through the runner, describe."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from modelhub import artifacts
from modelhub.ml.tabular import features, recipes, train
from modelhub.ml.tabular.recipes import Size
from tests.modelhub.tabular.smoke import smoke_artifact


def test_the_artifact_verifies_and_holds_no_pickle():
    folder = smoke_artifact()
    manifest = artifacts.verify(folder)
    assert sorted(manifest["heads"]) == ["equipment-fault", "plate-fault", "price-advice", "remaining-life"]
    assert {Path(entry["name"]).suffix for entry in manifest["files"].values()} == {".onnx", ".md"}
    assert sorted(path.suffix for path in folder.iterdir()) == [".json", ".md", *[".onnx"] * 4]


def test_every_head_has_a_figure_with_its_interval_n_and_a_control():
    for name, figures in artifacts.load_manifest(smoke_artifact())["metrics"].items():
        assert figures["low"] <= figures["value"] <= figures["high"], name
        assert figures["n"] > 100
        assert figures["control"]["name"]
        assert figures["verdict"] in ("pass", "fail", "not_enough_data")
        assert 0 < figures["correct"]["value"] < 1


def test_the_row_that_never_alarms_stands_beside_the_fault_model():
    figures = artifacts.load_manifest(smoke_artifact())["metrics"]["equipment-fault"]
    assert figures["always_no"]["value"] == pytest.approx(0.967, abs=0.001)
    assert "always no" in (smoke_artifact() / "card.md").read_text(encoding="utf-8")


def test_an_interrupted_run_takes_up_finished_heads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    calls: list[str] = []

    def recipe(out: Path, size: Size) -> recipes.Fitted:
        calls.append("fit")
        (out / "price-advice.onnx").write_bytes(b"x")
        return recipes.Fitted({"task": "demand"}, {}, 7)

    monkeypatch.setattr(train, "RECIPES", {"price-advice": recipe})
    size = Size("smoke", seed=3)
    first, _ = train.fit_heads(tmp_path, size, fresh=False)
    again, _ = train.fit_heads(tmp_path, size, fresh=False)
    assert first == again
    assert calls == ["fit"]
    train.fit_heads(tmp_path, Size("smoke", seed=4), fresh=False)
    assert calls == ["fit", "fit"]


def test_machine_features_are_the_physics_they_claim():
    row = np.array([[1, 300.0, 310.0, 1500.0, 40.0, 100.0]])
    found = features.equipment(row)[0]
    assert found[-3:] == pytest.approx([10.0, 40 * 1500 * 2 * np.pi / 60, 4000.0], rel=1e-6)


def test_drift_is_the_slope_per_cycle_and_nothing_for_one_cycle():
    window = np.zeros((8, 25))
    window[:, 0] = np.arange(5, 13)
    window[:, features.TREND[0]] = 3 + 0.5 * np.arange(8)
    found = features.trend_of(window)
    count = len(features.TREND)
    assert found[:2].tolist() == [12, 8]
    assert found[2 + 3 * count] == pytest.approx(0.5)
    assert found[2 + count] == pytest.approx(3 + 0.5 * 5)  # mean of the last five
    assert (features.trend_of(window[:1])[2 + 3 * count :] == 0).all()


def test_the_error_band_holds_nine_in_ten_of_what_it_was_made_from():
    rng = np.random.default_rng(0)
    guess = rng.uniform(0, 125, 4000)
    truth = guess + rng.normal(0, 1 + guess / 20)
    band = recipes.error_band(guess, truth)
    place = np.searchsorted(band["edges"], guess)
    low, high = guess + np.array(band["low"])[place], guess + np.array(band["high"])[place]
    assert ((truth >= low) & (truth <= high)).mean() == pytest.approx(0.9, abs=0.01)
    assert band["high"][-1] - band["low"][-1] > band["high"][0] - band["low"][0]


def test_judging_again_gives_the_same_figures_and_card():
    folder = smoke_artifact()
    before, card = artifacts.load_manifest(folder), (folder / "card.md").read_text(encoding="utf-8")
    assert train.judge(folder) == before
    assert (folder / "card.md").read_text(encoding="utf-8") == card
