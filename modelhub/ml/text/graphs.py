"""The graphs of the text models: Dynamic Gating body, head with its wide channel. Weights are held in 16 bits.

16-bit weights are widened when a session is opened.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from modelhub.ml.graph import GraphBuilder
from modelhub.ml.moe import body
from modelhub.ml.text import wide


def half(g: GraphBuilder, value: np.ndarray, name: str = "const") -> str:
    """A weight held as float16 and widened once, when the session folds constants."""
    return g.op("Cast", g.const(np.asarray(value, np.float16), name), to=1)


def write_gating_body(
    state: dict[str, np.ndarray],
    target: Path,
    *,
    layers: int,
    mass: float,
    form: str = "moe",
    counts: bool = False,
) -> None:
    """Write `pooled` (N, 384) -> `features` (N, 384), from the network's state dictionary, in 16 bits.

    `form` and `counts` as in `body.write_body`: how the experts run, and whether the graph tells which were used.
    """
    body.write_body(state, target, layers=layers, mass=mass, form=form, counts=counts)


def write_head(
    target: Path, weight: np.ndarray, bias: np.ndarray, table: wide.WideTable | None, wide_share: float
) -> None:
    """Write `input_ids`, `attention_mask` (N, T), `features` (N, D) -> `logits` (N, L).

    Logits are weight·features + bias + wide_share · wide. Shapes: weight (L, D), bias (L,).
    """
    g = GraphBuilder("head")
    ids = g.input("input_ids", "int64", ["N", "T"])
    mask = g.input("attention_mask", "int64", ["N", "T"])
    features = g.input("features", "float", ["N", weight.shape[1]])
    product = g.op("MatMul", features, half(g, weight.T, "head_weight"))
    logits = g.op("Add", product, g.const(bias.astype(np.float32), "head_bias"))
    if table is not None:
        wide_logits = wide.write_nodes(g, table, ids, mask)
        logits = g.op("Add", logits, g.op("Mul", wide_logits, g.const(np.float32(wide_share), "wide_share")))
    g.output("logits", logits, "float", ["N", len(bias)])
    g.save(target)


@dataclass(frozen=True, slots=True)
class HeadWeights:
    """What a head's graph holds. Shapes: weight (L, D) float32, bias (L,) float32."""

    weight: np.ndarray
    bias: np.ndarray
    table: wide.WideTable
    wide_share: float


def read_head(path: Path) -> HeadWeights:
    """Read back what `write_head` wrote with a wide channel. Raises KeyError for another graph."""
    import onnx
    from onnx import numpy_helper

    held = {
        t.name.rsplit("_", 1)[0]: numpy_helper.to_array(t) for t in onnx.load(str(path)).graph.initializer
    }
    names = ("row", "idf", "wide_weight", "wide_scale", "wide_bias")
    table = wide.WideTable(*(held[name] for name in names))
    weight = held["head_weight"].T.astype(np.float32)
    return HeadWeights(weight, held["head_bias"], table, float(held["wide_share"]))
