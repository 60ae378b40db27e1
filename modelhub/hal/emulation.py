"""A whole model with another device's numbers: every input of a matrix product rounded to TF32, FP16 or BF16 in the graph.

Sums stay float32, as in a tensor core, a cube unit or an AMX tile. What comes of it is labelled emulated.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from modelhub.hal.graph_facts import read_graph

PRODUCTS = {"MatMul": (0, 1), "Gemm": (0, 1), "MoE": (0, 2, 4)}
_SPLIT = {
    "tf32": 2.0**13 + 1.0,
    "bfloat16": 2.0**16 + 1.0,
}  # Veltkamp's constant: keeps 24 − 13 and 24 − 16 bits


def emulate(graph: Path | str | bytes, dtype: str) -> bytes:
    """The graph with rounded products. Inside an `MoE` its inputs are rounded; between its two products it computes freely.

    Raises KeyError for a format other than tf32, float16, bfloat16; GraphRefused for what isn't a graph.
    """
    if dtype != "float16" and dtype not in _SPLIT:
        raise KeyError(f"{dtype!r} can't be emulated: tf32, float16 or bfloat16")
    from onnx import helper, numpy_helper

    model = read_graph(graph)
    nodes: list[Any] = []
    rounded: dict[str, str] = {}
    if dtype in _SPLIT:
        model.graph.initializer.append(
            numpy_helper.from_array(np.array(_SPLIT[dtype], np.float32), "emulation_split")
        )
    for node in model.graph.node:
        for place in PRODUCTS.get(node.op_type, ()):
            name = node.input[place]
            if name not in rounded:
                rounded[name] = f"{name}_{dtype}"
                nodes += _rounding(helper, name, rounded[name], dtype)
            node.input[place] = rounded[name]
        nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model.SerializeToString()


def _rounding(helper: Any, name: str, target: str, dtype: str) -> list[Any]:
    """float16: there and back. Shorter fractions: c = v·split, c − (c − v) is v rounded to nearest (Dekker 1971)."""
    if dtype == "float16":
        return [
            helper.make_node("Cast", [name], [target + "_half"], to=10),
            helper.make_node("Cast", [target + "_half"], [target], to=1),
        ]
    return [
        helper.make_node("Mul", [name, "emulation_split"], [target + "_c"]),
        helper.make_node("Sub", [target + "_c", name], [target + "_d"]),
        helper.make_node("Sub", [target + "_c", target + "_d"], [target]),
    ]
