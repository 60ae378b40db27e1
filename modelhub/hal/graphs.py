"""Small ONNX graphs, one for each operator and form, with the constants inside.

Forms: `steps`, one node for every arithmetic step, as a graph is that nobody fused; `standard`, the standard's own compound
operators; `contrib`, ONNX Runtime's fused ones; `int8`, whole-number products with dynamic activations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from modelhub.hal.operators import OPERATORS, Dims, Operands
from modelhub.ml.graph import CONTRIB, GraphBuilder
from modelhub.ml.moe import int8
from modelhub.ml.moe.expert_graph import unrolled_nodes
from modelhub.ml.moe.gate_graph import GateNodes

FORMS = ("steps", "standard", "contrib", "int8")
_NEVER = -60.0  # the logarithm of a weight that counts as zero: e^-60 is below float32's resolution

Emit = Callable[[GraphBuilder, str, dict[str, str], Operands, Mapping[str, Any], Dims], list[str]]


class NoSuchForm(LookupError):
    """The operator has no graph of that form."""


def build(operator: str, form: str, constants: Operands, attributes: Mapping[str, Any], dims: Dims) -> bytes:
    """A serialised graph whose inputs are the operator's activations; batch dimensions stay open. Raises NoSuchForm."""
    if form not in HAS.get(operator, ()):
        raise NoSuchForm(f"{operator} has no {form!r} graph: it has {', '.join(HAS.get(operator, ()))}")
    op = OPERATORS[operator]
    g = GraphBuilder(f"{operator}-{form}")
    letters = dict(op.operands)
    names: dict[str, str] = {}
    for name in op.activations:
        shape: list[int | str] = [w if w in op.batch else int(dims[w]) for w in letters[name].split()]
        names[name] = g.input(name, "int64" if name == "experts" else "float", shape)
    found = _EMIT[operator](g, form, names, constants, attributes, dims)
    for place, value in enumerate(found):
        kind, shape = _output(operator, place, dims, attributes)
        g.output("y" if place == 0 else f"y{place}", value, kind, shape)
    return g.model().SerializeToString()


def _output(
    operator: str, place: int, dims: Dims, attributes: Mapping[str, Any]
) -> tuple[str, list[int | str]]:
    if operator == "topk_gate":
        return ("int64" if place else "float"), ["T", int(attributes["k_max"])]
    if operator == "attention":
        return "float", ["B", int(dims["H"]), "S", int(dims["Dh"])]
    first, width = {"matmul": ("M", "N"), "int8_matmul": ("T", "N")}.get(operator, ("T", "D"))
    return "float", [first, int(dims[width])]


def quantise_columns(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Symmetric INT8 with one scale a column. Shapes: (K, N) -> int8 (K, N), float32 scale (N)."""
    scale = np.maximum(np.abs(weights).max(axis=0), 1e-12).astype(np.float32) / np.float32(127)
    return np.clip(np.rint(weights / scale), -127, 127).astype(np.int8), scale


def _number(g: GraphBuilder, value: float) -> str:
    return g.const(np.float32(value))


def _axes(g: GraphBuilder, *axes: int) -> str:
    return g.const(np.array(axes, np.int64))


def _int8_product(
    g: GraphBuilder, x: str, weights: np.ndarray, scale: np.ndarray, bias: np.ndarray | None = None
) -> str:
    """x · (weights · scale) [+ bias] with activations quantised as they come."""
    zero = g.const(np.zeros(len(scale), np.int8))
    words = [x, g.const(weights), g.const(scale), zero]
    if bias is not None:
        words.append(g.const(bias))
    return g.op("DynamicQuantizeMatMul", *words, domain=CONTRIB)


def _matmul(
    g: GraphBuilder, form: str, x: dict[str, str], c: Operands, a: Mapping[str, Any], d: Dims
) -> list[str]:
    if form == "int8":
        return [_int8_product(g, x["a"], *quantise_columns(c["b"]))]
    return [g.op("MatMul", x["a"], g.const(c["b"]))]


def _int8_matmul(
    g: GraphBuilder, form: str, x: dict[str, str], c: Operands, a: Mapping[str, Any], d: Dims
) -> list[str]:
    if form == "int8":
        return [_int8_product(g, x["x"], c["w"], c["scale"])]
    if form == "standard":  # weights stay in eight bits, widened as they are read
        wide = g.op("Mul", g.op("Cast", g.const(c["w"]), to=1), g.const(c["scale"]))
        return [g.op("MatMul", x["x"], wide)]
    return [g.op("MatMul", x["x"], g.const(c["w"].astype(np.float32) * c["scale"]))]


def _gelu_steps(g: GraphBuilder, x: str) -> str:
    curve = g.op("Add", g.op("Erf", g.op("Div", x, _number(g, 2**0.5))), _number(g, 1.0))
    return g.op("Mul", g.op("Mul", x, curve), _number(g, 0.5))


def _ffn_gelu(
    g: GraphBuilder, form: str, x: dict[str, str], c: Operands, a: Mapping[str, Any], d: Dims
) -> list[str]:
    w1, w2 = np.ascontiguousarray(c["w1"].T), np.ascontiguousarray(c["w2"].T)
    if form == "int8":
        inner = g.op("Gelu", _int8_product(g, x["x"], *quantise_columns(w1), c["b1"]))
        return [_int8_product(g, inner, *quantise_columns(w2), c["b2"])]
    if form == "contrib":
        inner = g.op("BiasGelu", g.op("MatMul", x["x"], g.const(w1)), g.const(c["b1"]), domain=CONTRIB)
        return [g.op("Gemm", inner, g.const(w2), g.const(c["b2"]))]
    inner = g.op("Add", g.op("MatMul", x["x"], g.const(w1)), g.const(c["b1"]))
    inner = _gelu_steps(g, inner) if form == "steps" else g.op("Gelu", inner)
    return [g.op("Add", g.op("MatMul", inner, g.const(w2)), g.const(c["b2"]))]


def _layernorm(
    g: GraphBuilder, form: str, x: dict[str, str], c: Operands, a: Mapping[str, Any], d: Dims
) -> list[str]:
    gain, bias = g.const(c["gain"]), g.const(c["bias"])
    if form == "contrib":
        words = (x["x"], x["residual"], gain, bias)
        return [g.op("SkipLayerNormalization", *words, domain=CONTRIB, epsilon=float(a["eps"]))]
    total = g.op("Add", x["x"], x["residual"])
    if form == "standard":
        return [g.op("LayerNormalization", total, gain, bias, axis=-1, epsilon=float(a["eps"]))]
    centred = g.op("Sub", total, g.op("ReduceMean", total, _axes(g, -1)))
    spread = g.op("ReduceMean", g.op("Mul", centred, centred), _axes(g, -1))
    unit = g.op("Div", centred, g.op("Sqrt", g.op("Add", spread, _number(g, a["eps"]))))
    return [g.op("Add", g.op("Mul", unit, gain), bias)]


def _attention(
    g: GraphBuilder, form: str, x: dict[str, str], c: Operands, a: Mapping[str, Any], d: Dims
) -> list[str]:
    heads, size = int(d["H"]), int(d["Dh"])
    closed = g.op("Unsqueeze", g.op("Sub", x["mask"], _number(g, 1.0)), _axes(g, 1, 2))
    penalty = g.op(
        "Mul", closed, _number(g, 1e9)
    )  # (B, 1, 1, S): zero, or minus a billion for a key that may not be read
    if form == "contrib":
        flat = g.const(np.array([0, 0, heads * size], np.int64))
        rows = [g.op("Reshape", g.op("Transpose", x[n], perm=[0, 2, 1, 3]), flat) for n in "qkv"]
        mask = g.op("Cast", x["mask"], to=6)
        mixed = g.op("MultiHeadAttention", *rows, "", mask, domain=CONTRIB, num_heads=heads)
        apart = g.op("Reshape", mixed, g.const(np.array([0, 0, heads, size], np.int64)))
        return [g.op("Transpose", apart, perm=[0, 2, 1, 3])]
    scores = g.op("MatMul", x["q"], g.op("Transpose", x["k"], perm=[0, 1, 3, 2]))
    scores = g.op("Add", g.op("Mul", scores, _number(g, size**-0.5)), penalty)
    if form == "standard":
        return [g.op("MatMul", g.op("Softmax", scores, axis=-1), x["v"])]
    shifted = g.op("Exp", g.op("Sub", scores, g.op("ReduceMax", scores, _axes(g, -1))))
    return [g.op("MatMul", g.op("Div", shifted, g.op("ReduceSum", shifted, _axes(g, -1))), x["v"])]


def _share(g: GraphBuilder, x: dict[str, str], experts: int, none: float, values: str) -> str:
    """Scatter one value a slot to (T, E), `none` elsewhere."""
    tokens = g.op("Shape", x["weights"], start=0, end=1)
    shape = g.op("Concat", tokens, g.const(np.array([experts], np.int64)), axis=0)
    blank = g.op("Expand", g.const(np.array([[none]], np.float32)), shape)
    return g.op("ScatterElements", blank, x["experts"], values, axis=1)


def _moe(
    g: GraphBuilder, form: str, x: dict[str, str], c: Operands, a: Mapping[str, Any], d: Dims
) -> list[str]:
    if form == "standard":
        return [_unrolled(g, x, c, a["activation"])]
    if a["activation"] not in ("silu", "relu"):
        raise NoSuchForm(
            f"{a['activation']}: ONNX Runtime's experts know silu and relu; their GELU is the tanh curve"
        )
    options = {"k": int(d["K"]), "activation_type": a["activation"], "domain": CONTRIB}
    total = g.op("ReduceSum", x["weights"], _axes(g, 1), keepdims=1)
    if form == "contrib":
        # The operator softmaxes router logits over the chosen k: the logarithm of our weights, times their sum, gives them back.
        logs = g.op("Log", g.op("Max", x["weights"], _number(g, np.exp(_NEVER))))
        router = _share(g, x, int(d["E"]), 2 * _NEVER, logs)
        words = (g.const(c["w1"]), "", g.const(c["w2"]))
        mixed = g.op("MoE", x["x"], router, *words, normalize_routing_weights=1, **options)
        mixed = g.op("Mul", mixed, total)
        return [_with_nan(g, mixed, x["x"]) if a["activation"] == "relu" else mixed]
    share = _share(g, x, int(d["E"]), 0.0, x["weights"])
    block = int8.block_for(d["D"], d["F"])
    if block is None:
        raise NoSuchForm(
            f"8-bit experts need widths that are multiples of {int8.BLOCKS[-1]}, not {d['D']} and {d['F']}"
        )
    first, second = int8.quantise(c["w1"], block), int8.quantise(c["w2"], block)
    weights = (
        g.const(first.values),
        g.const(first.scales),
        "",
        g.const(second.values),
        g.const(second.scales),
    )
    unused = [""] * 7  # second bias; third weights, scales and bias; three zero points
    options |= {"expert_weight_bits": 8, "block_size": block, "weights_prepacked": 0}
    mixed = g.op("QMoE", x["x"], share, *weights, *unused, share, **options)
    return [_with_nan(g, mixed, x["x"])]


def _with_nan(g: GraphBuilder, mixed: str, x: str) -> str:
    """ONNX Runtime's QMoE, and its RELU, make ordinary numbers of NaN: nothing, times the input's sum, brings it back."""
    return g.op("Add", mixed, g.op("Mul", g.op("ReduceSum", x, _axes(g, 1), keepdims=1), _number(g, 0.0)))


def _unrolled(g: GraphBuilder, x: dict[str, str], c: Operands, activation: str) -> str:
    """In the standard's operators alone."""
    share = _share(g, x, len(c["w1"]), 0.0, x["weights"])
    total = g.op("ReduceSum", x["weights"], _axes(g, 1), keepdims=1)
    return unrolled_nodes(g, x["x"], GateNodes(share, total), c["w1"], c["w2"], activation)


def _gate(
    g: GraphBuilder, form: str, x: dict[str, str], c: Operands, a: Mapping[str, Any], d: Dims
) -> list[str]:
    k_max = int(a["k_max"])
    probabilities = g.op("Softmax", x["logits"], axis=-1)
    biased = g.op("Add", probabilities, g.const(c["bias"]))
    _, experts = g.ops("TopK", biased, g.const(np.array([k_max], np.int64)), outputs=2, axis=-1)
    weights = g.op("GatherElements", probabilities, experts, axis=1)
    before = g.op("CumSum", weights, g.const(np.array(1, np.int64)), exclusive=1)
    early = g.const(np.arange(k_max)[None, :] < int(a["k_min"]))
    kept = g.op("Or", early, g.op("Less", before, _number(g, a["mass"])))
    weights = g.op("Mul", weights, g.op("Cast", kept, to=1))
    return [g.op("Div", weights, g.op("ReduceSum", weights, _axes(g, 1), keepdims=1)), experts]


_EMIT: dict[str, Emit] = {
    "matmul": _matmul, "int8_matmul": _int8_matmul, "ffn_gelu": _ffn_gelu, "layernorm_residual": _layernorm,
    "attention": _attention, "moe_experts": _moe, "topk_gate": _gate,
}  # fmt: skip
HAS: dict[str, tuple[str, ...]] = {
    "matmul": ("standard", "int8"), "int8_matmul": ("steps", "standard", "int8"), "ffn_gelu": FORMS,
    "layernorm_residual": ("steps", "standard", "contrib"), "attention": ("steps", "standard", "contrib"),
    "moe_experts": ("standard", "contrib", "int8"), "topk_gate": ("standard",),
}  # fmt: skip
