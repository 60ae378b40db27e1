"""Cross-channel equalisation: scale moved from activations to weights, so that 8 bits per tensor serve every channel.

One range has to serve all channels of an activation, and a channel ten times as wide as the rest leaves those with a
tenth of the levels. Where a normalisation stands before products, its gain and shift can be divided channel by channel
and the products' weight rows multiplied by the same: the graph computes what it did, from activations of even widths
(Nagel et al. 2019, arXiv 1906.04721; half of the width is moved, as in Xiao et al. 2023, arXiv 2211.10438).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from modelhub.ml.quantize.static import StoredWeights, products

MOVED = 0.5  # of a channel's width, on a logarithmic scale


def equalise(source: Path, target: Path, largest: dict[str, np.ndarray]) -> list[str]:
    """Write the graph with its channels evened out; gives the activations that were.

    `largest`: activation → (D,) of the largest absolute value each channel took. Only the output of a
    LayerNormalization that feeds nothing but products with stored weights can be changed for free.
    """
    model = onnx.load(str(source))
    stored = StoredWeights(model)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    taken = {product.node: product for product in products(source) if product.kind == "MatMul"}
    evened = []
    for node in model.graph.node:
        out = node.output[0]
        own = [taken.get(reader.output[0]) for reader in readers.get(out, [])]
        if node.op_type != "LayerNormalization" or out not in largest or not own or None in own:
            continue
        held = [*node.input[1:3], *(product.weight for product in own if product)]
        if any(name not in tensors or len(readers[name]) != 1 for name in held):
            continue
        weights = [stored.array(product.weight) for product in own if product]
        scale = _scale(largest[out], weights)
        for name in node.input[1:3]:
            _replace(tensors[name], stored.array(name) / scale)
        for product, weight in zip(own, weights, strict=True):
            assert product is not None
            _replace(tensors[product.weight], weight * scale[:, None])
        evened.append(out)
    Path(target).write_bytes(model.SerializeToString())
    return evened


def _scale(width: np.ndarray, weights: list[np.ndarray]) -> np.ndarray:
    """What each channel is divided by. Shapes: (D,), [(D, N)] -> (D,) with a geometric mean of one."""
    rows = np.max([np.abs(weight).max(axis=1) for weight in weights], axis=0)
    scale = np.maximum(width, 1e-5) ** MOVED / np.maximum(rows, 1e-5) ** (1 - MOVED)
    return (scale / np.exp(np.log(scale).mean())).astype(np.float32)


def _replace(tensor: onnx.TensorProto, value: np.ndarray) -> None:
    tensor.CopyFrom(numpy_helper.from_array(value.astype(np.float32), tensor.name))
