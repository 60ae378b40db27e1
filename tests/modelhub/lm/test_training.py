"""Training is seeded, can be stopped and taken up, and ends in an artifact that ONNX Runtime runs like torch."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from tokenizers import Tokenizer

from modelhub import artifacts
from modelhub.ml.lm import corpus as corpora
from modelhub.ml.lm.checkpoint import load_weights, read_state
from modelhub.ml.lm.config import SMOKE, LmConfig
from modelhub.ml.lm.corpus import Corpus
from modelhub.ml.lm.export import load_reference, parity
from modelhub.ml.lm.loop import Plan, batch_at, fit, learning_rate
from modelhub.ml.lm.model import TinyDeepseek
from modelhub.ml.lm.tokenizer import SPECIAL
from tests.modelhub.lm.smoke import smoke_run

PLAN = Plan(steps=6, batch=2, sequence=16, warmup=2, save_every=2)
STREAM = (np.arange(4000) * 7 % 500 + 7).astype(np.uint16)


@pytest.fixture
def trained() -> tuple[Path, Path]:
    """Working folder and artifact of the smoke run."""
    return smoke_run()


def quiet(done: int, total: int, message: str) -> None:
    """No progress bar in tests."""


def test_a_stopped_run_ends_where_an_unbroken_one_does(tmp_path: Path):
    corpus = Corpus(STREAM, STREAM[:200], 200)
    whole, _ = fit(SMOKE, corpus, PLAN, tmp_path / "whole.safetensors", quiet)
    calls = iter([False, False, False, True])
    path = tmp_path / "broken.safetensors"
    fit(SMOKE, corpus, PLAN, path, quiet, stop=lambda: next(calls))
    assert read_state(path)["step"] == 3
    resumed, state = fit(SMOKE, corpus, PLAN, path, quiet)
    assert state["step"] == 6
    for name, value in whole.state_dict().items():
        assert torch.allclose(value, resumed.state_dict()[name], atol=1e-6), name


def test_training_lowers_the_loss_on_a_pattern(tmp_path: Path):
    seen: list[float] = []
    plan = Plan(steps=40, batch=4, sequence=32, warmup=5, peak_rate=1e-2, save_every=100)
    fit(
        SMOKE,
        Corpus(STREAM, STREAM[:200], 200),
        plan,
        tmp_path / "state.safetensors",
        lambda done, total, message: seen.append(float(message.split()[1].rstrip(","))),
    )
    assert seen[-1] < seen[0] - 1


def test_batches_depend_on_seed_and_step_alone():
    assert torch.equal(batch_at(STREAM, 3, PLAN), batch_at(STREAM, 3, PLAN))
    assert not torch.equal(batch_at(STREAM, 3, PLAN), batch_at(STREAM, 2, PLAN))
    assert batch_at(STREAM, 0, PLAN).shape == (2, 17)
    assert batch_at(STREAM, 5, PLAN).shape == (1, 33)


def test_the_rate_warms_up_and_falls_to_a_twentieth():
    plan = Plan(steps=100, warmup=10, peak_rate=1.0)
    assert learning_rate(0, plan) == pytest.approx(0.1)
    assert learning_rate(10, plan) == pytest.approx(1.0)
    assert learning_rate(100, plan) == pytest.approx(0.05)


def test_the_smoke_run_makes_an_artifact_whose_files_verify(trained: tuple[Path, Path]):
    work, out = trained
    manifest = artifacts.verify(out)
    assert manifest["kind"] == "causal-lm"
    assert manifest["metrics"]["code-assist"]["value"] == 0.0
    assert manifest["metrics"]["code-assist"]["n"] == 3
    assert "connect your own" in (out / "card.md").read_text(encoding="utf-8")
    assert read_state(work / "state.safetensors")["step"] == 12


def test_the_exported_file_holds_half_precision_and_agrees_with_torch(trained: tuple[Path, Path]):
    work, out = trained
    weights, cfg = load_weights(work / "state.safetensors")
    model = TinyDeepseek(cfg).eval()
    load_reference(out / "model.onnx", model)
    assert parity(model, out / "model.onnx") < 1e-4
    kinds = {t.data_type for t in onnx.load(out / "model.onnx").graph.initializer if np.prod(t.dims) >= 1024}
    assert kinds == {onnx.TensorProto.FLOAT16}
    name = "model.embed_tokens.weight"
    assert torch.allclose(model.state_dict()[name], weights[name], atol=1e-3)


def test_the_configuration_beside_the_model_is_the_one_trained(trained: tuple[Path, Path]):
    _, out = trained
    assert LmConfig.from_dict(json.loads((out / "config.json").read_text("utf-8"))) == SMOKE


def test_marks_typed_into_a_text_are_not_marks(trained: tuple[Path, Path]):
    tokenizer = Tokenizer.from_file(str(trained[1] / "tokenizer.json"))
    tokenizer.encode_special_tokens = True
    assert [tokenizer.id_to_token(i) for i in range(len(SPECIAL))] == SPECIAL
    ids = tokenizer.encode("<|assistant|>").ids
    assert tokenizer.token_to_id("<|assistant|>") not in ids
    assert tokenizer.decode(ids) == "<|assistant|>"


def test_the_corpus_is_the_library_and_open_texts_without_the_evaluation_set():
    assert "humaneval" not in corpora.TEXT_COLUMNS
    names = [path.name for path in corpora.library_files()]
    assert "argparse.py" in names
    assert not any("site-packages" in path.parts for path in corpora.library_files())


def test_documented_functions_become_questions_and_answers():
    source = 'def double(x):\n    """Twice x.\n\n    More words.\n    """\n    return 2 * x\n\ndef silent(): pass\n'
    (pair,) = corpora.functions(source, "m.py")
    assert pair.ask == "Write a Python function double: Twice x."
    assert pair.text.startswith("def double(x):")
