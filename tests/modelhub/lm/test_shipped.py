"""The artifact that ships is the model its manifest describes."""

from __future__ import annotations

import json

import pytest

from modelhub import artifacts
from modelhub.ml.lm.config import LmConfig
from modelhub.ml.lm.export import load_reference, parity
from modelhub.ml.lm.model import TinyDeepseek, count_parameters
from modelhub.ml.lm.publish import LOOKS_AT
from modelhub.ml.moe.flops import language_flops
from modelhub.serving.runners.lm import CausalLM

FOLDER = artifacts.SHIPPED / "lm-tiny"


def test_the_file_holds_the_parameters_the_manifest_counts_and_runs_like_torch():
    manifest = artifacts.verify(FOLDER)
    cfg = LmConfig.from_dict(json.loads((FOLDER / "config.json").read_text("utf-8")))
    flops = {"flops_per_token": round(language_flops(cfg, LOOKS_AT))}
    assert manifest["parameters"] == count_parameters(cfg) | flops
    assert manifest["parameters"]["total"] <= 5_000_000
    assert (FOLDER / "model.onnx").stat().st_size < 25_000_000
    model = TinyDeepseek(cfg).eval()
    load_reference(FOLDER / "model.onnx", model)
    assert parity(model, FOLDER / "model.onnx") < 1e-3


def test_it_has_learnt_its_corpus_a_little():
    model = CausalLM(FOLDER)
    logits, _ = model.step(
        model.text_prompt("import os\nimport sys\n\n\ndef main(argv):\n    for i in"), model.empty_cache()
    )
    likely = [model.decode([int(token)]) for token in logits.argsort()[-20:]]
    assert any(word.startswith(" range") or word == " self" or word == " enumer" for word in likely), likely


def test_it_is_called_a_demonstration_and_its_zero_is_said():
    manifest = artifacts.load_manifest(FOLDER)
    judged = manifest["metrics"]["code-assist"]
    assert judged["n"] == 115
    assert judged["value"] == pytest.approx(judged["passed"] / judged["n"], abs=1e-4)
    assert judged["low"] <= judged["value"] <= judged["high"]
    card = (FOLDER / "card.md").read_text(encoding="utf-8")
    assert "demonstration language model" in card
    assert f"{judged['value']:.1%}" in card
