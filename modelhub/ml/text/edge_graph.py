"""The student's body as ONNX: token ids in, one vector per text out."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from modelhub.ml.graph import GraphBuilder, masked_mean
from modelhub.ml.text.student import StudentShape


def write_student_body(state: dict[str, np.ndarray], shape: StudentShape, target: Path) -> None:
    """Write `input_ids`, `attention_mask` (N, T) -> `features` (N, D), in float32, ready for quantisation."""
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
    g.output("features", _norm(g, state, "after", masked_mean(g, x, maskf)), "float", ["N", shape.width])
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
