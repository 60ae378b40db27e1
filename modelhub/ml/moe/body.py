"""Writing a Dynamic Gating network as an ONNX graph, from its state dictionary: no torch needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from modelhub.ml.graph import GraphBuilder
from modelhub.ml.moe.expert_graph import activation_nodes, expert_nodes, linear_nodes
from modelhub.ml.moe.gate_graph import CosineTerms, GateNodes, SigmoidTerms, expert_counts, gate_nodes

COUNTS = "expert_counts"  # the activation log's output: (layers, E) int64, tokens by layer and expert
State = dict[str, np.ndarray]


def write_body(
    state: State, target: Path, *, layers: int, mass: float, k_min: int = 2, k_max: int = 4, activation: str = "silu",
    form: str = "moe", counts: bool = False, half: bool = True,
) -> None:  # fmt: skip
    """Write a `GatingClassifier`'s body: `pooled` (N, D) -> `features` (N, D), in one of expert_graph.FORMS.

    `counts` adds the output `expert_counts`; a session asked for `features` alone still computes it unless its run options
    say `only_execute_path_to_fetches`. `half` keeps float weights in 16 bits: round the network to them first.
    Raises FormUnsupported where the form can't compute these experts.
    """
    g = GraphBuilder("dynamic-gating-body")
    width = state["norm.weight"].shape[0]
    pooled = g.input("pooled", "float", ["N", width])
    x, gates = body_nodes(
        g, state, pooled, layers=layers, mass=mass, k_min=k_min, k_max=k_max, activation=activation, form=form, half=half
    )  # fmt: skip
    g.output("features", x, "float", ["N", width])
    if counts:
        experts = state["layers.0.gate.keys"].shape[0]
        g.output(COUNTS, expert_counts(g, gates), "int64", [layers, experts])
    g.save(target)


def body_nodes(
    g: GraphBuilder, state: State, pooled: str, *, layers: int, mass: float, k_min: int, k_max: int, activation: str,
    form: str, half: bool,
) -> tuple[str, list[GateNodes]]:  # fmt: skip
    """The body's nodes, for a graph that goes on from its features. Gives features (N, D) and the gate of each layer."""
    width = state["norm.weight"].shape[0]
    norm = g.op("ReduceL2", pooled, g.const(np.array([1])), keepdims=1)
    unit = g.op("Div", pooled, g.op("Max", norm, g.const(np.float32(1e-12))))
    x = g.op("Mul", unit, g.const(np.float32(width**0.5)))
    gates = []
    for layer in range(layers):
        name = f"layers.{layer}."
        terms = CosineTerms(
            state[name + "gate.keys"], float(state[name + "gate.scale"]), state[name + "gate.selection_bias"],
            k_min=k_min, k_max=k_max, mass=mass,
        )  # fmt: skip
        y = norm_nodes(g, state, name + "norm", x)
        mixed, gate = sparse_nodes(g, state, name, y, terms, activation=activation, form=form, half=half)
        x = g.op("Add", x, mixed)
        gates.append(gate)
    return norm_nodes(g, state, "norm", x), gates


def sparse_nodes(
    g: GraphBuilder, state: State, name: str, y: str, terms: CosineTerms | SigmoidTerms,
    *, activation: str, form: str, half: bool = True, shut: str | None = None,
) -> tuple[str, GateNodes]:  # fmt: skip
    """Gate, experts and the shared expert, if there is one: y (T, D) -> (T, D). Names as in the torch layers."""
    gate = gate_nodes(g, y, terms, shut)
    w1, w2 = state[name + "bank.w1"], state[name + "bank.w2"]
    mixed = expert_nodes(g, y, gate, w1, w2, form=form, k=terms.k, activation=activation, half=half)
    if name + "shared.0.weight" in state:
        inner = linear_nodes(g, y, state[name + "shared.0.weight"], form=form, half=half)
        outer = activation_nodes(g, inner, activation)
        mixed = g.op(
            "Add", mixed, linear_nodes(g, outer, state[name + "shared.2.weight"], form=form, half=half)
        )
    return mixed, gate


def norm_nodes(g: GraphBuilder, state: State, name: str, x: str, epsilon: float = 1e-5) -> str:
    """Layer normalisation with its gain and shift."""
    gain, shift = (g.const(state[f"{name}.{part}"].astype(np.float32)) for part in ("weight", "bias"))
    return g.op("LayerNormalization", x, gain, shift, axis=-1, epsilon=epsilon)
