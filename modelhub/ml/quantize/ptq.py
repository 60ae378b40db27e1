"""Dynamic 8-bit quantisation by ONNX Runtime: weights rounded per channel, activations at run time."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np


def quantise_dynamic(source: Path, target: Path, keep_float: frozenset[str] = frozenset()) -> None:
    """Write an INT8 copy of a float32 graph: matrix products and embedding look-ups, weights per channel.

    `keep_float`: nodes left alone, by the name of their first output.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(str(source))
    for node in model.graph.node:  # the library leaves nodes out by name, and the builder gives none
        node.name = node.name or node.output[0]
    left = [node.name for node in model.graph.node if node.output[0] in keep_float]
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # the library advises a pre-processing step that changes nothing here
    try:
        quantize_dynamic(
            model,
            str(target),
            op_types_to_quantize=["MatMul", "Gather"],
            nodes_to_exclude=left,
            per_channel=True,
            reduce_range=False,
            weight_type=QuantType.QInt8,
            extra_options={"MatMulConstBOnly": True},
        )
    finally:
        root.setLevel(level)


def loss_points(float_right: np.ndarray, int8_right: np.ndarray) -> dict[str, float]:
    """Accuracy lost by quantisation, in points, with the paired 95 % interval. Shapes: (N,) of 0 and 1."""
    from modelhub.ml.fairness.intervals import paired_difference

    lost = paired_difference(float_right, int8_right)
    return {name: round(100 * getattr(lost, name), 3) for name in ("value", "low", "high")}
