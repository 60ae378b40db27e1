"""A served text encoder as a torch module: the weights are read back from the 8-bit graph that answers.

What is trained on it is trained against the numbers that are served: weights are exactly those that the graph's bytes
stand for. Two things differ, and both are rounding: the graph also rounds the activations that enter its products to
8 bits, token by token, and the experts' by block. `rounded=True` does the first in torch, too.

It reads what `modelhub.ml.moe.encoder_graph.write_encoder` writes in the form `qmoe`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from modelhub.ml.moe.int8 import BlockInt8, widen
from modelhub.ml.text.encoder import EncoderConfig, SparseEncoder

LINEARS = (
    "qkv",
    "out",
    "experts.up",
    "experts.down",
)  # the integer products of one block, in the order they are written


class NotOurForm(ValueError):
    """The graph isn't an encoder in the form that this module reads."""


@dataclass(frozen=True, slots=True)
class _Graph:
    """Nodes in order, initializers by name, and who uses a value."""

    nodes: list[Any]
    values: dict[str, np.ndarray]
    users: dict[str, list[Any]]

    def of(self, kind: str) -> list[Any]:
        return [node for node in self.nodes if node.op_type == kind]

    def then(self, name: str, *kinds: str) -> Any:
        """Follow a value through its only users of these kinds."""
        node = None
        for kind in kinds:
            found = [user for user in self.users.get(name, []) if user.op_type == kind]
            if not found:
                raise NotOurForm(f"no {kind} follows {name}: this isn't an encoder written by encoder_graph")
            node, name = found[0], found[0].output[0]
        return node


def read_encoder(path: Path) -> tuple[dict[str, np.ndarray], EncoderConfig]:
    """State dictionary (names of `SparseEncoder`, heads left out) and configuration of a body in the form `qmoe`.

    Raises NotOurForm for another graph.
    """
    model = onnx.load(str(path))
    values = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    users: dict[str, list[Any]] = {}
    for node in model.graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    graph = _Graph(list(model.graph.node), values, users)
    experts = graph.of("QMoE")
    products = graph.of("MatMulInteger")
    if not experts or len(products) != len(LINEARS) * len(experts):
        raise NotOurForm(
            f"{path.name} holds {len(experts)} expert operators and {len(products)} integer products; a body of n blocks in "
            f"the form qmoe holds n and {len(LINEARS)}n: there is nothing to fine-tune inside it"
        )
    state = _norms(graph, len(experts))
    for index, node in enumerate(products):
        layer, part = divmod(index, len(LINEARS))
        state |= _linear(graph, node, f"layers.{layer}.{LINEARS[part]}")
    choice = {"k_min": 2, "k_max": 4, "mass": 0.4}
    for layer, node in enumerate(experts):
        state |= _experts(graph, node, f"layers.{layer}.experts.")
    for layer, node in enumerate(graph.of("TopK")):
        gate, choice = _gate(graph, node, f"layers.{layer}.experts.gate.")
        state |= gate
    split = graph.then(products[0].output[0], "Cast", "Mul", "Mul", "Reshape", "Add", "Reshape")
    return state, _config(state, len(experts), int(values[split.input[1]][3]), choice)


def _config(state: dict[str, np.ndarray], layers: int, heads: int, choice: dict[str, Any]) -> EncoderConfig:
    e, f, width = state["layers.0.experts.w1"].shape
    shared = state["layers.0.experts.up"].shape[0]
    return EncoderConfig(
        width=width, layers=layers, attention_heads=heads, experts=e, hidden=f, shared=shared, dropout=0.0, **choice
    )  # fmt: skip


def _norms(graph: _Graph, layers: int) -> dict[str, np.ndarray]:
    found = graph.of("LayerNormalization")
    names = [f"layers.{layer}.{part}" for layer in range(layers) for part in ("attended", "fed")]
    if len(found) != len(names) + 1:
        raise NotOurForm(f"{len(found)} normalisations, expected {len(names) + 1} for {layers} blocks")
    state = {}
    for name, node in zip([*names, "norm"], found, strict=True):
        state |= {
            f"{name}.weight": graph.values[node.input[1]],
            f"{name}.bias": graph.values[node.input[2]],
        }
    return state


def _linear(graph: _Graph, node: Any, name: str) -> dict[str, np.ndarray]:
    """Weight (N, K) and, where the layer has one, its bias. The part of every expert has none of its own but one for all."""
    signed = graph.values[node.input[1]].astype(np.float32)
    scaled = graph.then(node.output[0], "Cast", "Mul")
    weight = np.ascontiguousarray((signed * graph.values[scaled.input[1]]).T)
    if name.endswith("experts.up"):
        return {name: weight}
    added = graph.then(scaled.output[0], "Mul", "Reshape", "Add")
    cast = next((n for n in graph.nodes if n.output[0] == added.input[1]), None)  # 16-bit biases are widened
    bias = graph.values[added.input[1] if cast is None else cast.input[0]].astype(np.float32)
    if name.endswith("experts.down"):
        return {name: weight, name.replace("down", "bias"): bias}
    return {f"{name}.weight": weight, f"{name}.bias": bias}


def _experts(graph: _Graph, node: Any, name: str) -> dict[str, np.ndarray]:
    block = next(a.i for a in node.attribute if a.name == "block_size")
    v = graph.values
    return {
        f"{name}w1": widen(BlockInt8(v[node.input[2]], v[node.input[3]], block)),
        f"{name}w2": widen(BlockInt8(v[node.input[5]], v[node.input[6]], block)),
    }


def _gate(graph: _Graph, top: Any, name: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Keys of length one and the scale that the graph multiplied into them, the selection bias, and how k is chosen."""
    added = next(n for n in graph.nodes if n.output[0] == top.input[0])
    softmax = next(n for n in graph.nodes if n.output[0] == added.input[0])
    product = next(n for n in graph.nodes if n.output[0] == softmax.input[0])
    keys = graph.values[product.input[1]].T
    scale = np.float32(np.linalg.norm(keys[0]))
    state = {
        f"{name}keys": np.ascontiguousarray(keys / scale),
        f"{name}scale": np.array(scale),
        f"{name}selection_bias": graph.values[added.input[1]],
    }
    return state, _choice(graph, top)


def _choice(graph: _Graph, top: Any) -> dict[str, Any]:
    """How k is chosen; a graph whose k is fixed asks for no mass."""
    k = int(graph.values[top.input[1]][0])
    weights = graph.then(top.output[1], "GatherElements").output[0]
    if not any(user.op_type == "CumSum" for user in graph.users[weights]):
        return {"k_min": k, "k_max": k, "mass": 1.0}
    less, kept = graph.then(weights, "CumSum", "Less"), graph.then(weights, "CumSum", "Less", "Or")
    early, mass = graph.values[kept.input[0]], float(graph.values[less.input[1]])
    return {"k_min": int(early.sum()), "k_max": k, "mass": round(mass, 6)}


def open_encoder(path: Path) -> SparseEncoder:
    """The encoder of a served body, frozen and in `eval()`. Raises NotOurForm."""
    state, config = read_encoder(path)
    model = SparseEncoder(config, {})
    model.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in state.items()})
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return model.eval()
