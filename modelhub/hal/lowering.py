"""The same graph in the standard's operators alone, for runtimes that lack ONNX Runtime's own: `MoE` is unrolled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from modelhub.hal.graph_facts import GraphRefused, read_graph


def to_standard(graph: Path | str | bytes) -> bytes:
    """Replace every `MoE` by one branch an expert. Raises GraphRefused for other operators beyond the standard."""
    from onnx import helper

    model = read_graph(graph)
    nodes: list[Any] = []
    shapes = {t.name: tuple(t.dims) for t in model.graph.initializer}
    for node in model.graph.node:  # weights held in 16 bits are widened by a Cast
        if node.op_type == "Cast" and node.input[0] in shapes:
            shapes[node.output[0]] = shapes[node.input[0]]
    for number, node in enumerate(model.graph.node):
        if node.domain != "com.microsoft":
            nodes.append(node)
        elif node.op_type == "MoE":
            nodes += _Unrolled(model, node, number, shapes).nodes
        else:
            raise GraphRefused(
                f"{node.op_type} has no form in the standard's operators here: export it without"
            )
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    kept = [entry for entry in model.opset_import if entry.domain != "com.microsoft"]
    del model.opset_import[:]
    model.opset_import.extend(kept or [helper.make_opsetid("", 20)])
    return model.SerializeToString()


class _Unrolled:
    """The nodes that stand for one MoE node: softmax over the chosen k, then find, run and add back for each expert."""

    def __init__(self, model: Any, node: Any, number: int, shapes: dict[str, tuple[int, ...]]) -> None:
        from onnx import helper

        self.helper, self.model, self.prefix, self.count = helper, model, f"moe{number}", 0
        self.nodes: list[Any] = []
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        x, router, w1, w2 = node.input[0], node.input[1], node.input[2], node.input[4]
        extra = [name for place, name in enumerate(node.input) if name and place not in (0, 1, 2, 4)]
        activation = attributes.get("activation_type", b"relu").decode()
        if extra or activation not in ("relu", "gelu", "silu"):
            raise GraphRefused(f"MoE with {', '.join(extra) or activation} has no unrolled form here")
        if w1 not in shapes:
            raise GraphRefused("MoE whose experts are computed in the graph has no unrolled form here")
        share = self._share(
            router, int(attributes.get("k", 1)), bool(attributes.get("normalize_routing_weights", 0))
        )
        total = self.op("Mul", x, self.const(np.float32(0)))
        for expert in range(shapes[w1][0]):
            total = self._expert(expert, x, share, w1, w2, activation, total)
        self.nodes.append(helper.make_node("Identity", [total], [node.output[0]]))

    def const(self, value: Any) -> str:
        from onnx import numpy_helper

        name = self._name("const")
        self.model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def _name(self, stem: str) -> str:
        self.count += 1
        return f"{self.prefix}_{stem.lower()}_{self.count}"

    def op(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        names = [self._name(kind) for _ in range(outputs)]
        self.nodes.append(self.helper.make_node(kind, list(inputs), names, **attributes))
        return names[-1]

    def _share(self, router: str, k: int, normalise: bool) -> str:
        """Mixing weight by token and expert, zero where an expert isn't chosen. Gives the name of a (T, E) value."""
        probabilities = self.op("Softmax", router, axis=-1)
        experts = self.op("TopK", probabilities, self.const(np.array([k], np.int64)), outputs=2, axis=-1)
        weights = self.op("GatherElements", probabilities, experts, axis=1)
        if normalise:
            axis = self.const(np.array([1], np.int64))
            weights = self.op("Div", weights, self.op("ReduceSum", weights, axis, keepdims=1))
        return self.op(
            "ScatterElements",
            self.op("Mul", probabilities, self.const(np.float32(0))),
            experts,
            weights,
            axis=1,
        )

    def _expert(self, expert: int, x: str, share: str, w1: str, w2: str, activation: str, total: str) -> str:
        place = self.const(np.array(expert, np.int64))
        column = self.op("Gather", share, place, axis=1)
        token = self.op("Squeeze", self.op("NonZero", column), self.const(np.array([0], np.int64)))
        group = self.op("Gather", x, token, axis=0)
        inner = self.op(
            "MatMul", group, self.op("Transpose", self.op("Gather", w1, place, axis=0), perm=[1, 0])
        )
        if activation == "silu":
            inner = self.op("Mul", inner, self.op("Sigmoid", inner))
        else:
            inner = self.op({"gelu": "Gelu", "relu": "Relu"}[activation], inner)
        outer = self.op(
            "MatMul", inner, self.op("Transpose", self.op("Gather", w2, place, axis=0), perm=[1, 0])
        )
        axis = self.const(np.array([1], np.int64))
        mixed = self.op("Mul", outer, self.op("Unsqueeze", self.op("Gather", column, token, axis=0), axis))
        return self.op("ScatterND", total, self.op("Unsqueeze", token, axis), mixed, reduction="add")
