"""Static 8-bit quantisation: rounding with fixed ranges written into the graph around every chosen matrix product.

Activations are rounded per tensor to the range a calibrator chose, weights per channel. Products with stored weights
are found wherever they are, experts' included; a weight held in 16 bits and widened in the graph counts as stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from modelhub.ml.quantize.calibrate import Range


@dataclass(frozen=True, slots=True)
class Product:
    """A node that multiplies an activation by a stored weight, or looks one up. `node` is its first output's name."""

    node: str
    kind: str
    activation: str
    weight: str


class StoredWeights:
    """Initializers of a graph by name, with those that only a Cast stands before."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        self._casts = {
            node.output[0]: node.input[0]
            for node in model.graph.node
            if node.op_type == "Cast" and node.input[0] in self._tensors
        }

    def __contains__(self, name: str) -> bool:
        return name in self._tensors or name in self._casts

    def array(self, name: str) -> np.ndarray:
        """The weight in float32. Raises KeyError."""
        return numpy_helper.to_array(self._tensors[self._casts.get(name, name)]).astype(np.float32)


def products(path: Path) -> list[Product]:
    """Every node that 8 bits can take over, in the graph's order."""
    model = onnx.load(str(path))
    stored = StoredWeights(model)
    found = []
    for node in model.graph.node:
        if node.op_type == "MatMul" and node.input[1] in stored and stored.array(node.input[1]).ndim == 2:
            found.append(Product(node.output[0], "MatMul", node.input[0], node.input[1]))
        if node.op_type == "Gather" and node.input[0] in stored:
            table = stored.array(node.input[0])
            if table.ndim == 2 and table.size >= 4096 and _float(model, node.input[0]):
                found.append(Product(node.output[0], "Gather", node.input[1], node.input[0]))
    return found


def _float(model: onnx.ModelProto, name: str) -> bool:
    kinds = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    kinds |= {node.output[0]: onnx.TensorProto.FLOAT for node in model.graph.node if node.op_type == "Cast"}
    return kinds.get(name) in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)


def quantise_static(
    source: Path, target: Path, ranges: dict[str, Range], keep_float: frozenset[str] = frozenset()
) -> None:
    """Write an INT8 copy of a float32 graph. `ranges`: activation → what 8 bits hold; `keep_float`: nodes left alone.

    Raises KeyError for a product whose activation has no range.
    """
    model = onnx.load(str(source))
    stored = StoredWeights(model)
    chosen = {product.node: product for product in products(source) if product.node not in keep_float}
    nodes: list[onnx.NodeProto] = []
    rounded: dict[str, str] = {}
    for node in model.graph.node:
        product = chosen.get(node.output[0])
        if product is None:
            nodes.append(node)
            continue
        made, constants = _taken_over(node, product, stored, ranges, rounded)
        nodes += made
        model.graph.initializer.extend(constants)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    _drop_unused(model)
    onnx.checker.check_model(model)
    Path(target).write_bytes(model.SerializeToString())


def _taken_over(
    node: onnx.NodeProto,
    product: Product,
    stored: StoredWeights,
    ranges: dict[str, Range],
    rounded: dict[str, str],
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """The nodes that stand in a product's place, and the constants they need."""
    stem = f"{product.node}/int8"
    weight = stored.array(product.weight)
    if product.kind == "Gather":
        scale = np.float32(max(float(np.abs(weight).max()), 1e-8) / 127)
        table = np.clip(np.rint(weight / scale), -127, 127).astype(np.int8)
        constants = _held({f"{stem}_table": table, f"{stem}_scale": scale, f"{stem}_zero": np.int8(0)})
        looked = helper.make_node("Gather", [f"{stem}_table", node.input[1]], [f"{stem}_row"], axis=0)
        back = [f"{stem}_row", f"{stem}_scale", f"{stem}_zero"]
        return [looked, helper.make_node("DequantizeLinear", back, [node.output[0]])], constants
    scales = np.maximum(np.abs(weight).max(axis=0), 1e-8).astype(np.float32) / np.float32(127)
    rows = np.clip(np.rint(weight / scales), -127, 127).astype(np.int8)
    constants = _held(
        {f"{stem}_weight": rows, f"{stem}_scales": scales, f"{stem}_zeros": np.zeros(len(scales), np.int8)}
    )
    made = []
    if product.activation not in rounded:
        own = f"{product.activation}/int8"
        scale, zero = affine(ranges[product.activation])
        constants += _held({f"{own}_scale": scale, f"{own}_zero": zero})
        made.append(
            helper.make_node("QuantizeLinear", [product.activation, f"{own}_scale", f"{own}_zero"], [own])
        )
        made.append(
            helper.make_node("DequantizeLinear", [own, f"{own}_scale", f"{own}_zero"], [f"{own}_back"])
        )
        rounded[product.activation] = f"{own}_back"
    names = [f"{stem}_weight", f"{stem}_scales", f"{stem}_zeros"]
    made.append(helper.make_node("DequantizeLinear", names, [f"{stem}_wide"], axis=1))
    made.append(helper.make_node("MatMul", [rounded[product.activation], f"{stem}_wide"], [node.output[0]]))
    return made, constants


def affine(span: Range) -> tuple[np.float32, np.uint8]:
    """Scale and zero point of 256 levels over a range; zero itself is always one of them."""
    low, high = min(span[0], 0.0), max(span[1], 0.0)
    scale = max((high - low) / 255, 1e-8)
    return np.float32(scale), np.uint8(np.clip(round(-low / scale), 0, 255))


def _held(values: dict[str, Any]) -> list[onnx.TensorProto]:
    return [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()]


def _drop_unused(model: onnx.ModelProto) -> None:
    """Leave out what nothing reads any more: float weights and the Casts that widened them."""
    wanted = {value.name for value in model.graph.output}
    kept = []
    for node in reversed(model.graph.node):
        if any(name in wanted for name in node.output):
            wanted.update(node.input)
            kept.append(node)
    tensors = [tensor for tensor in model.graph.initializer if tensor.name in wanted]
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(reversed(kept))
    model.graph.initializer.extend(tensors)
