"""A student's operator: what it reads, and that the file computes what was trained, whatever a text shares its batch with."""

import numpy as np
import onnx
import pytest
import torch
from onnx.inliner import inline_local_functions

from modelhub.ml import tokens
from modelhub.ml.distill.loop import MASK, _blanked, risk_logits
from modelhub.ml.text import edge_artifact
from modelhub.ml.text.student import Student, StudentShape
from modelhub.serving.gated import GatedFile
from modelhub.serving.runtime import CPU, executed
from tests.modelhub.students import make_student

TEXTS = [
    "Fine.",
    "The staff were kind and the room was clean, but breakfast ended far too early for us on both days.",
]


@pytest.fixture(scope="module")
def made():
    return make_student()


def open_file(student, parts, folder, **options):
    single = edge_artifact.write_float_body(student, parts, folder)
    edge_artifact.assemble(student, single, folder / "model.onnx", **options)
    return folder / "model.onnx"


def test_a_peak_does_not_depend_on_the_filling_of_a_batch(made):
    student, _, reader = made
    ids = reader.read(TEXTS)
    batch, mask = tokens.pad(ids)
    with torch.no_grad():
        _, together = student.encoder.both(torch.from_numpy(batch), torch.from_numpy(mask))
        alone = [
            student.encoder.both(*(torch.from_numpy(part) for part in tokens.pad([row])))[1] for row in ids
        ]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=1e-5)
    assert (together < 0).any() and (together > 0).any()  # the highest state, wherever it lies


def test_filling_changes_neither_risk_nor_answer_of_a_file(made, tmp_path):
    student, parts, reader = made
    answered = GatedFile(open_file(student, parts, tmp_path), student.names)
    ids = reader.read(TEXTS)
    together = answered.run(student.names[0], ids)
    for place, row in enumerate(ids):
        alone = answered.run(student.names[0], [row])
        np.testing.assert_allclose(alone.risk[0], together.risk[place], atol=1e-5)
        np.testing.assert_allclose(alone.logits[0], together.logits[place], atol=1e-4)


@pytest.mark.parametrize("hidden", [8, 64])
def test_the_file_computes_the_risk_that_was_trained(made, tmp_path, hidden):
    first, parts, reader = made
    torch.manual_seed(1)
    student = Student(
        StudentShape(16, 2, 32, risk_hidden=hidden), {n: (first.wide(n).table, 1.0) for n in first.names}
    ).eval()
    answered = GatedFile(open_file(student, parts, tmp_path), student.names)
    ids = reader.read(TEXTS)
    with torch.no_grad():
        wanted = risk_logits(student, ids).sigmoid().numpy()
    np.testing.assert_allclose(answered.run(student.names[0], ids).risk, wanted, atol=1e-5)
    np.testing.assert_allclose(answered.run(student.names[1], ids[:1]).risk, wanted[:1], atol=1e-5)


def test_the_operator_adds_few_nodes_to_an_answer(tmp_path):
    student, parts, _ = make_student(("terms-review",))
    counts = []
    for gated in (True, False):
        model = inline_local_functions(onnx.load(open_file(student, parts, tmp_path, operator=gated)))
        counts.append(sum(node.op_type not in ("Constant", "Identity") for node in model.graph.node))
    # Vector and peak side by side, two products with one step between, a sigmoid; then the comparison, its least, the choice
    # and its opposite, which a server leaves out. The peak is in both files, and computed where somebody reads it.
    assert counts[0] - counts[1] == 9


def test_an_answer_runs_eight_nodes_of_the_operator(tmp_path):
    student, parts, _ = make_student(("terms-review",))
    ran = []
    feed = dict(zip(("input_ids", "attention_mask"), tokens.pad([np.array([101, 2023, 102])]), strict=True))
    for gated in (True, False):
        path = open_file(student, parts, tmp_path, operator=gated)
        ran.append(sum(executed(path, 1, [CPU], feed, ["safe_logits"]).values()))
    assert 0 < ran[0] - ran[1] <= 8


def test_hidden_words_leave_a_row_s_marks_and_length_alone():
    row = np.arange(1000, 1200)
    rng = np.random.default_rng(3)
    hidden = _blanked(row, 0.15, rng)
    changed = hidden != row
    assert (hidden[changed] == MASK).all() and 0.08 < changed.mean() < 0.24
    assert (hidden[0], hidden[-1], len(hidden)) == (1000, 1199, 200)
    assert _blanked(row, 0.0, rng) is row
