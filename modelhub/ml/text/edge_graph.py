"""The student as ONNX: its body alone, ready for quantisation, and the whole of it in one file behind the gate."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from modelhub.ml.graph import GraphBuilder
from modelhub.ml.text import wide
from modelhub.ml.text.gate_graph import RISK, TAU, GatedBuilder, answer_names
from modelhub.ml.text.student import MOST_TOKENS, RAISED, StudentShape
from modelhub.ml.text.wide_graph import read_table, wide_nodes

FLOAT = onnx.TensorProto.FLOAT


def write_student_body(state: dict[str, np.ndarray], shape: StudentShape, target: Path) -> None:
    """Write `input_ids`, `attention_mask` (N, T) -> `features`, `raised_peak` (N, D), in float32, ready for quantisation.

    Peaks leave RAISED above what the network says.
    """
    state = {**state, "down.bias": state["down.bias"] + np.float32(RAISED)}
    g = GraphBuilder("student-body")
    ids = g.input("input_ids", "int64", ["N", "T"])
    mask = g.input("attention_mask", "int64", ["N", "T"])
    maskf = g.op("Cast", mask, to=1)
    words = g.op("Gather", g.const(state["words.weight"], "words"), ids)
    zero = g.const(np.array([0]))
    places = g.op("Slice", g.const(state["places.weight"]), zero, g.op("Shape", ids, start=1, end=2), zero)
    x = g.op("Add", words, places)
    x = g.op("Add", x, _attention(g, state, shape, _norm(g, state, "before", x), maskf))
    inner = _linear(g, state, "up", _norm(g, state, "middle", x))
    inner = g.op("Mul", inner, g.op("Sigmoid", inner))
    x = g.op("Add", x, _linear(g, state, "down", inner))
    held = g.op("Mul", x, g.op("Unsqueeze", maskf, g.const(np.array([2]))))
    total = g.op("ReduceSum", held, g.const(np.array([1])), keepdims=0)
    count = g.op(
        "Max", g.op("ReduceSum", maskf, g.const(np.array([1])), keepdims=1), g.const(np.float32(1e-9))
    )
    mean = g.op("Div", total, count)
    g.output("features", _norm(g, state, "after", mean), "float", ["N", shape.width])
    g.output(
        "raised_peak",
        g.op("ReduceMax", held, g.const(np.array([1])), keepdims=0),
        "float",
        ["N", shape.width],
    )
    g.save(target)


def _attention(g: GraphBuilder, state: dict[str, np.ndarray], shape: StudentShape, y: str, maskf: str) -> str:
    heads, size = shape.attention_heads, shape.width // shape.attention_heads
    wide_mask = g.op("Unsqueeze", maskf, g.const(np.array([1, 2])))
    penalty = g.op("Mul", g.op("Sub", wide_mask, g.const(np.float32(1))), g.const(np.float32(1e9)))
    parts = g.op("Reshape", _linear(g, state, "qkv", y), g.const(np.array([0, 0, 3, heads, size])))
    moved = g.op("Transpose", parts, perm=[2, 0, 3, 1, 4])
    query, key, value = (g.op("Gather", moved, g.const(np.array(i)), axis=0) for i in range(3))
    scores = g.op("MatMul", query, g.op("Transpose", key, perm=[0, 1, 3, 2]))
    scaled = g.op("Mul", scores, g.const(np.float32(size**-0.5)))
    weights = g.op("Softmax", g.op("Add", scaled, penalty), axis=-1)
    mixed = g.op("Transpose", g.op("MatMul", weights, value), perm=[0, 2, 1, 3])
    return _linear(g, state, "out", g.op("Reshape", mixed, g.const(np.array([0, 0, shape.width]))))


def _linear(g: GraphBuilder, state: dict[str, np.ndarray], name: str, x: str) -> str:
    product = g.op("MatMul", x, g.const(np.ascontiguousarray(state[name + ".weight"].T), name))
    return g.op("Add", product, g.const(state[name + ".bias"]))


def _norm(g: GraphBuilder, state: dict[str, np.ndarray], name: str, x: str) -> str:
    gain, shift = g.const(state[name + ".weight"]), g.const(state[name + ".bias"])
    return g.op("LayerNormalization", x, gain, shift, axis=-1, epsilon=1e-5)


@dataclass(frozen=True, slots=True)
class HeadParts:
    """One task's head as it is served. Shapes: weight (L, D), bias (L,)."""

    weight: np.ndarray
    bias: np.ndarray
    table: wide.WideTable


@dataclass(frozen=True, slots=True)
class RiskParts:
    """The operator's head, in float32. Shapes: inner (H, 2 D), inner_bias (H,), outer (K, H), outer_bias (K,)."""

    inner: np.ndarray
    inner_bias: np.ndarray
    outer: np.ndarray
    outer_bias: np.ndarray

    def arrays(self) -> tuple[np.ndarray, ...]:
        """All four, in this order."""
        return self.inner, self.inner_bias, self.outer, self.outer_bias


def write_gated(
    body: Path,
    heads: dict[str, HeadParts],
    risk: RiskParts | None,
    target: Path,
    tau: np.ndarray | None = None,
) -> None:
    """Write one file that answers: `input_ids`, `attention_mask` (N, T) → a head's safe logits, `risk`, what is blocked.

    `body` is the encoder alone, in whatever precision it is served. A single head's outputs are called `safe_logits` and
    `blocked`; with several each carries its head's name, as do all nodes and weights of the head, so that a server can
    take one head out. `features` (N, D) is what adapters read; it holds no answer. Without `risk` the same file is made
    without the operator, to measure its cost by.
    """
    g = GatedBuilder("student")
    ids, mask = (g.input(name, "int64", ["N", "T"]) for name in ("input_ids", "attention_mask"))
    first, last, axis = (g.const(np.array([value])) for value in (0, MOST_TOKENS, 1))
    short = {
        "input_ids": g.op("Slice", ids, first, last, axis),
        "attention_mask": g.op("Slice", mask, first, last, axis),
    }
    inner = onnx.load(str(body))
    outputs = g.include(inner, "_body", short)
    vector = outputs["features"]
    scores = limit = ""
    if risk is not None:
        scores = _risk(g, risk, g.op("Concat", vector, outputs["raised_peak"], axis=1))
        limit = g.keep(np.full((1, len(risk.outer_bias)), 1.0, np.float32) if tau is None else _row(tau), TAU)
    width = inner.graph.output[0].type.tensor_type.shape.dim[1].dim_value
    g.expose("features", vector, FLOAT, ["N", width])
    for name, head in heads.items():
        g.scope = f"{name}/"
        safe, blocked = answer_names(name, len(heads) > 1)
        logits = _logits(g, name, head, ids, mask, "features")
        if risk is not None:
            logits, stopped = g.gate(logits, scores, limit)
            g.expose(blocked, stopped, onnx.TensorProto.BOOL, ["N", 1])
        g.expose(safe, logits, FLOAT, ["N", len(head.bias)])
        g.scope = ""
    if risk is not None:
        g.expose(RISK, scores, FLOAT, ["N", len(risk.outer_bias)])
    g.save(target)


def _row(tau: np.ndarray) -> np.ndarray:
    return np.asarray(tau, np.float32).reshape(1, -1)


def _risk(g: GatedBuilder, risk: RiskParts, both: str) -> str:
    """Probabilities of each kind of harm, in float32 throughout, from vector and raised peaks. Gives (N, K)."""
    bias = g.const((risk.inner_bias - _raised_by(risk.inner)).astype(np.float32), "risk_inner_bias")
    inner = g.op("Gemm", both, g.const(risk.inner, "risk_inner"), bias, transB=1)
    outer = g.op(
        "Gemm", g.op("Relu", inner), g.const(risk.outer, "risk_outer"), g.const(risk.outer_bias), transB=1
    )
    return g.op("Sigmoid", outer)


def _raised_by(inner: np.ndarray) -> np.ndarray:
    """What raised peaks add to each unit of the risk head. Shapes: (H, 2 D) -> (H,) float64."""
    return RAISED * inner[:, inner.shape[1] // 2 :].sum(axis=1, dtype=np.float64)


def risk_tensors(model: onnx.ModelProto) -> dict[str, str]:
    """Names of what the risk head of a gated file reads (`inputs`) and of its weights. Raises KeyError for another file."""
    makers = {name: node for node in model.graph.node for name in node.output}
    try:
        outer = makers[makers[RISK].input[0]]
        inner = makers[makers[outer.input[0]].input[0]]
        peaks = makers[inner.input[0]].input[1]
    except IndexError:
        raise KeyError("its risk head is not one of two products") from None
    if not peaks.endswith("raised_peak"):
        raise KeyError(f"its risk head reads {peaks}, not raised peaks: the file is of another form")
    names = (inner.input[0], *inner.input[1:3], *outer.input[1:3])
    return dict(zip(("inputs", "inner", "inner_bias", "outer", "outer_bias"), names, strict=True))


def read_risk(path: Path) -> RiskParts:
    """Read the operator's head back out of what `write_gated` wrote. Raises KeyError."""
    model = onnx.load(str(path))
    named = risk_tensors(model)
    held = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    inner, bias, outer, outer_bias = (held[named[f]] for f in ("inner", "inner_bias", "outer", "outer_bias"))
    return RiskParts(inner, (bias + _raised_by(inner)).astype(np.float32), outer, outer_bias)


def replace_risk(path: Path, risk: RiskParts) -> None:
    """Write other weights of the operator's head into a finished file. Raises KeyError for a head of another shape."""
    model = onnx.load(str(path))
    named = risk_tensors(model)
    lowered = (risk.inner_bias - _raised_by(risk.inner)).astype(np.float32)
    fresh = {"inner": risk.inner, "inner_bias": lowered, "outer": risk.outer, "outer_bias": risk.outer_bias}
    replace_tensors(path, model, {named[field]: value for field, value in fresh.items()})


def replace_tensors(path: Path, model: onnx.ModelProto, fresh: dict[str, np.ndarray]) -> None:
    """Write a loaded model again with other values of some constants. Raises KeyError where one has another shape."""
    held = {tensor.name: tensor for tensor in model.graph.initializer}
    for name, value in fresh.items():
        if numpy_helper.to_array(held[name]).shape != value.shape:
            raise KeyError(f"{name} has another shape in {path.name}")
        held[name].CopyFrom(numpy_helper.from_array(np.ascontiguousarray(value), name))
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_bytes(model.SerializeToString())
    os.replace(draft, path)


def _logits(g: GatedBuilder, name: str, head: HeadParts, ids: str, mask: str, vector: str) -> str:
    weight = g.op(
        "Cast", g.keep(np.ascontiguousarray(head.weight.T, np.float16), f"{name}/head_weight"), to=1
    )
    bias = g.keep(head.bias.astype(np.float32), f"{name}/head_bias")
    deep = g.op("Gemm", vector, weight, bias)
    return g.op("Add", deep, wide_nodes(g, f"{name}/wide/", head.table, ids, mask))


def read_gated_head(path: Path, name: str) -> HeadParts:
    """Read a head back out of what `write_gated` wrote. Raises KeyError."""
    held = {
        tensor.name: tensor
        for tensor in onnx.load(str(path)).graph.initializer
        if tensor.name.startswith(f"{name}/")
    }
    if not held:
        raise KeyError(f"{Path(path).name} has no head {name!r}")
    got = {key.removeprefix(f"{name}/"): numpy_helper.to_array(value) for key, value in held.items()}
    weight = got["head_weight"].T.astype(np.float32)
    return HeadParts(
        weight, got["head_bias"], read_table({key.removeprefix("wide/"): got[key] for key in got})
    )
