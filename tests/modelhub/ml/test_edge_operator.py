"""A finished student's operator taught on: its risk changes, and nothing else of the file does."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from modelhub.ml.distill.loop import RiskLesson
from modelhub.ml.text import edge, edge_artifact, edge_graph, edge_heads, edge_operator
from modelhub.ml.text.edge_operator import OperatorTraining
from modelhub.serving.gated import GatedFile
from tests.modelhub.students import HEADS, make_artifact, make_student

NAMES = list(HEADS)


@pytest.fixture
def path(tmp_path):
    make_artifact(tmp_path / "txt-edge")
    return tmp_path / "txt-edge" / edge_artifact.MODEL


def lesson_of(part):
    """Every second row is harmful; partners are the rows themselves."""
    kinds = np.zeros((len(part), 3), np.float32)
    kinds[::2] = 1
    kinds[1, 0] = -1
    return RiskLesson(part.features.ids, kinds, part.features.ids, np.full(len(part), 1 / len(part)))


def taught(path, lesson, **options):
    inputs = edge_operator.inputs_of(path, NAMES, lesson.ids)
    config = OperatorTraining(rows=48, batch=24, rate=2e-2, **options)
    return edge_operator.teach_risk(edge_graph.read_risk(path), inputs, inputs, lesson, config)


def test_the_risk_head_reads_what_is_found_in_the_file(path):
    _, parts, _ = make_student()
    ids = parts[HEADS[0]].features.ids
    inputs, risk = edge_operator.inputs_of(path, NAMES, ids), edge_graph.read_risk(path)
    inner = np.maximum(inputs @ risk.inner.T + risk.inner_bias, 0)
    wanted = 1 / (1 + np.exp(-(inner @ risk.outer.T + risk.outer_bias)))
    np.testing.assert_allclose(GatedFile(path, NAMES).run(HEADS[1], ids).risk, wanted, atol=1e-4)


def test_the_operator_learns_and_open_answers_stay_bit_for_bit(path):
    _, parts, _ = make_student()
    part = parts[HEADS[0]]
    lesson = lesson_of(part)
    before = {name: GatedFile(path, NAMES).run(name, part.features.ids) for name in NAMES}
    held = {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
    edge_graph.replace_risk(path, taught(path, lesson, passes=60))
    changed = {
        t.name
        for t in onnx.load(path).graph.initializer
        if not np.array_equal(numpy_helper.to_array(t), held[t.name])
    }
    assert len(changed) == 4 and all("risk" in name or "const" in name for name in changed)
    for name in NAMES:
        after = GatedFile(path, NAMES).run(name, part.features.ids)
        through = ~before[name].blocked & ~after.blocked
        np.testing.assert_array_equal(after.logits[through], before[name].logits[through])
    harmful = lesson.kinds[:, 2] == 1
    assert after.risk[harmful, 2].mean() > before[name].risk[harmful, 2].mean()
    assert after.risk[harmful, 2].mean() > after.risk[~harmful, 2].mean() + 0.3


def test_the_same_seed_teaches_the_same_operator(path):
    _, parts, _ = make_student()
    lesson = lesson_of(parts[HEADS[0]])
    first, second = (taught(path, lesson, passes=3) for _ in range(2))
    other = taught(path, lesson, passes=3, seed=2)
    np.testing.assert_array_equal(first.inner, second.inner)
    assert not np.array_equal(first.inner, other.inner)


def test_weights_of_another_shape_and_files_without_raised_peaks_are_refused(path):
    risk = edge_graph.read_risk(path)
    with pytest.raises(KeyError, match="another shape"):
        edge_graph.replace_risk(
            path,
            edge_graph.RiskParts(risk.inner[:4], risk.inner_bias[:4], risk.outer[:, :4], risk.outer_bias),
        )
    model = onnx.load(path)
    for node in model.graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                if name.endswith("raised_peak"):
                    names[place] = "_body/peak"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(KeyError, match="not raised peaks"):
        edge_graph.read_risk(path)


def test_the_shipped_recipe_teaches_all_its_files_alike(path, tmp_path, monkeypatch):
    _, parts, _ = make_student()
    beside, plain = tmp_path / "beside.onnx", tmp_path / "plain.onnx"
    for target in (beside, plain):
        target.write_bytes(path.read_bytes())
    head = edge_graph.read_gated_head(path, HEADS[0])
    changed = edge_graph.HeadParts(head.weight + 1, head.bias, head.table)
    monkeypatch.setattr(edge.trunk, "ensure_trunk", lambda home: tmp_path)
    monkeypatch.setattr(edge.lessons.Reader, "of", classmethod(lambda cls, *_: None))
    monkeypatch.setattr(edge_heads, "learnt_on", lambda *_: changed)
    monkeypatch.setattr(
        edge_operator, "learn_on",
        lambda file, names, reader, config: edge_graph.replace_risk(file, taught(file, lesson_of(parts[HEADS[0]]), passes=2)),
    )  # fmt: skip
    config = edge.EdgeTraining(heads_on=(HEADS[0],), operator_on=True, seed=3)
    told = edge.learning_on(config, parts, tmp_path)([path, beside, plain])
    assert (
        told["heads_taught_again"]["workloads"] == [HEADS[0]] and told["operator_taught_again"]["seed"] == 3
    )
    for file in (path, beside, plain):
        np.testing.assert_allclose(
            edge_graph.read_gated_head(file, HEADS[0]).weight, head.weight + 1, atol=2e-3
        )
    np.testing.assert_array_equal(edge_graph.read_risk(path).inner, edge_graph.read_risk(beside).inner)
