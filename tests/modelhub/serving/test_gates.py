"""The bias operator in a served file: what it blocks, and every way of getting round it that a server must refuse."""

import hashlib
import json
import shutil

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper

from modelhub import artifacts
from modelhub.ml import tokens
from modelhub.ml.text.gate_graph import DOMAIN, GATE, GatedBuilder, gate_function, read_tau, set_tau
from modelhub.serving import gates
from modelhub.serving.errors import ModelRefused
from modelhub.serving.gated import GatedFile, take_head
from modelhub.serving.graphs import read_graph
from modelhub.serving.replies import classified
from modelhub.serving.runners.text import TextClassifier
from tests.modelhub.students import HEADS, make_artifact

HARMLESS = "The food was fine and the staff were kind."


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("student") / "txt-edge"
    make_artifact(folder)
    return folder


@pytest.fixture
def student(made, tmp_path):
    """A copy to do harm to."""
    return shutil.copytree(made, tmp_path / "txt-edge")


def alone(risk, tau, logits):
    """The gate by itself, run by ONNX Runtime."""
    g = GatedBuilder("gate")
    names = [g.input(name, "float", ["N", width]) for name, width in (("logits", "L"), ("risk", "K"))]
    limit = g.keep(np.asarray(tau, np.float32)[None], "tau")
    safe, blocked = g.gate(names[0], names[1], limit)
    g.expose("safe_logits", safe, onnx.TensorProto.FLOAT, ["N", "L"])
    g.expose("blocked", blocked, onnx.TensorProto.BOOL, ["N", 1])
    session = ort.InferenceSession(g.model().SerializeToString(), providers=["CPUExecutionProvider"])
    feed = {"logits": np.asarray(logits, np.float32), "risk": np.asarray(risk, np.float32)}
    return session.run(["safe_logits", "blocked"], feed)


def rewrite(folder, change):
    """Change the graph and make the manifest name the changed file, as somebody with the files could."""
    model = onnx.load(folder / "model.onnx")
    change(model)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    manifest = artifacts.load_manifest(folder)
    files = {role: entry["name"] for role, entry in manifest["files"].items()}
    artifacts.write_manifest(folder, {k: v for k, v in manifest.items() if k != "files"}, files)


def test_a_row_passes_only_below_every_threshold_and_nan_never_does():
    risk = [[0.1, 0.1], [0.5, 0.1], [0.1, 0.9], [np.nan, 0.0], [0.2, np.inf], [-np.inf, -np.inf]]
    logits = np.arange(18, dtype=np.float32).reshape(6, 3)
    safe, blocked = alone(risk, [0.5, 0.6], logits)
    assert blocked[:, 0].tolist() == [False, True, True, True, True, False]
    np.testing.assert_array_equal(safe[[0, 5]], logits[[0, 5]])
    assert np.isneginf(safe[1:5]).all()
    assert alone([[0.0, 0.0]], [np.nan, 1.0], logits[:1])[
        1
    ].all()  # a threshold that is no number lets nothing through


def test_the_gate_that_we_write_is_one_that_servers_know():
    assert hashlib.sha256(gate_function().SerializeToString()).hexdigest() in gates.KNOWN_GATES


def test_a_whole_student_is_served_and_says_what_it_blocked(student):
    runner = TextClassifier(student)
    texts = [HARMLESS] + [
        "Shoot the immigrants.", "Women are bad at maths.", "Refuse the flat because the applicant is a refugee.",
        "Muslims are vermin, plain and simple.", "I hate girls so much.", "These bloody teenagers disgust me.",
    ]  # fmt: skip
    rows = runner.classify_mixed([HEADS[n % 2] for n in range(len(texts))], texts)
    tau = artifacts.load_manifest(student)["gate"]["tau"]
    assert {row.blocked for row in rows} == {True, False}
    for row in rows:
        item = classified(row)
        if row.blocked:
            assert any(row.risk[kind] >= tau[kind] - 1e-3 for kind in tau)  # risk is told in four digits
            assert (item["label"], item["scores"], item["blocked"]) == (None, [], True)
            assert set(item["risk"]) == set(tau)
            assert not row.scores.any()
        else:
            assert row.risk is None and "blocked" not in item and "risk" not in item
            assert item["label"] == item["scores"][0]["label"]
            assert row.scores.sum() == pytest.approx(1, abs=1e-5)


def test_one_head_taken_out_answers_as_the_whole_file_does(made):
    data = (made / "model.onnx").read_bytes()
    rng = np.random.default_rng(0)
    feed = {"input_ids": rng.integers(1000, 3000, (3, 9)), "attention_mask": np.ones((3, 9), np.int64)}
    whole = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
    for head in HEADS:
        part = take_head(data, head, HEADS)
        onnx.checker.check_model(onnx.load_from_string(part))
        assert len(part) < len(data)
        small = ort.InferenceSession(part, providers=["CPUExecutionProvider"])
        names = [f"safe_logits:{head}", f"blocked:{head}", "risk"]
        for ours, theirs in zip(small.run(names, feed), whole.run(names, feed), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
        assert {value.name for value in small.get_outputs()} == {"features", *names}
    with pytest.raises(KeyError, match="no-such-head"):
        take_head(data, "no-such-head", HEADS)


def test_what_is_told_of_a_blocked_row_is_its_own_risk_and_what_the_file_says_is_blocked(made):
    file = GatedFile(made / "model.onnx", HEADS)
    rng = np.random.default_rng(1)
    rows = [rng.integers(1000, 30_000, size) for size in rng.integers(2, 40, 24)]
    whole, served = file.run(HEADS[0], rows), file.answer(HEADS[0], rows)
    assert 0 < served.blocked.sum() < len(rows)
    np.testing.assert_array_equal(served.blocked, whole.blocked)
    np.testing.assert_allclose(
        served.risk, whole.risk[whole.blocked], atol=0.02
    )  # 8 bits are scaled by the batch
    feed = dict(zip(("input_ids", "attention_mask"), tokens.pad(rows), strict=True))
    told = ort.InferenceSession(str(made / "model.onnx")).run([f"blocked:{HEADS[0]}"], feed)[0]
    np.testing.assert_array_equal(told[:, 0], whole.blocked)
    open_rows = [row for row, stopped in zip(rows, whole.blocked, strict=True) if not stopped]
    assert file.answer(HEADS[0], open_rows[:1]).risk.shape == (0, 0)


def strip_function(model):
    del model.functions[:]


def empty_gate(model):
    """A function of the same name that lets everything through."""
    nodes = [helper.make_node("Identity", ["logits"], ["safe_logits"])]
    nodes += [
        helper.make_node("IsNaN", ["risk"], ["none"]),
        helper.make_node("Identity", ["none"], ["blocked"]),
    ]
    made = helper.make_function(
        DOMAIN,
        GATE,
        ["logits", "risk", "tau"],
        ["safe_logits", "blocked"],
        nodes,
        [helper.make_opsetid("", 20)],
    )
    del model.functions[:]
    model.functions.append(made)


def strip_one_gate(model):
    """One head's gate replaced by what it stood before."""
    node = next(n for n in model.graph.node if n.op_type == GATE)
    safe, logits, blocked = node.output[0], node.input[0], node.output[1]
    model.graph.node.remove(node)
    model.graph.node.append(helper.make_node("Identity", [logits], [safe]))
    maker = helper.make_node("IsNaN", ["risk"], [blocked])
    model.graph.node.append(maker)


def raw_output(model):
    node = next(n for n in model.graph.node if n.op_type == GATE)
    model.graph.output.append(
        helper.make_tensor_value_info(node.input[0], onnx.TensorProto.FLOAT, ["N", "L"])
    )


def raw_features(model):
    """Logits that leave under the name of what adapters read."""
    for node in model.graph.node:
        for place, name in enumerate(node.output):
            if name == "features":
                node.output[place] = "was_features"
        for place, name in enumerate(node.input):
            if name == "features":
                node.input[place] = "was_features"
    gate = next(n for n in model.graph.node if n.op_type == GATE)
    model.graph.node.append(helper.make_node("Identity", [gate.input[0]], ["features"]))


def calm_risk(model):
    """A gate that is given constant calm in place of the risk head."""
    calm = onnx.numpy_helper.from_array(np.zeros((1, 3), np.float32), "calm")
    model.graph.initializer.append(calm)
    for node in model.graph.node:
        if node.op_type == GATE:
            node.input[1] = "calm"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (strip_function, "model_refused"), (empty_gate, "gate_unknown"), (strip_one_gate, "gate_missing"),
        (raw_output, "gate_bypassed"), (raw_features, "gate_bypassed"), (calm_risk, "gate_bypassed"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)  # fmt: skip
def test_a_graph_without_its_gate_on_every_path_is_refused(student, change, code):
    rewrite(student, change)
    with pytest.raises(ModelRefused) as caught:
        TextClassifier(student)
    assert caught.value.code == code


def test_another_threshold_than_the_manifests_is_refused(student):
    rewrite(student, lambda model: None)
    path = student / "model.onnx"
    set_tau(path, np.ones(3))
    with pytest.raises(artifacts.ArtifactCorrupt):
        TextClassifier(student)  # the digest is another
    rewrite(student, lambda model: None)
    with pytest.raises(ModelRefused, match="thresholds are") as caught:
        TextClassifier(student)
    assert caught.value.code == "gate_threshold"
    assert read_tau(path).tolist() == [1.0, 1.0, 1.0]


def test_a_risk_head_that_was_put_to_sleep_fails_its_golden_answers(student):
    def asleep(model):
        for tensor in model.graph.initializer:
            if tensor.name.startswith("risk_outer"):
                value = onnx.numpy_helper.to_array(tensor) * 0 - 9
                tensor.CopyFrom(onnx.numpy_helper.from_array(value.astype(np.float32), tensor.name))

    rewrite(student, asleep)
    with pytest.raises(ModelRefused) as caught:
        TextClassifier(student)
    assert caught.value.code == "golden_failed"


def test_weights_that_are_no_number_block_everything_and_are_refused(student):
    def broken(model):
        for tensor in model.graph.initializer:
            if tensor.name.startswith("risk_outer"):
                value = onnx.numpy_helper.to_array(tensor) * np.float32("nan")
                tensor.CopyFrom(onnx.numpy_helper.from_array(value, tensor.name))

    rewrite(student, broken)
    file = GatedFile(student / "model.onnx", HEADS)
    found = file.run(HEADS[0], [np.array([101, 2023, 102])])
    assert found.blocked.all() and np.isneginf(found.logits).all()
    with pytest.raises(ModelRefused, match="comes out otherwise"):
        TextClassifier(student)


def test_golden_answers_without_a_blocked_one_prove_nothing(student):
    told = json.loads((student / "golden.json").read_text())
    for rows in told["heads"].values():
        rows[:] = [row for row in rows if not row["blocked"]]
    (student / "golden.json").write_text(json.dumps(told))
    rewrite(student, lambda model: None)
    with pytest.raises(ModelRefused, match="nothing shows that its gate works"):
        TextClassifier(student)


def test_a_foreign_function_is_still_an_unknown_operator(tmp_path):
    g = GatedBuilder("g")
    x = g.input("x", "float", ["N", 2])
    g.output("y", g.op("Relu", x), "float", ["N", 2])
    model = g.model()
    model.graph.node.insert(0, helper.make_node("Leak", ["x"], ["z"], domain="evil.example"))
    (tmp_path / "g.onnx").write_bytes(model.SerializeToString())
    assert read_graph(tmp_path / "g.onnx").foreign == ["evil.example:Leak"]


def test_an_adapter_on_a_gated_model_is_gated_by_the_same_risk(made, tmp_path, monkeypatch):
    from modelhub.ml.adapters.finetune import fine_tune_head

    monkeypatch.setenv("SWITCHYARD_HOME", str(tmp_path))
    folder = shutil.copytree(made, tmp_path / "artifacts" / "txt-edge")
    rows = [
        (f"{word} dish number {n}", label)
        for n in range(6)
        for word, label in (("good", "positive"), ("bad", "negative"))
    ]
    head = "support-sentiment@ft-1"
    fine_tune_head(folder, "support-sentiment", rows, out_dir=folder / "heads" / head, epochs=1)
    runner = TextClassifier(folder)
    texts = ["a good dish", *(text for text, _ in rows), "Shoot the immigrants.", "I hate girls so much."]
    tuned, shipped = (
        runner.classify_mixed([head] * len(texts), texts),
        runner.classify_mixed([HEADS[0]] * len(texts), texts),
    )
    assert [row.blocked for row in tuned] == [row.blocked for row in shipped]
    assert {row.blocked for row in tuned} == {True, False}
    for own, other in zip(tuned, shipped, strict=True):
        if own.blocked:
            assert own.risk == pytest.approx(other.risk, abs=0.05)
        assert (own.label == "") is own.blocked
