"""`make models` on a few rows: every step runs, and the artifacts verify and answer."""

import os
import subprocess
import sys

import pytest

from modelhub import artifacts
from modelhub.ml.train import all as train_all
from modelhub.serving.runners.risk import RiskModel
from modelhub.serving.runners.text import TextClassifier


def test_the_smoke_run_makes_every_model(tmp_path, monkeypatch):
    monkeypatch.setenv("SWITCHYARD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.chdir(artifacts.ROOT)
    seconds = train_all.run(tmp_path / "out", smoke=True)
    assert len(seconds) == len(train_all.STEPS)
    for model_id in ("txt-base", "txt-edge"):
        model = TextClassifier(tmp_path / "out" / model_id)
        assert model.classify("terms-review", ["we may change these terms"]).scores.shape == (1, 9)
        assert model.manifest["metrics"]["terms-review"]["verdict"] == "not_enough_data"
    assert RiskModel(tmp_path / "out" / "risk-guard").score(["hello"]).shape == (1,)
    made = {path.parent.name for path in (tmp_path / "out").glob("*/manifest.json")}
    assert {"txt-base", "txt-edge", "risk-guard", "lm-tiny"} < made


def test_a_failing_step_stops_the_run(tmp_path):
    with pytest.raises(subprocess.CalledProcessError):
        train_all.run(tmp_path, steps=[("modelhub.ml.no_such_module", (), "")])


def test_the_command_line_explains_itself():
    help_text = subprocess.run(
        [sys.executable, "-m", "modelhub.ml.train.all", "--help"],
        check=True, capture_output=True, text=True, cwd=artifacts.ROOT, env={**os.environ},
    ).stdout  # fmt: skip
    assert "--smoke" in help_text
