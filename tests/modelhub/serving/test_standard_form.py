"""The shipped 8-bit body where ONNX Runtime has no fused experts: unrolled at opening, and the labels stay the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelhub import artifacts
from modelhub.hal import graph_facts
from modelhub.hal.graph_facts import GraphRefused
from modelhub.hal.lowering import to_standard
from modelhub.ml.graph import CONTRIB, GraphBuilder
from modelhub.ml.moe.body import write_body
from modelhub.serving import runtime
from modelhub.serving.runners.text import softmax
from modelhub.serving.runtime import CPU, STANDARD, GraphSession, How

TEXTS, TOKENS = 48, 24


def body() -> Path:
    folder = artifacts.SHIPPED / "txt-base"
    return artifacts.file_of(folder, artifacts.load_manifest(folder), "body")


@pytest.fixture
def without_fused_experts(monkeypatch: pytest.MonkeyPatch) -> None:
    """As an ONNX Runtime built without contrib operators says it."""
    real = runtime._open_ort

    def open_ort(path: Path, *rest: Any, **named: Any) -> Any:
        if any(name in graph_facts.inspect(path).contrib for name in ("QMoE", "MoE")):
            raise RuntimeError("Fatal error: com.microsoft:QMoE(-1) is not a registered function/op")
        return real(path, *rest, **named)

    monkeypatch.setattr(runtime, "_open_ort", open_ort)


def logits_of(features: np.ndarray) -> np.ndarray:
    from modelhub.ml.text.graphs import read_head

    folder = artifacts.SHIPPED / "txt-base"
    head = read_head(artifacts.file_of(folder, artifacts.load_manifest(folder), "head:support-intent"))
    return features @ head.weight.T + head.bias


def some_texts() -> dict[str, np.ndarray]:
    """Embedded tokens like the trunk's: of unit spread and, within a text, alike."""
    rng = np.random.default_rng(3)
    topic = rng.normal(size=(TEXTS, 1, 384))
    mask = (np.arange(TOKENS) < rng.integers(4, TOKENS, TEXTS)[:, None]).astype(np.int64)
    embedded = (0.6 * topic + 0.8 * rng.normal(size=(TEXTS, TOKENS, 384))).astype(np.float32)
    return {"embedded": embedded, "attention_mask": mask}


@pytest.mark.usefixtures("without_fused_experts")
def test_the_shipped_body_is_served_by_standard_operators_with_the_same_labels():
    watched: list[str] = []
    session = GraphSession(body(), How(model="txt-base", watch=lambda event, **_: watched.append(event)))
    assert session.runs_on == STANDARD and len(session.refused) == 2 and "QMoE" in session.refused[0]
    feed = some_texts()
    found = session.run(["features", "expert_counts"], feed)
    fused = runtime.ort.InferenceSession(str(body()), runtime.ort_options(1), providers=[CPU])
    right = fused.run(["features", "expert_counts"], feed)
    ours, theirs = logits_of(found[0]), logits_of(right[0])
    sure = np.sort(softmax(theirs), axis=1)
    clear = sure[:, -1] - sure[:, -2] > 0.05  # where two labels are as likely, rounding may decide
    assert clear.sum() >= TEXTS // 3
    assert (ours.argmax(axis=1) == theirs.argmax(axis=1))[clear].all()
    assert abs(found[1].sum() - right[1].sum()) / right[1].sum() < 0.01


def test_where_the_fused_operator_is_there_nothing_changes():
    assert GraphSession(body(), How(model="txt-base")).runs_on == CPU


def test_lowered_eight_bit_experts_answer_as_the_float_weights_they_stand_for(tmp_path: Path):
    rng = np.random.default_rng(1)
    state = {
        "norm.weight": np.ones(32), "norm.bias": np.zeros(32), "layers.0.norm.weight": np.ones(32),
        "layers.0.norm.bias": np.zeros(32), "layers.0.gate.keys": rng.normal(size=(4, 32)),
        "layers.0.gate.scale": np.array(10.0), "layers.0.gate.selection_bias": np.zeros(4),
        "layers.0.bank.w1": rng.normal(size=(4, 32, 32)) * 0.2, "layers.0.bank.w2": rng.normal(size=(4, 32, 32)) * 0.2,
    }  # fmt: skip
    state = {name: np.asarray(value, np.float32) for name, value in state.items()}
    for form in ("qmoe", "unrolled"):
        write_body(state, tmp_path / form, layers=1, mass=0.4, form=form, half=False)
    x = rng.normal(size=(9, 32)).astype(np.float32)
    lowered, exact = (
        runtime.ort.InferenceSession(graph, runtime.ort_options(1), providers=[CPU]).run(
            ["features"], {"pooled": x}
        )[0]
        for graph in (to_standard(tmp_path / "qmoe"), (tmp_path / "unrolled").read_bytes())
    )
    assert graph_facts.inspect(to_standard(tmp_path / "qmoe")).contrib == ()
    np.testing.assert_allclose(lowered, exact, atol=0.03)  # one 8-bit rounding of each weight


def test_an_operator_without_a_form_is_refused_by_name():
    g = GraphBuilder("other")
    x = g.input("x", "float", ["N", 4])
    g.output("y", g.op("BiasGelu", x, g.const(np.zeros(4, np.float32)), domain=CONTRIB), "float", ["N", 4])
    with pytest.raises(GraphRefused, match="BiasGelu"):
        to_standard(g.model().SerializeToString())
