"""The graphs of the text models: Dynamic Gating body, head with its wide channel. Weights are held in 16 bits.

The gate's arithmetic is float32 throughout; 16-bit weights are widened when a session is opened.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from modelhub.ml.graph import GraphBuilder
from modelhub.ml.text import wide

_NEVER = -60.0  # the logarithm of a weight that counts as zero: e^-60 is below float32's resolution


def half(g: GraphBuilder, value: np.ndarray, name: str = "const") -> str:
    """A weight held as float16 and widened once, when the session folds constants."""
    return g.op("Cast", g.const(np.asarray(value, np.float16), name), to=1)


def write_gating_body(state: dict[str, np.ndarray], target: Path, *, layers: int, mass: float) -> None:
    """Write `pooled` (N, 384) -> `features` (N, 384), from the network's state dictionary.

    The experts run in ONNX Runtime's `MoE` operator. It takes router logits, softmaxes them over the chosen
    four and mixes; handing it the logarithm of our own weights makes it reproduce a gate whose k varies.
    """
    width = state["norm.weight"].shape[0]
    g = GraphBuilder("dynamic-gating-body")
    pooled = g.input("pooled", "float", ["N", width])
    norm = g.op("ReduceL2", pooled, g.const(np.array([1])), keepdims=1)
    unit = g.op("Div", pooled, g.op("Max", norm, g.const(np.float32(1e-12))))
    x = g.op("Mul", unit, g.const(np.float32(width**0.5)))
    for layer in range(layers):
        x = _gating_layer(g, state, f"layers.{layer}.", x, mass)
    g.output("features", _norm(g, state, "norm", x), "float", ["N", width])
    g.save(target)


def _gating_layer(g: GraphBuilder, state: dict[str, np.ndarray], name: str, x: str, mass: float) -> str:
    y = _norm(g, state, name + "norm", x)
    router = _router(g, state, name + "gate.", y, mass)
    w1, w2 = half(g, state[name + "bank.w1"]), half(g, state[name + "bank.w2"])
    options = {"k": 4, "activation_type": "silu", "normalize_routing_weights": 1}
    mixed = g.op("MoE", y, router, w1, "", w2, domain="com.microsoft", **options)
    inner = g.op("MatMul", y, half(g, state[name + "shared.0.weight"].T))
    outer = g.op(
        "MatMul", g.op("Mul", inner, g.op("Sigmoid", inner)), half(g, state[name + "shared.2.weight"].T)
    )
    return g.op("Add", x, g.op("Add", mixed, outer))


def _router(g: GraphBuilder, state: dict[str, np.ndarray], name: str, y: str, mass: float) -> str:
    """Logarithm of the final mixing weights, (N, E), very negative where an expert is not chosen."""
    keys = state[name + "keys"].astype(np.float32)
    keys = keys / np.linalg.norm(keys, axis=1, keepdims=True) * np.float32(state[name + "scale"])
    norm = g.op("ReduceL2", y, g.const(np.array([1])), keepdims=1)
    unit = g.op("Div", y, g.op("Max", norm, g.const(np.float32(1e-12))))
    probabilities = g.op("Softmax", g.op("MatMul", unit, g.const(keys.T)), axis=-1)
    biased = g.op("Add", probabilities, g.const(state[name + "selection_bias"].astype(np.float32)))
    _, experts = g.ops("TopK", biased, g.const(np.array([4])), outputs=2, axis=-1)
    weights = g.op("GatherElements", probabilities, experts, axis=1)
    before = g.op("CumSum", weights, g.const(np.array(1)), exclusive=1)
    early = g.const(np.array([[True, True, False, False]]))
    kept = g.op("Or", early, g.op("Less", before, g.const(np.float32(mass))))
    weights = g.op("Mul", weights, g.op("Cast", kept, to=1))
    weights = g.op("Div", weights, g.op("ReduceSum", weights, g.const(np.array([1])), keepdims=1))
    logs = g.op("Log", g.op("Max", weights, g.const(np.float32(np.exp(_NEVER)))))
    none = g.op("Add", g.op("Mul", probabilities, g.const(np.float32(0))), g.const(np.float32(2 * _NEVER)))
    return g.op("ScatterElements", none, experts, logs, axis=1)


def _norm(g: GraphBuilder, state: dict[str, np.ndarray], name: str, x: str) -> str:
    gain, shift = (g.const(state[f"{name}.{part}"].astype(np.float32)) for part in ("weight", "bias"))
    return g.op("LayerNormalization", x, gain, shift, axis=-1, epsilon=1e-5)


def write_head(
    target: Path, weight: np.ndarray, bias: np.ndarray, table: wide.WideTable | None, wide_share: float
) -> None:
    """Write `input_ids`, `attention_mask` (N, T), `features` (N, D) -> `logits` (N, L).

    Logits are weight·features + bias + wide_share · wide. Shapes: weight (L, D), bias (L,).
    """
    g = GraphBuilder("head")
    ids = g.input("input_ids", "int64", ["N", "T"])
    mask = g.input("attention_mask", "int64", ["N", "T"])
    features = g.input("features", "float", ["N", weight.shape[1]])
    product = g.op("MatMul", features, half(g, weight.T, "head_weight"))
    logits = g.op("Add", product, g.const(bias.astype(np.float32), "head_bias"))
    if table is not None:
        wide_logits = wide.write_nodes(g, table, ids, mask)
        logits = g.op("Add", logits, g.op("Mul", wide_logits, g.const(np.float32(wide_share), "wide_share")))
    g.output("logits", logits, "float", ["N", len(bias)])
    g.save(target)


@dataclass(frozen=True, slots=True)
class HeadWeights:
    """What a head's graph holds. Shapes: weight (L, D) float32, bias (L,) float32."""

    weight: np.ndarray
    bias: np.ndarray
    table: wide.WideTable
    wide_share: float


def read_head(path: Path) -> HeadWeights:
    """Read back what `write_head` wrote with a wide channel. Raises KeyError for another graph."""
    import onnx
    from onnx import numpy_helper

    held = {
        t.name.rsplit("_", 1)[0]: numpy_helper.to_array(t) for t in onnx.load(str(path)).graph.initializer
    }
    names = ("row", "idf", "wide_weight", "wide_scale", "wide_bias")
    table = wide.WideTable(*(held[name] for name in names))
    weight = held["head_weight"].T.astype(np.float32)
    return HeadWeights(weight, held["head_bias"], table, float(held["wide_share"]))
