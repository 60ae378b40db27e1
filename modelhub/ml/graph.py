"""Writing ONNX graphs by hand: a small builder that names things, and the blocks that models share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 20
CONTRIB = "com.microsoft"  # operators that ONNX Runtime adds to the standard
_TYPES = {"float": TensorProto.FLOAT, "int64": TensorProto.INT64, "int32": TensorProto.INT32}


class GraphBuilder:
    """Collects nodes and constants under fresh names; every method gives the name of what it made.

    `prefix` begins every fresh name, for nodes that go into another graph (`parts`).
    """

    def __init__(self, name: str, prefix: str = "") -> None:
        self.name, self.prefix = name, prefix
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._count = 0

    def _fresh(self, stem: str) -> str:
        self._count += 1
        return f"{self.prefix}{stem}_{self._count}"

    def parts(self) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
        """Nodes in order and constants, as they are so far."""
        return self._nodes, self._constants

    def input(self, name: str, kind: str, shape: list[int | str]) -> str:
        """Declare an input of the graph."""
        self._inputs.append(helper.make_tensor_value_info(name, _TYPES[kind], shape))
        return name

    def output(self, name: str, value: str, kind: str, shape: list[int | str]) -> None:
        """Declare `value` an output of the graph, under `name`."""
        self._nodes.append(helper.make_node("Identity", [value], [name]))
        self._outputs.append(helper.make_tensor_value_info(name, _TYPES[kind], shape))

    def const(self, value: Any, name: str = "const") -> str:
        """Hold an array (or a number) as an initializer."""
        fresh = self._fresh(name)
        self._constants.append(
            numpy_helper.from_array(np.ascontiguousarray(value).reshape(np.shape(value)), fresh)
        )
        return fresh

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output."""
        return self.ops(kind, *inputs, outputs=1, **attributes)[0]

    def ops(self, kind: str, *inputs: str, outputs: int, **attributes: Any) -> list[str]:
        """Add a node with several outputs."""
        names = [self._fresh(kind.lower()) for _ in range(outputs)]
        self._nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names

    def model(self) -> onnx.ModelProto:
        """The finished model, checked by ONNX. Raises onnx.checker.ValidationError."""
        made = helper.make_graph(self._nodes, self.name, self._inputs, self._outputs, self._constants)
        imports = [helper.make_opsetid("", OPSET)]
        if any(node.domain == CONTRIB for node in self._nodes):
            imports.append(helper.make_opsetid(CONTRIB, 1))
        model = helper.make_model(made, opset_imports=imports, producer_name="switchyard", ir_version=10)
        onnx.checker.check_model(model)
        return model

    def save(self, target: Path) -> None:
        """Write the model so that a reader sees the old file or the new one."""
        target = Path(target)
        temporary = target.with_name(f".{target.name}.{os.getpid()}")
        temporary.write_bytes(self.model().SerializeToString())
        os.replace(temporary, target)


def masked_mean(g: GraphBuilder, x: str, maskf: str) -> str:
    """Mean over the tokens that count. Shapes: x (B, T, D), maskf (B, T) float -> (B, D)."""
    column = g.op("Unsqueeze", maskf, g.const(np.array([2])))
    total = g.op("ReduceSum", g.op("Mul", x, column), g.const(np.array([1])), keepdims=0)
    count = g.op("ReduceSum", maskf, g.const(np.array([1])), keepdims=1)
    return g.op("Div", total, g.op("Max", count, g.const(np.float32(1e-9))))
