"""`make models` on a few rows: the steps run in order, and the artifacts verify and answer.

The risk, tabular and language-model steps have smoke tests of their own beside their code; here they are only found.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from modelhub import artifacts
from modelhub.ml.train import all as train_all
from modelhub.serving.runners.text import TextClassifier


def test_the_smoke_run_makes_the_text_models(tmp_path, monkeypatch):
    monkeypatch.setenv("SWITCHYARD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.chdir(artifacts.ROOT)
    seconds = train_all.run(tmp_path / "out", smoke=True, only=("train.text",))
    assert list(seconds) == [
        "modelhub.ml.train.text --model txt-base",
        "modelhub.ml.train.text --model txt-edge",
    ]
    for model_id in ("txt-base", "txt-edge"):
        model = TextClassifier(tmp_path / "out" / model_id)
        assert model.classify("terms-review", ["we may change these terms"]).scores.shape == (1, 9)
        assert model.manifest["metrics"]["terms-review"]["verdict"] == "not_enough_data"
    assert all(second < 60 for second in seconds.values())


def test_every_step_is_a_module_that_can_be_run():
    for module, _, _ in train_all.STEPS:
        found = importlib.util.find_spec(module)
        assert found is not None and "__main__" in Path(found.origin).read_text("utf-8")


def test_a_failing_step_stops_the_run(tmp_path):
    with pytest.raises(subprocess.CalledProcessError):
        train_all.run(tmp_path, steps=[("modelhub.ml.no_such_module", (), "")])


def test_the_command_line_explains_itself():
    help_text = subprocess.run(
        [sys.executable, "-m", "modelhub.ml.train.all", "--help"],
        check=True, capture_output=True, text=True, cwd=artifacts.ROOT, env={**os.environ},
    ).stdout  # fmt: skip
    assert "--smoke" in help_text


def test_a_text_model_with_a_trunk_of_its_own_is_not_replaced_by_one_without(tmp_path, capsys):
    folder = tmp_path / "txt-base"
    folder.mkdir()
    (folder / "manifest.json").write_text('{"id": "txt-base", "trunk_kind": "upcycled", "files": {}}')
    before = (folder / "manifest.json").read_text()
    assert train_all.run(tmp_path, smoke=True, only=("--model txt-base",)) == {}
    assert (folder / "manifest.json").read_text() == before
    assert "modelhub.ml.train.encoders" in capsys.readouterr().err


def test_its_trunk_is_trained_anew_where_a_device_is_named(tmp_path, monkeypatch):
    folder = tmp_path / "txt-base"
    folder.mkdir()
    (folder / "manifest.json").write_text('{"id": "txt-base", "trunk_kind": "upcycled", "files": {}}')
    ran = []
    monkeypatch.setattr(train_all.subprocess, "run", lambda command, check: ran.append(command))
    seconds = train_all.run(tmp_path, only=("--model txt-base",), trunk="cpu")
    steps = ["modelhub.ml.train.encoders", "modelhub.ml.text.sparse", "modelhub.ml.activation.served_encoder"]
    assert list(seconds) == steps
    train, make, cards = ran
    assert cards[-1] == str(folder)
    assert train[train.index("--device") + 1] == "cpu" and train[train.index("--workers") + 1] == "1"
    assert make[make.index("--from") + 1] == train[train.index("--out") + 1]
    assert make[make.index("--out") + 1] == str(tmp_path)


def test_the_commands_that_train_the_trunk_take_what_they_are_given(tmp_path):
    from modelhub.ml.activation import served_encoder
    from modelhub.ml.text import sparse
    from modelhub.ml.train import encoders

    commands = train_all.trunk_commands(tmp_path, "cpu", tmp_path, smoke=True)
    for (_, _, module, *words), owner in zip(commands, (encoders, sparse, served_encoder), strict=True):
        assert module == owner.__name__
        source = Path(owner.__file__).read_text("utf-8")
        assert [word for word in words if word.startswith("--") and f'"{word}"' not in source] == []
