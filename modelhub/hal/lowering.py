"""The same graph in the standard's operators alone, for runtimes that lack ONNX Runtime's own: experts are unrolled.

`MoE` keeps its float weights; `QMoE`'s bytes are widened to the float32 weights they stand for, so its answers differ from
the fused operator's by the rounding of activations alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from modelhub.hal.graph_facts import GraphRefused, read_graph
from modelhub.ml.graph import GraphBuilder
from modelhub.ml.moe.expert_graph import unrolled_nodes
from modelhub.ml.moe.gate_graph import GateNodes
from modelhub.ml.moe.int8 import BlockInt8, widen

ACTIVATIONS = {
    "relu": "relu",
    "gelu": "gelu_tanh",
    "silu": "silu",
}  # the contrib operators' GELU is the tanh curve
X, ROUTER, FIRST, SECOND = 0, 1, 2, 4
Q_SCALES_1, Q_SECOND, Q_SCALES_2, Q_ROUTER_WEIGHTS = 3, 5, 6, 14


def to_standard(graph: Path | str | bytes) -> bytes:
    """Replace every `MoE` and `QMoE`. Raises GraphRefused for other operators beyond the standard."""
    from onnx import helper

    model = read_graph(graph)
    lowerings = {"MoE": _moe, "QMoE": _qmoe}
    constants = _Constants(model)
    nodes: list[Any] = []
    for number, node in enumerate(model.graph.node):
        if node.domain != "com.microsoft":
            nodes.append(node)
            continue
        if node.op_type not in lowerings:
            raise GraphRefused(
                f"{node.op_type} has no form in the standard's operators here: export it without"
            )
        g = GraphBuilder(node.op_type, prefix=f"standard{number}_")
        answer = lowerings[node.op_type](g, node, constants)
        made, held = g.parts()
        nodes += [*made, helper.make_node("Identity", [answer], [node.output[0]])]
        model.graph.initializer.extend(held)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    _forget_unused(model)
    kept = [entry for entry in model.opset_import if entry.domain != "com.microsoft"]
    del model.opset_import[:]
    model.opset_import.extend(kept or [helper.make_opsetid("", 20)])
    return model.SerializeToString()


class _Constants:
    """Weights of a graph by name, those in 16 bits that a Cast widens among them."""

    def __init__(self, model: Any) -> None:
        self.held = {t.name: t for t in model.graph.initializer}
        self.widened = {
            node.output[0]: node.input[0]
            for node in model.graph.node
            if node.op_type == "Cast" and node.input[0] in self.held
        }

    def value(self, name: str, operator: str) -> np.ndarray:
        """Raises GraphRefused for a weight that the graph computes."""
        from onnx import numpy_helper

        name = self.widened.get(name, name)
        if name not in self.held:
            raise GraphRefused(
                f"{operator} whose experts are computed in the graph has no unrolled form here"
            )
        return numpy_helper.to_array(self.held[name])


def _options(node: Any, used: tuple[int, ...]) -> dict[str, Any]:
    """Attributes, the activation by its name here. Raises GraphRefused for inputs or activations without a form."""
    from onnx import helper

    found = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    extra = [name for place, name in enumerate(node.input) if name and place not in used]
    activation = found.get("activation_type", b"relu").decode()
    if extra or activation not in ACTIVATIONS:
        raise GraphRefused(f"{node.op_type} with {', '.join(extra) or activation} has no unrolled form here")
    return found | {"activation": ACTIVATIONS[activation]}


def _moe(g: GraphBuilder, node: Any, constants: _Constants) -> str:
    options = _options(node, (X, ROUTER, FIRST, SECOND))
    w1, w2 = (constants.value(node.input[place], "MoE").astype(np.float32) for place in (FIRST, SECOND))
    k, normalise = int(options.get("k", 1)), bool(options.get("normalize_routing_weights", 0))
    gate = _gate(g, node.input[ROUTER], k, normalise)
    return unrolled_nodes(g, node.input[X], gate, w1, w2, options["activation"])


def _gate(g: GraphBuilder, router: str, k: int, normalise: bool) -> GateNodes:
    """The operator's own: softmax over all, the k best kept, their weights made to sum to one where asked."""
    axis = g.const(np.array([1]))
    probabilities = g.op("Softmax", router, axis=-1)
    _, experts = g.ops("TopK", probabilities, g.const(np.array([k])), outputs=2, axis=-1)
    weights = g.op("GatherElements", probabilities, experts, axis=1)
    if normalise:
        weights = g.op("Div", weights, g.op("ReduceSum", weights, axis, keepdims=1))
    none = g.op("Mul", probabilities, g.const(np.float32(0)))
    share = g.op("ScatterElements", none, experts, weights, axis=1)
    return GateNodes(share, g.op("ReduceSum", weights, axis, keepdims=1))


def _qmoe(g: GraphBuilder, node: Any, constants: _Constants) -> str:
    """Weights by block around 128, mixing weights handed over beside the selection, as `expert_graph` writes them."""
    used = (X, ROUTER, FIRST, Q_SCALES_1, Q_SECOND, Q_SCALES_2, Q_ROUTER_WEIGHTS)
    options = _options(node, used)
    if int(options.get("expert_weight_bits", 4)) != 8 or not options.get("block_size"):
        raise GraphRefused("QMoE in other than 8 bits by block has no unrolled form here")
    mixing = node.input[Q_ROUTER_WEIGHTS] if len(node.input) > Q_ROUTER_WEIGHTS else ""
    if mixing != node.input[ROUTER]:
        raise GraphRefused("QMoE that chooses by one table and mixes by another has no unrolled form here")
    banks = [
        widen(
            BlockInt8(
                constants.value(node.input[place], "QMoE"),
                constants.value(node.input[scales], "QMoE"),
                int(options["block_size"]),
            )
        )
        for place, scales in ((FIRST, Q_SCALES_1), (Q_SECOND, Q_SCALES_2))
    ]
    total = g.op("ReduceSum", mixing, g.const(np.array([1])), keepdims=1)
    return unrolled_nodes(
        g, node.input[X], GateNodes(mixing, total), banks[0], banks[1], options["activation"]
    )


def _forget_unused(model: Any) -> None:
    """Leave out what only the replaced operators read: nodes first, then constants."""
    outputs = {value.name for value in model.graph.output}
    wanted = outputs | {name for node in model.graph.node for name in node.input}
    kept = [
        node
        for node in model.graph.node
        if node.op_type != "Cast" or node.output[0] in wanted or node.output[0] in outputs
    ]
    del model.graph.node[:]
    model.graph.node.extend(kept)
    wanted = {name for node in kept for name in node.input} | outputs
    held = [tensor for tensor in model.graph.initializer if tensor.name in wanted]
    del model.graph.initializer[:]
    model.graph.initializer.extend(held)
