"""The benchmark of whole models in every form: the graphs are the networks, and its controls are what they say."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bench.common import Results
from bench.tools import model_forms
from modelhub.ml import features
from modelhub.ml.kb.facts import ATTRIBUTES, generate
from modelhub.ml.kb.model import KnowledgeConfig, KnowledgeNet, tensors
from modelhub.ml.moe.expert_graph import FORMS
from modelhub.ml.text.encoder import EncoderConfig, SparseEncoder

CONFIG = EncoderConfig(
    width=384, layers=1, attention_heads=4, experts=4, hidden=32, shared=32, k_min=2, k_max=3, dropout=0.0
)


@pytest.fixture(scope="module")
def state() -> model_forms.State:
    torch.manual_seed(0)
    return {name: value.numpy() for name, value in SparseEncoder(CONFIG, {}).state_dict().items()}


def features_of(path, x: np.ndarray) -> np.ndarray:
    feed = {"embedded": x, "attention_mask": np.ones(x.shape[:2], np.int64)}
    return features.open_session(path).run(["features"], feed)[0]


def test_silenced_is_the_encoder_without_its_feed_forward_parts(state, tmp_path):
    x = np.random.default_rng(0).normal(size=(2, 5, 384)).astype(np.float32)
    model = SparseEncoder(CONFIG, {}).eval()
    model.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
    model.silence(True)
    segment = torch.arange(2)[:, None].expand(2, 5).contiguous()
    with torch.no_grad():
        wanted = model.features(model(torch.from_numpy(x), segment, 2)[0]).numpy()
    for form in ("unrolled", "qmoe"):
        path = model_forms.write(model_forms.silenced(state), CONFIG, tmp_path / "g.onnx", form)
        np.testing.assert_allclose(features_of(path, x), wanted, atol=1e-4 if form == "unrolled" else 0.1)


def test_chance_changes_the_keys_and_nothing_else(state):
    changed = model_forms.by_chance(state, np.random.default_rng(1))
    moved = {name for name in state if not np.array_equal(state[name], changed[name])}
    assert moved == {"layers.0.experts.gate.keys"}


def test_the_dense_network_holds_every_expert_and_all_of_their_parameters(state, tmp_path):
    dense = model_forms.every_expert(state, CONFIG)
    gates = sum(value.size for name, value in state.items() if ".gate." in name)
    assert sum(v.size for v in dense.values()) == sum(v.size for v in state.values()) - gates
    x = np.random.default_rng(0).normal(size=(1, 3, 384)).astype(np.float32)
    path = model_forms.write(dense, CONFIG, tmp_path / "dense.onnx", "moe")
    model = SparseEncoder(CONFIG.dense(CONFIG.total_hidden), {}).eval()
    model.load_state_dict({name: torch.from_numpy(value) for name, value in dense.items()})
    with torch.no_grad():
        pooled, _ = model(torch.from_numpy(x), torch.zeros(1, 3, dtype=torch.int64), 1)
        np.testing.assert_allclose(features_of(path, x), model.features(pooled).numpy(), atol=1e-4)


def test_the_knowledge_graph_answers_as_the_network_in_every_form(tmp_path):
    torch.manual_seed(0)
    model = KnowledgeNet(KnowledgeConfig()).eval()
    facts = generate(codes=4)
    state = {name: value.numpy() for name, value in model.state_dict().items()}
    with torch.no_grad():
        wanted = model(*tensors(facts, "cpu")[:2])[0].numpy()
    for form in FORMS:
        model_forms.write_knowledge(state, tmp_path / "kb.onnx", form)
        session = features.open_session(tmp_path / "kb.onnx")
        found = session.run(None, {"equipment": facts.equipment, "code": facts.code})[0]
        np.testing.assert_allclose(found, wanted, atol=1e-4 if form in ("unrolled", "moe") else 0.1)
    right = model_forms.recalled(state, facts, tmp_path / "kb.onnx", "unrolled")
    ends = np.cumsum(list(ATTRIBUTES.values()))
    said = np.stack([wanted[:, end - 24 : end].argmax(axis=1) for end in ends], axis=1)
    assert np.array_equal(right, said == facts.answers)


@pytest.mark.parametrize(("flips", "met"), [(0, True), (60, False)])
def test_a_loss_within_a_point_is_met_and_a_greater_one_missed(flips, met):
    right = np.ones(1000, bool)
    fewer = right.copy()
    fewer[:flips] = False
    labels = {form: np.zeros(1000, int) for form in FORMS}
    labels["qmoe"] = (~fewer).astype(int)
    results = Results("models")
    model_forms.loss_rows(results, {"unrolled": right, "qmoe": fewer}, labels, "x")
    found = {row.metric: row for row in results.rows}
    assert found["full_model_qmoe_loss_points"].value == pytest.approx(flips / 10)
    assert found["full_model_qmoe_loss_points"].met is met
    assert found["full_model_agreement_qmoe"].met is met
    beside = {f"full_model_agreement_{form}" for form in ("moe", "unrolled_int8")}
    assert {row.metric for row in results.controls} == beside
