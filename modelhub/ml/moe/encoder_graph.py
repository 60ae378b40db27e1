"""A whole sparse text encoder as ONNX nodes: attention, experts chosen token by token, pooling.

It reads the state dictionary of an encoder whose blocks are named as in `modelhub.ml.text.encoder` (qkv, out, attended, fed,
experts.{gate, w1, w2, up, down, bias}); a block without a gate is dense. Padding passes no expert: it costs nothing there
and is counted nowhere.

Shapes: B texts, T tokens with padding, N = B·T, D width.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from modelhub.ml.graph import GraphBuilder, masked_mean
from modelhub.ml.moe.body import COUNTS, State, norm_nodes
from modelhub.ml.moe.expert_graph import activation_nodes, expert_nodes, held, linear_nodes
from modelhub.ml.moe.gate_graph import CosineTerms, GateNodes, expert_counts, gate_nodes

EPSILON = 1e-12


def write_encoder(
    state: State, target: Path, *, layers: int, attention_heads: int, k_min: int = 2, k_max: int = 4, mass: float = 0.4,
    activation: str = "gelu_tanh", form: str = "moe", counts: bool = False, half: bool = True,
) -> None:  # fmt: skip
    """Write `embedded` (B, T, 384), `attention_mask` (B, T) int64 -> `features` (B, D), in one of expert_graph.FORMS.

    `counts` adds `expert_counts` (layers, E) int64. Raises FormUnsupported where the form can't compute these experts.
    """
    g = GraphBuilder("sparse-encoder")
    entering = state["enter.weight"].shape[1] if "enter.weight" in state else state["norm.weight"].shape[0]
    embedded = g.input("embedded", "float", ["B", "T", entering])
    mask = g.op("Cast", g.input("attention_mask", "int64", ["B", "T"]), to=1)
    features, gates = encoder_nodes(
        g, state, embedded, mask, layers=layers, attention_heads=attention_heads, k_min=k_min, k_max=k_max, mass=mass,
        activation=activation, form=form, half=half,
    )  # fmt: skip
    g.output("features", features, "float", ["B", state["norm.weight"].shape[0]])
    if counts:
        g.output(COUNTS, expert_counts(g, gates), "int64", [layers, state["layers.0.experts.w1"].shape[0]])
    g.save(target)


def encoder_nodes(
    g: GraphBuilder, state: State, embedded: str, mask: str, *, layers: int, attention_heads: int, k_min: int, k_max: int,
    mass: float, activation: str, form: str, half: bool,
) -> tuple[str, list[GateNodes]]:  # fmt: skip
    """The encoder's nodes: embedded (B, T, 384), mask (B, T) float -> features (B, D), and the gate of each sparse block."""
    wide = g.op("Unsqueeze", mask, g.const(np.array([1, 2])))
    penalty = g.op("Mul", g.op("Sub", wide, g.const(np.float32(1))), g.const(np.float32(1e9)))
    column = g.op("Reshape", mask, g.const(np.array([-1, 1])))  # (N, 1)
    x, gates = embedded, []
    if "enter.weight" in state:
        x = _linear(g, state, "enter", x, form, half)
    for layer in range(layers):
        name = f"layers.{layer}."
        attended = _attention(g, state, name, x, penalty, attention_heads, form, half)
        x = norm_nodes(g, state, name + "attended", g.op("Add", x, attended), EPSILON)
        flat = g.op("Reshape", x, g.const(np.array([-1, state["norm.weight"].shape[0]])))
        fed = _dense_part(g, state, name + "experts.", flat, activation, form, half)
        if name + "experts.gate.keys" in state:
            gate = _masked(g, gate_nodes(g, flat, _terms(state, name, k_min, k_max, mass)), column)
            w1, w2 = state[name + "experts.w1"], state[name + "experts.w2"]
            mixed = expert_nodes(g, flat, gate, w1, w2, form=form, k=k_max, activation=activation, half=half)
            fed = g.op("Add", fed, mixed)
            gates.append(gate)
        back = g.op("Reshape", fed, g.op("Shape", x))
        x = norm_nodes(g, state, name + "fed", g.op("Add", x, back), EPSILON)
    return norm_nodes(g, state, "norm", masked_mean(g, x, mask)), gates


def _terms(state: State, name: str, k_min: int, k_max: int, mass: float) -> CosineTerms:
    gate = name + "experts.gate."
    keys, scale, bias = (state[gate + part] for part in ("keys", "scale", "selection_bias"))
    return CosineTerms(keys, float(scale), bias, k_min=k_min, k_max=k_max, mass=mass)


def _masked(g: GraphBuilder, gate: GateNodes, column: str) -> GateNodes:
    return GateNodes(g.op("Mul", gate.share, column), g.op("Mul", gate.total, column))


def _dense_part(
    g: GraphBuilder, state: State, name: str, flat: str, activation: str, form: str, half: bool
) -> str:
    """The part that every token meets, and the bias. Shapes: flat (N, D) -> (N, D)."""
    bias = held(g, state[name + "bias"], half)
    if not state[name + "up"].size:
        return bias
    inner = activation_nodes(g, linear_nodes(g, flat, state[name + "up"], form=form, half=half), activation)
    return g.op("Add", linear_nodes(g, inner, state[name + "down"], form=form, half=half), bias)


def _attention(
    g: GraphBuilder, state: State, name: str, x: str, penalty: str, heads: int, form: str, half: bool
) -> str:
    width = state[name + "qkv.weight"].shape[1]
    each = width // heads
    qkv = _linear(g, state, name + "qkv", x, form, half)
    split = g.op("Reshape", qkv, g.const(np.array([0, 0, 3, heads, each])))
    turned = g.op("Transpose", split, perm=[2, 0, 3, 1, 4])
    query, key, value = (g.op("Gather", turned, g.const(np.array(i)), axis=0) for i in range(3))
    scaled = g.op("Mul", query, g.const(np.float32(each**-0.5)))
    scores = g.op("Add", g.op("MatMul", scaled, g.op("Transpose", key, perm=[0, 1, 3, 2])), penalty)
    mixed = g.op("Transpose", g.op("MatMul", g.op("Softmax", scores, axis=-1), value), perm=[0, 2, 1, 3])
    joined = g.op("Reshape", mixed, g.const(np.array([0, 0, width])))
    return _linear(g, state, name + "out", joined, form, half)


def _linear(g: GraphBuilder, state: State, name: str, x: str, form: str, half: bool) -> str:
    product = linear_nodes(g, x, state[name + ".weight"], form=form, half=half)
    return g.op("Add", product, held(g, state[name + ".bias"], half))
