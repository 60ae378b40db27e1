"""Whole graphs: opened on a backend, examined before, rewritten for another, chosen by measurement."""

import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from modelhub.hal import emulation, graph_facts, graphs, lowering, models, sessions, time_shares
from modelhub.hal.backends.emulated import round_to
from modelhub.hal.operators import OPERATORS
from modelhub.ml.graph import GraphBuilder

DIMS = {"T": 6, "D": 16, "E": 5, "K": 3, "F": 8}
MOE = OPERATORS["moe_experts"]


def moe_graph():
    sample = MOE.sample(DIMS, seed=5)
    constants = {n: sample[n] for n in MOE.constants}
    feeds = {n: sample[n] for n in MOE.activations}
    return (
        graphs.build("moe_experts", "contrib", constants, MOE.attributes, DIMS),
        feeds,
        MOE.exact(sample)[0],
    )


def product_graph(weights):
    g = GraphBuilder("product")
    x = g.input("x", "float", ["N", len(weights)])
    g.output("y", g.op("MatMul", x, g.const(weights)), "float", ["N", weights.shape[1]])
    return g.model()


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino", "onnx-reference"])
def test_a_lowered_mixture_of_experts_gives_the_same_answer_on_every_backend(backend):
    if backend == "openvino":
        pytest.importorskip("openvino")
    graph, feeds, exact = moe_graph()
    session = sessions.open_session(lowering.to_standard(graph), backend)
    assert np.abs(session.run(["y"], feeds)[0] - exact).max() < 1e-5
    assert session.backend == backend and session.runs_on and session.get_providers()
    assert {port.name for port in session.get_inputs()} == {"x", "weights", "experts"}


def test_a_lowered_graph_asks_for_nothing_beyond_the_standard():
    graph, _, _ = moe_graph()
    assert graph_facts.inspect(graph).contrib == ("MoE",)
    assert graph_facts.inspect(lowering.to_standard(graph)).contrib == ()


def test_an_operator_without_a_standard_form_is_named_when_a_graph_is_lowered():
    sample = OPERATORS["matmul"].sample({"M": 2, "K": 4, "N": 4})
    graph = graphs.build("matmul", "int8", {"b": sample["b"]}, {}, {"M": 2, "K": 4, "N": 4})
    with pytest.raises(graph_facts.GraphRefused, match="DynamicQuantizeMatMul"):
        lowering.to_standard(graph)


def test_a_session_says_on_what_its_nodes_really_run():
    graph, _, _ = moe_graph()
    session = sessions.open_session(graph)
    assert session.runs_on.split(",")[0] == session.get_providers()[0]
    assert sum(session.nodes_on.values()) > 0


def test_a_device_that_is_not_here_is_not_opened_and_says_which_package_brings_it():
    for backend, package in (("migraphx", "onnxruntime-migraphx"), ("cann", "onnxruntime-cann")):
        with pytest.raises(sessions.NotPresent, match=package):
            sessions.providers_for(backend)
    with pytest.raises(sessions.UnknownBackend, match="migraphx"):
        sessions.providers_for("rocm")
    with pytest.raises(sessions.UnknownBackend):
        sessions.open_session(b"", "abacus")


def test_providers_of_ascend_and_amd_keep_to_the_precision_that_was_asked_for():
    from modelhub.hal.backends.ort_devices import provider_options

    assert provider_options("cann") == (
        "CANNExecutionProvider",
        {"device_id": "0", "precision_mode": "force_fp32", "op_select_impl_mode": "high_precision"},
    )
    assert provider_options("migraphx", "float16")[1]["migraphx_fp16_enable"] == "1"
    with pytest.raises(KeyError, match="tf32"):
        provider_options("migraphx", "tf32")  # CDNA2 has none
    assert provider_options("ort-cuda", "float32")[1]["use_tf32"] == "0"


def test_opening_a_session_imports_neither_torch_nor_scipy_nor_django():
    code = (
        "import sys, modelhub.hal.sessions as s; s.providers_for()\n"
        "print(sorted({'torch', 'scipy', 'openvino', 'django'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_weights_outside_of_the_file_are_refused_and_not_read():
    model = product_graph(np.ones((4, 4), np.float32))
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"
    tensor.ClearField("raw_data")
    with pytest.raises(graph_facts.GraphRefused, match="lies in another file"):
        graph_facts.inspect(model.SerializeToString())


@pytest.mark.parametrize(
    ("domain", "kind"), [("", "Frobnicate"), ("com.example", "MatMul"), ("com.microsoft", "Frobnicate")]
)
def test_operators_that_nobody_knows_are_refused_by_name(domain, kind):
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1]) for n in "xy"]
    graph = helper.make_graph(
        [helper.make_node(kind, ["x"], ["y"], domain=domain)], "odd", ports[:1], ports[1:]
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 20), helper.make_opsetid(domain or "x", 1)]
    )
    with pytest.raises(graph_facts.GraphRefused, match=kind):
        graph_facts.inspect(model.SerializeToString())


@pytest.mark.parametrize("content", [b"", b"hello", b"\x08\x0a" * 40])
def test_what_is_no_graph_is_refused(content):
    with pytest.raises(graph_facts.GraphRefused, match="not an ONNX graph"):
        graph_facts.inspect(content)


@pytest.mark.parametrize("dtype", ["tf32", "float16", "bfloat16"])
def test_an_emulated_graph_computes_with_rounded_inputs_exactly(dtype):
    rng = np.random.default_rng(0)
    x, weights = (
        rng.standard_normal((5, 8)).astype(np.float32),
        rng.standard_normal((8, 3)).astype(np.float32),
    )
    graph = emulation.emulate(product_graph(weights).SerializeToString(), dtype)
    found = sessions.open_session(graph).run(["y"], {"x": x})[0]
    want = round_to(x, dtype).astype(np.float64) @ round_to(weights, dtype).astype(np.float64)
    assert np.abs(found - want).max() < 1e-5  # the sums alone are float32
    plain = x.astype(np.float64) @ weights
    assert np.abs(found - plain).max() > 1e-5


def test_an_unknown_format_is_not_emulated():
    with pytest.raises(KeyError, match="fp8"):
        emulation.emulate(product_graph(np.ones((2, 2), np.float32)).SerializeToString(), "fp8")


def forms_of(*pairs):
    return [models.Form(name, dtype, lambda run=run: run) for name, dtype, run in pairs]


def label(answer):
    return answer.argmax(-1)


def test_the_quickest_form_that_agrees_is_chosen_and_the_others_say_why_not():
    now = [0.0]

    def taking(seconds, change=lambda y: y):
        def run(x):
            now[0] += seconds
            return change(2.0 * x)

        return run

    def broken(x):
        raise RuntimeError("no such kernel")

    forms = forms_of(
        ("eager", "float32", taking(4.0)), ("quick", "float32", taking(1.0)),
        ("liar", "float32", taking(0.1, lambda y: y + 0.01)),
        ("flips", "int8", taking(0.1, lambda y: -y)), ("int8", "int8", taking(0.5, lambda y: y + 0.01)),
        ("nan", "float32", taking(0.1, lambda y: y * np.nan)), ("broken", "float32", broken),
    )  # fmt: skip
    inputs = [np.random.default_rng(i).standard_normal((1, 4)) for i in range(6)]
    found = models.measure(forms, inputs, [2.0 * x for x in inputs], label, clock=lambda: now[0])
    assert models.quickest(found).name == "int8"
    assert models.quickest(found, ["float32"]).name == "quick"
    why = {m.name: m.why for m in found if m.why}
    assert set(why) == {"liar", "flips", "nan", "broken"}
    assert (
        "allowed 1e-04" in why["liar"]
        and "labels agree" in why["flips"]
        and "no such kernel" in why["broken"]
    )
    with pytest.raises(LookupError, match="no such kernel"):
        models.quickest(found, ["float16"])


def test_shares_of_time_name_the_operators_of_the_graph_and_sum_to_one(tmp_path):
    path = tmp_path / "product.onnx"
    onnx.save(product_graph(np.random.default_rng(0).standard_normal((256, 256)).astype(np.float32)), path)
    feeds = [{"x": np.ones((64, 256), np.float32)}] * 5
    found = time_shares.shares(time_shares.by_operator(path, feeds), {"Other": 0.0})
    assert next(iter(found)) == "MatMul" and sum(found.values()) == pytest.approx(1.0)


def test_a_large_weight_stays_what_it_was_when_a_graph_is_read(tmp_path):
    weights = np.arange(16, dtype=np.float32).reshape(4, 4)
    path = tmp_path / "g.onnx"
    onnx.save(product_graph(weights), path)
    model = graph_facts.read_graph(path)
    assert np.array_equal(numpy_helper.to_array(model.graph.initializer[0]), weights)
    assert graph_facts.inspect(path).weight_bytes >= weights.nbytes


@pytest.mark.parametrize("form", ["contrib", "int8"])
def test_experts_of_onnx_runtime_refuse_a_gelu_that_is_not_ours(form):
    dims = {**MOE.dims, "T": 2}
    sample = MOE.sample(dims)
    constants = {n: sample[n] for n in MOE.constants}
    with pytest.raises(graphs.NoSuchForm, match="tanh"):
        graphs.build("moe_experts", form, constants, {"activation": "gelu"}, dims)


@pytest.mark.parametrize("form", ["contrib", "int8", "standard"])
@pytest.mark.parametrize("activation", ["silu", "relu"])
def test_experts_mix_by_weights_that_need_not_sum_to_one_and_let_a_nan_through(form, activation):
    dims = {**MOE.dims, "T": 6}
    sample = MOE.sample(dims, seed=9)
    sample["weights"] = np.float32(2.5) * sample["weights"]
    sample["weights"][3] = 0.0  # a token that no expert sees
    constants = {n: sample[n] for n in MOE.constants}
    session = sessions.open_session(
        graphs.build("moe_experts", form, constants, {"activation": activation}, dims)
    )
    feeds = {n: sample[n] for n in MOE.activations}
    exact = MOE.exact(sample, {"activation": activation})[0]
    found = session.run(["y"], feeds)[0]
    assert np.abs(found - exact).max() < (0.03 if form == "int8" else 1e-5) * np.abs(exact).max()
    assert np.abs(found[3]).max() < 1e-6
    feeds["x"][1, 0] = np.nan
    assert np.isnan(session.run(["y"], feeds)[0][1]).any()
