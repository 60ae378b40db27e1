"""Reading a sparse encoder's 8-bit graph back into weights: for work that starts from the shipped model, not from training.

What `encoder_graph.write_encoder` wrote in the form `qmoe` is read in the order it was written. The weights are those that the
bytes stand for, so a network made of them computes what is served but for the rounding of activations.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from modelhub.ml.moe.body import State
from modelhub.ml.moe.int8 import BlockInt8, widen

NORMS, BIASES, PRODUCTS = (
    ("attended", "fed"),
    ("qkv.bias", "out.bias", "experts.bias"),
    ("qkv.weight", "out.weight", "experts.up", "experts.down"),
)


class NotAnEncoder(ValueError):
    """The graph isn't one that `write_encoder` writes in the form `qmoe`."""


def read_encoder(graph: Path) -> State:
    """The encoder's weights by the names of `modelhub.ml.text.encoder`, heads left out. Raises NotAnEncoder."""
    import onnx
    from onnx import numpy_helper

    try:
        model = onnx.load(str(graph))
    except Exception as error:  # protobuf's own exceptions share no base class with onnx's
        raise NotAnEncoder(f"{Path(graph).name} can't be read as a graph: {error}") from None
    reader = _Reader(
        list(model.graph.node), {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    )
    return reader.state(Path(graph).name)


class _Reader:
    """Nodes in the order they were written, and the constants they read."""

    def __init__(self, nodes: list[Any], held: dict[str, np.ndarray]) -> None:
        self.nodes, self.held = nodes, held
        self.after = {name: node for node in nodes for name in node.input}

    def state(self, name: str) -> State:
        experts = [n for n in self.nodes if n.op_type == "QMoE"]
        found = {
            "products": list(self._products()),
            "biases": list(self._biases()),
            "norms": [n for n in self.nodes if n.op_type == "LayerNormalization"],
            "gates": list(self._gates()),
        }
        layers = len(experts)
        wanted = {"products": 4 * layers, "biases": 3 * layers, "norms": 2 * layers + 1, "gates": layers}
        have = {part: len(values) for part, values in found.items()}
        if not layers or have != wanted:
            raise NotAnEncoder(
                f"{name} is no sparse encoder in 8 bits: {layers} QMoE nodes would come with {wanted}, it has {have}"
            )
        state: State = {}
        for layer, node in enumerate(experts):
            at = f"layers.{layer}."
            for which, value in zip(PRODUCTS, found["products"][4 * layer :], strict=False):
                state[at + which] = value
            for which, value in zip(BIASES, found["biases"][3 * layer :], strict=False):
                state[at + which] = value
            for which, norm in zip(NORMS, found["norms"][2 * layer :], strict=False):
                state[f"{at}{which}.weight"], state[f"{at}{which}.bias"] = self._norm(norm)
            keys, scale, bias = found["gates"][layer]
            state |= {
                f"{at}experts.gate.keys": keys,
                f"{at}experts.gate.scale": scale,
                f"{at}experts.gate.selection_bias": bias,
                f"{at}experts.w1": self._bank(node, 2),
                f"{at}experts.w2": self._bank(node, 5),
            }
        state["norm.weight"], state["norm.bias"] = self._norm(found["norms"][-1])
        return state

    def _products(self) -> Iterator[np.ndarray]:
        """Weights of the whole-number products: bytes by column times the step that the next product applies."""
        for node in self.nodes:
            if node.op_type == "MatMulInteger":
                cast = self.after[node.output[0]]
                steps = self.held[self.after[cast.output[0]].input[1]]
                yield (self.held[node.input[1]].astype(np.float32) * steps).T.copy()

    def _biases(self) -> Iterator[np.ndarray]:
        for node in self.nodes:
            if node.op_type == "Cast" and node.input[0] in self.held:
                yield self.held[node.input[0]].astype(np.float32)

    def _gates(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Keys of length one, the scale they were multiplied by, and the bias that is added to select."""
        for node in self.nodes:
            if node.op_type == "MatMul" and node.input[1] in self.held:
                keys = self.held[node.input[1]].T.astype(np.float32)
                scale = np.linalg.norm(keys, axis=1).mean()
                scores = self.after[node.output[0]].output[0]
                added = next(
                    n
                    for n in self.nodes
                    if n.op_type == "Add" and n.input[0] == scores and n.input[1] in self.held
                )
                yield keys / scale, np.asarray(scale, np.float32), self.held[added.input[1]]

    def _norm(self, node: Any) -> tuple[np.ndarray, np.ndarray]:
        return self.held[node.input[1]], self.held[node.input[2]]

    def _bank(self, node: Any, place: int) -> np.ndarray:
        """An expert bank of a QMoE node. Gives (E, N, K)."""
        values, scales = self.held[node.input[place]], self.held[node.input[place + 1]]
        block = values.shape[-1] // scales.shape[-1]
        return widen(BlockInt8(values, scales, block))
