"""Files that others made: read before they are opened, refused by name when they aren't fit to be served."""

from __future__ import annotations

import collections
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from modelhub import artifacts
from modelhub.serving.errors import BackendFailed, ModelRefused, ServingError
from modelhub.serving.forms import open_role
from modelhub.serving.graphs import NotAGraph, read_graph
from modelhub.serving.memory import Room
from modelhub.serving.runtime import CPU, GraphSession, How, executed
from modelhub.serving.sessions import ModelPool
from modelhub.serving.trust import Trust

EDGE = artifacts.SHIPPED / "txt-edge"
GRAPH = artifacts.load_manifest(EDGE)["files"]["body"]["name"]


def linear(
    path: Path, *, domain: str = "", kind: str = "Mul", factor: float = 2.0, outside: bool = False
) -> Path:
    """y = x · factor, or with an operator of another domain."""
    value = numpy_helper.from_array(np.full(2, factor, np.float32), "factor")
    graph = helper.make_graph(
        [helper.make_node(kind, ["x", "factor"], ["y"], domain=domain)], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2])], [value],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 18), *([helper.make_opsetid(domain, 1)] if domain else [])]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    if outside:
        onnx.save(
            model, path, save_as_external_data=True, location="/etc/hostname-like.bin", size_threshold=0
        )
    else:
        onnx.save(model, path)
    return path


@pytest.mark.parametrize(
    "path", sorted(artifacts.SHIPPED.glob("*/*.onnx")), ids=lambda p: f"{p.parent.name}-{p.stem}"
)
def test_the_reader_counts_what_the_onnx_package_counts(path):
    model = onnx.load(path)
    nodes = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    wanted = collections.Counter((node.domain, node.op_type) for node in nodes)
    facts = read_graph(path)
    assert facts.operators == wanted
    assert facts.outside == facts.foreign == []


def test_data_outside_of_the_file_is_found_and_refused(tmp_path):
    value = helper.make_tensor("factor", TensorProto.FLOAT, [2], [1.0, 2.0])
    value.ClearField("float_data")
    value.data_location = TensorProto.EXTERNAL
    value.external_data.add(key="location", value="../../etc/passwd")
    model = onnx.load(linear(tmp_path / "plain.onnx"))
    model.graph.initializer[0].CopyFrom(value)
    (tmp_path / "outside.onnx").write_bytes(model.SerializeToString())
    assert read_graph(tmp_path / "outside.onnx").outside == ["factor"]
    with pytest.raises(ModelRefused, match="another file") as caught:
        GraphSession(tmp_path / "outside.onnx", How(model="m"))
    assert (caught.value.status, caught.value.code) == (503, "artifact_refused")


def test_unknown_operators_are_named(tmp_path):
    with pytest.raises(ModelRefused, match="vendor.secret:Blend") as caught:
        GraphSession(linear(tmp_path / "g.onnx", domain="vendor.secret", kind="Blend"), How(model="m"))
    assert caught.value.code == "unknown_operator"
    with pytest.raises(ModelRefused, match="can't be opened"):
        GraphSession(linear(tmp_path / "h.onnx", kind="NoSuchOperator"), How(model="m"))


def test_bytes_that_are_no_graph_are_refused(tmp_path):
    for number, raw in enumerate([b"x", b"\x3a\xff\xff\xff\xff\x0f", b"\x00" * 64, b"PK\x03\x04" * 9]):
        path = tmp_path / f"{number}.onnx"
        path.write_bytes(raw)
        with pytest.raises(NotAGraph):
            read_graph(path)


def test_a_session_that_fails_hands_the_run_to_the_next_and_says_so(tmp_path):
    path, heard = linear(tmp_path / "g.onnx"), []

    class Vanishes:
        def __init__(self):
            self.runs = 0

        def run(self, names, feeds):
            self.runs += 1
            if self.runs > 1:
                raise RuntimeError("CUDA failure 999: the device is gone")
            return [feeds["x"] * 2]

        def get_providers(self):
            return ["CUDAExecutionProvider"]

    how = How(model="m", watch=lambda event, **labels: heard.append((event, labels)))
    plain = GraphSession(path, How(model="m"))
    session = GraphSession(path, how, chain=[("cuda", Vanishes), (CPU, lambda: plain)])
    x = np.array([[1.0, 3.0]], np.float32)
    for _ in range(3):
        assert session.run(["y"], {"x": x})[0].tolist() == [[2.0, 6.0]]
    assert session.runs_on == CPU
    assert heard == [("failover", {"model": "m", "graph": "g", "left": "cuda", "to": CPU})]


def test_when_every_session_fails_the_error_is_typed(tmp_path):
    class Broken:
        def run(self, names, feeds):
            raise RuntimeError("no")

        def get_providers(self):
            return []

    session = GraphSession(
        linear(tmp_path / "g.onnx"), How(model="m"), chain=[("one", Broken), ("two", Broken)]
    )
    with pytest.raises(BackendFailed, match="one: no; two: no") as caught:
        session.run(["y"], {"x": np.zeros((1, 2), np.float32)})
    assert caught.value.status == 500


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("bad allocation: std::bad_alloc"),
              RuntimeError("Failed to allocate memory for requested buffer of size 99")]
)  # fmt: skip
def test_a_batch_that_takes_more_memory_than_there_is_is_refused_and_a_smaller_one_is_answered(
    tmp_path, error
):
    class Tight:
        def run(self, names, feeds):
            if len(feeds["x"]) > 2:
                raise error
            return [feeds["x"] * 2]

        def get_providers(self):
            return [CPU]

    def never():
        raise AssertionError("another session of the same memory was opened")

    session = GraphSession(
        linear(tmp_path / "g.onnx"), How(model="m"), chain=[(CPU, Tight), (f"{CPU} (plain)", never)]
    )
    with pytest.raises(ModelRefused, match="m is not served: this batch takes more memory") as caught:
        session.run(["y"], {"x": np.ones((3, 2), np.float32)})
    assert (caught.value.status, caught.value.code) == (503, "out_of_memory")
    assert session.run(["y"], {"x": np.ones((1, 2), np.float32)})[0].tolist() == [[2.0, 2.0]]


def test_a_graph_that_takes_more_memory_to_open_than_there_is_is_refused_without_another_try(tmp_path):
    tried = []

    def open_in(place):
        tried.append(place)
        raise RuntimeError("Failed to allocate memory for requested buffer of size 99")

    chain = [
        (name, lambda name=name: open_in(name)) for name in ("CUDAExecutionProvider", CPU, f"{CPU} (plain)")
    ]
    with pytest.raises(ModelRefused, match="more memory to open than there is") as caught:
        GraphSession(linear(tmp_path / "g.onnx"), How(model="m"), chain=chain)
    assert caught.value.code == "out_of_memory"
    assert tried == [
        "CUDAExecutionProvider",
        CPU,
    ]  # a device's own memory may be full while the machine's isn't


def test_the_students_body_really_runs_in_whole_numbers():
    ids = np.array([[101, 2023, 102]])
    ran = executed(EDGE / GRAPH, 1, [CPU], {"input_ids": ids, "attention_mask": np.ones_like(ids)})
    whole = {name: count for (name, _), count in ran.items() if "Quantize" in name or "Integer" in name}
    assert sum(count for name, count in whole.items() if name != "DequantizeLinear") >= 4, whole
    assert {provider for _, provider in ran} == {CPU}


# --- forms ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def forms(tmp_path):
    """An artifact whose best form is foreign, whose second answers wrongly, and whose third is right."""
    linear(tmp_path / "best.onnx", domain="vendor.x", kind="Fused")
    linear(tmp_path / "wrong.onnx", factor=2.1)
    linear(tmp_path / "right.onnx")
    x = np.array([[1.0, -2.0]], np.float32)
    np.savez(tmp_path / "probes.npz", **{"in.body.x": x, "out.body.y": 2 * x})
    manifest = {"id": "m", "forms": {"body": ["body.best", "body.wrong", "body"]}}
    files = {
        "body.best": "best.onnx",
        "body.wrong": "wrong.onnx",
        "body": "right.onnx",
        "probes": "probes.npz",
    }
    return tmp_path, artifacts.write_manifest(tmp_path, manifest, files)


def test_the_first_form_that_opens_and_answers_as_stored_serves_and_the_others_are_named(forms):
    folder, manifest = forms
    chosen = open_role(folder, manifest, "body", How(model="m"))
    assert chosen.form == "body"
    assert "vendor.x:Fused" in chosen.passed_over[0]
    assert "strays" in chosen.passed_over[1]


def test_a_form_may_stray_as_far_as_its_manifest_says(forms):
    folder, manifest = forms
    chosen = open_role(folder, manifest | {"probe_tolerance": {"body.wrong": 0.2}}, "body", How(model="m"))
    assert chosen.form == "body.wrong"


def test_no_usable_form_refuses_with_every_reason(forms):
    folder, manifest = forms
    only = manifest | {"forms": {"body": ["body.best", "body.wrong"]}}
    with pytest.raises(ModelRefused, match=r"body.best: .*body.wrong: "):
        open_role(folder, only, "body", How(model="m"))


# --- whose files ----------------------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("SWITCHYARD_HOME", str(tmp_path))
    shutil.copytree(EDGE, tmp_path / "artifacts" / "txt-edge")
    return tmp_path / "artifacts" / "txt-edge"


def test_an_unsigned_artifact_is_refused_where_signatures_are_required_and_what_ships_is_not(home):
    strict = ModelPool("external", trunk_dir=None, trust=Trust(b"key", required=True), room=Room(10**9))
    with pytest.raises(ModelRefused) as caught:
        strict.load("txt-edge")
    assert caught.value.code == "unsigned"
    assert (
        strict.load("tabular-edge").runner.predict("plate-fault", []) == []
    )  # it ships: trusted as the code is
    Trust(b"key").sign(home)
    strict._refused.clear()  # looked at again a second later
    assert strict.load("txt-edge").id == "txt-edge"


def test_a_signature_of_another_installation_or_a_changed_manifest_is_refused(home):
    Trust(b"theirs").sign(home)
    ours = Trust(b"ours")
    with pytest.raises(ModelRefused) as caught:
        ours.check(home, "txt-edge")
    assert caught.value.code == "foreign_signature"
    ours.sign(home)
    ours.check(home, "txt-edge")
    manifest = json.loads((home / "manifest.json").read_text("utf-8"))
    (home / "manifest.json").write_text(json.dumps(manifest | {"version": "2"}), "utf-8")
    with pytest.raises(ModelRefused):
        ours.check(home, "txt-edge")


def test_a_corrupt_model_is_refused_and_the_others_answer(home):
    data = bytearray((home / GRAPH).read_bytes())
    data[len(data) // 2] ^= 1
    (home / GRAPH).write_bytes(data)
    pool = ModelPool("external", trunk_dir=None, room=Room(10**9))
    with pytest.raises(ModelRefused, match=GRAPH) as caught:
        pool.load("txt-edge")
    assert caught.value.code == "artifact_corrupt"
    assert pool.load("tabular-edge").kind == "tabular"
    assert GRAPH in pool.describe("txt-edge")["refused"]


def test_an_artifact_of_a_kind_that_nobody_here_runs_is_told_and_the_others_answer(home):
    manifest = json.loads((home / "manifest.json").read_text("utf-8"))
    (home / "manifest.json").write_text(json.dumps(manifest | {"kind": "image-classifier"}), "utf-8")
    pool = ModelPool("external", trunk_dir=None, room=Room(10**9))
    with pytest.raises(ServingError, match="txt-edge is a image-classifier and is not served") as caught:
        pool.load("txt-edge")
    assert (caught.value.status, caught.value.code) == (404, "model_not_found")
    assert pool.load("tabular-edge").kind == "tabular"


def test_a_runtime_that_computes_something_else_is_left_at_its_first_run(tmp_path):
    path, heard = linear(tmp_path / "g.onnx"), []

    class Lies:
        def run(self, names, feeds):
            return [feeds["x"] * 2.2]

        def get_providers(self):
            return ["Lies"]

    how = How(backend="openvino", model="m", watch=lambda event, **labels: heard.append(labels["left"]))
    plain = GraphSession(path, How(model="m"))
    session = GraphSession(path, how, chain=[("openvino", Lies), (CPU, lambda: plain)])
    assert session.run(["y"], {"x": np.array([[1.0, 3.0]], np.float32)})[0].tolist() == [[2.0, 6.0]]
    assert (heard, session.runs_on) == (["openvino"], CPU)


def test_a_hash_that_openvino_would_compute_in_32_bits_keeps_the_file_with_onnx_runtime():
    pytest.importorskip("openvino")
    from modelhub.serving.runners.text import TextClassifier

    texts = ["When will my card arrive?", "Why was I charged a fee?", "How do I change my PIN?"]
    here, there = TextClassifier(EDGE), TextClassifier(EDGE, how=How(backend="openvino"))
    assert there.classify("support-intent", texts).labels == here.classify("support-intent", texts).labels
    assert {session.runs_on for session in there.sessions} == {CPU}
