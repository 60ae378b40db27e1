"""A frozen vector a token: the edge student's own table, on the directions along which the tokens in use differ most."""

from __future__ import annotations

from pathlib import Path

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
    scale, zero = _scaled(model, table.name, stored)
    return (values.astype(np.float32) - zero) * scale


def _scaled(model: object, table: str, stored: dict[str, object]) -> tuple[np.ndarray, np.ndarray]:
    """Scale and zero point of rows gathered from a table, as arrays that broadcast against it."""
    from onnx import numpy_helper

    nodes = model.graph.node  # type: ignore[attr-defined]
    rows = {
        out for node in nodes if node.op_type == "Gather" and node.input[0] == table for out in node.output
    }
    for node in nodes:
        if node.op_type == "DequantizeLinear" and node.input[0] in rows | {table}:
            names = [name for name in node.input[1:3] if name in stored]
            scale = numpy_helper.to_array(stored[names[0]]).astype(np.float32)  # type: ignore[arg-type]
            zero = (
                numpy_helper.to_array(stored[names[1]]).astype(np.float32)
                if len(names) > 1
                else np.zeros(1, np.float32)
            )  # type: ignore[arg-type]
            if scale.size == 1:
                return scale.reshape(()), zero.reshape(())
    raise NoTable(f"{table} is whole numbers without one scale for all of them")


def narrowed(vectors: np.ndarray, used: np.ndarray, width: int) -> np.ndarray:
    """Shapes: (V, D), (V,) -> (V, width) float32: centred and turned to the principal directions of tokens as they occur.

    `used`: how often each token was seen; a token counts by the root of it, so that the commonest don't decide alone.
    """
    share = np.sqrt(used.astype(np.float64))
    share /= share.sum()
    centred = vectors.astype(np.float64) - share @ vectors
    _, directions = np.linalg.eigh((centred * share[:, None]).T @ centred)
    return (centred @ directions[:, ::-1][:, :width]).astype(np.float32)
