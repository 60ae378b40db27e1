"""Folds and a dense baseline are told beside a model that stands: its weights stay, its older figures are kept."""

import json
import shutil

import numpy as np
import pytest

from modelhub import artifacts
from modelhub.ml.text import beside, evaluate
from modelhub.ml.train.encoders import FOLDS, SEEDS
from modelhub.ml.train.encoders import beside as plan_beside


@pytest.fixture
def base(tmp_path):
    return shutil.copytree(artifacts.SHIPPED / "txt-base", tmp_path / "txt-base")


def run_of(seed, accuracy):
    return {
        "variant": "upcycled-dense-active", "seed": seed, "fold": None, "folder": "runs", "device": "cuda",
        "final": {"accuracy": accuracy}, "flops_per_token": 9e6, "parameters": {"total": 5_600_000},
    }  # fmt: skip


def gathered(folder, runs):
    folder.mkdir()
    (folder / "metrics.json").write_text(json.dumps({"runs": runs}), "utf-8")
    return folder


@pytest.fixture(autouse=True)
def without_rows(monkeypatch):
    monkeypatch.setattr(beside.lessons, "load_parts", lambda reader, split, names: {})


def test_figures_join_and_no_weight_changes(base, tmp_path, monkeypatch):
    y = np.arange(400) % 4
    row = evaluate.metric_row("clinical-notes", y, y, np.where(y == 3, 0, y), "cross-validated")
    monkeypatch.setattr(beside, "fold_rows_judged", lambda *given: {"clinical-notes": row})
    before = artifacts.load_manifest(base)
    source = gathered(tmp_path / "gathered", [run_of(seed, 0.91 + seed / 1000) for seed in (1, 2, 3)])
    manifest = beside.add_beside(source, base, work=tmp_path / "work")
    told = manifest["controls"]["dense_active"]
    assert (told["median"], told["low"], told["high"], told["seeds"]) == (0.912, 0.911, 0.913, 3)
    clinical = manifest["metrics"]["clinical-notes"]
    assert (clinical["method"], clinical["n"], clinical["verdict"]) == ("cross-validated", 400, "pass")
    earlier = before["metrics"]["clinical-notes"]
    assert clinical["validation"] == earlier.get("validation", earlier)
    assert manifest["files"] == before["files"] and artifacts.verify(base)
    card = (base / "card.md").read_text("utf-8")
    assert "dense, equal active parameters" in card and "| clinical-notes | cross-validated | 400 |" in card
    again = beside.add_beside(source, base, work=tmp_path / "work")  # twice is harmless
    assert again["metrics"] == manifest["metrics"]


def test_a_folder_of_another_trunk_is_refused(base, tmp_path, monkeypatch):
    monkeypatch.setattr(beside, "fold_rows_judged", lambda *given: {})
    with pytest.raises(ValueError, match="neither"):
        beside.add_beside(gathered(tmp_path / "gathered", []), base, work=tmp_path / "work")


def test_the_plan_beside_a_trunk_holds_its_folds_and_three_dense_seeds():
    names = [run.name for run in plan_beside("upcycled", (1e-3, 2e-3))]
    assert names == [f"upcycled-1-fold{fold}" for fold in range(FOLDS)] + [
        f"upcycled-dense-active-{s}" for s in SEEDS
    ]
