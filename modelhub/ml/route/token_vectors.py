"""A frozen vector a token: the edge student's own table, on the directions along which the tokens in use differ most."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

LEAST_WIDTH = 8


class NoTable(ValueError):
    """The graph has no table with one row a token."""


def token_vectors(graph: Path, vocabulary: int) -> np.ndarray:
    """(vocabulary, D) float32: what the student's graph looks up first for each token. Raises NoTable.

    The largest matrix with as many rows as there are tokens; in eight bits it is scaled as the graph itself would
    (`DequantizeLinear`). An average of such vectors costs next to nothing, the rest of the graph most of a millisecond.
    """
    import onnx
    from onnx import numpy_helper

    model = onnx.load(str(graph))
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    fitting = [
        t
        for t in stored.values()
        if len(t.dims) == 2 and t.dims[0] == vocabulary and t.dims[1] >= LEAST_WIDTH
    ]
    if not fitting:
        raise NoTable(
            f"{graph.name} has no table of {vocabulary} rows: which of its tensors holds the tokens' vectors?"
        )
    table = max(fitting, key=lambda tensor: int(tensor.dims[1]))
    values = numpy_helper.to_array(table)
    if values.dtype.kind == "f":
        return values.astype(np.float32)
    scale, zero = (_fitting(part, values.shape) for part in _scaled(model, table.name, stored))
    return (values.astype(np.float32) - zero) * scale


def _scaled(model: Any, table: str, stored: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Scale and zero point of a table, or of the rows gathered from it."""
    from onnx import numpy_helper

    rows = {
        out for n in model.graph.node if n.op_type == "Gather" and n.input[0] == table for out in n.output
    }
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in rows | {table}:
            found = [numpy_helper.to_array(stored[name]) for name in node.input[1:3] if name in stored]
            if found:
                scale = found[0].astype(np.float32)
                return scale, found[1].astype(np.float32) if len(found) > 1 else np.zeros_like(scale)
    raise NoTable(f"{table} holds whole numbers and nothing says how large one is")


def _fitting(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """One number for the table, for each row, or for each column, so that it broadcasts against (V, D)."""
    if values.size == 1:
        return values.reshape(())
    if values.size == shape[0]:
        return values.reshape(-1, 1)
    if values.size == shape[1]:
        return values.reshape(1, -1)
    raise NoTable(f"{values.size} scales fit no table of {shape[0]} × {shape[1]}")


def narrowed(vectors: np.ndarray, used: np.ndarray, width: int) -> np.ndarray:
    """Shapes: (V, D), (V,) -> (V, width) float32: centred and turned to the principal directions of tokens as they occur.

    `used`: how often each token was seen; a token counts by the root of it, so that the commonest don't decide alone.
    """
    share = np.sqrt(used.astype(np.float64))
    share /= share.sum()
    centred = vectors.astype(np.float64) - share @ vectors
    _, directions = np.linalg.eigh((centred * share[:, None]).T @ centred)
    return (centred @ directions[:, ::-1][:, :width]).astype(np.float32)
