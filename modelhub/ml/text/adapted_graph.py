"""A served encoder's graph with room for adapters: their weights come in as inputs, and each row says which it wants.

The body's own nodes and bytes stay; beside them each adapted block gains a few nodes that gather every row's matrices out
of a stack and multiply them in one batched product. Place 0 of a stack is all zeros: such a row's terms are exactly zero,
so it is answered to the bit as by the body alone, whoever shares its batch.

Inputs beside the body's: `adapter` (B,) int64; for LoRA and block l `qkv_down.l` (S, D, r), `qkv_up.l` (S, r, 3D),
`out_down.l` (S, D, r), `out_up.l` (S, r, D); for plugin experts `w1.l` (S, D, F), `w2.l` (S, F, D).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from modelhub.ml.adapters.stored import PARTS


class NotAdaptable(ValueError):
    """The graph isn't an encoder whose blocks can be found."""


def input_names(kinds: Iterable[str], layers: Iterable[int]) -> list[str]:
    """Inputs that hold stacks, by name."""
    return [f"{part}.{layer}" for layer in layers for kind in kinds for part in PARTS[kind]]


def layers_of(body: Path) -> int:
    """How many blocks of experts a body has."""
    return sum(node.op_type in ("QMoE", "MoE") for node in onnx.load(str(body)).graph.node)


class _Surgery:
    """Adds nodes to a model in the order in which they compute, and turns users of a value to another."""

    def __init__(self, model: Any) -> None:
        self.model, self.nodes = model, list(model.graph.node)
        self.maker = {name: node for node in self.nodes for name in node.output}
        self._added: dict[int, list[Any]] = {}

    def back(self, name: str, *kinds: str) -> Any:
        """Follow a value back through its makers' first inputs. Raises NotAdaptable."""
        node = None
        for kind in kinds:
            node = self.maker.get(name)
            if node is None or node.op_type != kind:
                raise NotAdaptable(
                    f"expected {kind} before {name}: this body was not written by encoder_graph"
                )
            name = node.input[0]
        return node

    def following(self, name: str, kind: str) -> Any:
        found = [node for node in self.nodes if name in node.input and node.op_type == kind]
        if not found:
            raise NotAdaptable(f"no {kind} follows {name}")
        return found[0]

    def after(self, name: str, made: list[Any]) -> None:
        """Put nodes behind the one that makes this value."""
        place = next(i for i, node in enumerate(self.nodes) if name in node.output)
        self._added.setdefault(place, []).extend(made)

    def finish(self) -> None:
        """Write the nodes back, the added ones in their places."""
        merged = []
        for place, node in enumerate(self.nodes):
            merged += [node, *self._added.get(place, [])]
        del self.model.graph.node[:]
        self.model.graph.node.extend(merged)


def _product(x: str, layer: int, down: str, up: str, inner: str = "") -> tuple[list[Any], str]:
    """x · down[row] · up[row], with GELU between where asked. Shapes: x (B, T, K) -> (B, T, N)."""
    stem = f"adapter.{down}.{layer}"
    nodes = [
        helper.make_node("Gather", [f"{part}.{layer}", "adapter"], [f"{stem}.{part}"], axis=0)
        for part in (down, up)
    ]
    nodes.append(helper.make_node("MatMul", [x, f"{stem}.{down}"], [f"{stem}.low"]))
    low = f"{stem}.low"
    if inner:
        nodes.append(helper.make_node(inner, [low], [f"{stem}.active"], approximate="tanh"))
        low = f"{stem}.active"
    nodes.append(helper.make_node("MatMul", [low, f"{stem}.{up}"], [f"{stem}.delta"]))
    return nodes, f"{stem}.delta"


def _add(cut: _Surgery, value: str, user: Any, x: str, nodes: list[Any], delta: str) -> None:
    """Let `user` read value + delta instead of value."""
    summed = f"{delta}.sum"
    nodes = [*nodes, helper.make_node("Add", [value, delta], [summed])]
    user.input[list(user.input).index(value)] = summed
    cut.after(value, nodes)


def with_adapters(body: Path, kinds: Iterable[str], blocks: int) -> Any:
    """The model with inputs for adapters of these kinds in its topmost blocks. Raises NotAdaptable.

    ValueError for a kind that is unknown or a number of blocks that it hasn't.
    """
    kinds = sorted(set(kinds))
    unknown = [kind for kind in kinds if kind not in PARTS]
    if unknown or not kinds:
        raise ValueError(f"kinds={kinds} must be some of {', '.join(PARTS)}")
    model = onnx.load(str(body))
    cut = _Surgery(model)
    experts = [n for n in cut.nodes if n.op_type in ("QMoE", "MoE")]
    norms = [n for n in cut.nodes if n.op_type == "LayerNormalization"]
    layers = len(experts)
    attention = _attention_products(cut, layers)
    if not layers or len(attention) != layers or len(norms) != 2 * layers + 1:
        raise NotAdaptable(
            f"{body.name} is no encoder of experts in the form qmoe or moe: no adapter inside it can be served"
        )
    if not 1 <= blocks <= layers:
        raise ValueError(f"blocks={blocks} must lie in 1..{layers}")
    width = _width(model, norms[0])
    for layer in range(layers - blocks, layers):
        if "lora" in kinds:
            _lora(cut, layer, *attention[layer], norms[2 * layer])
        if "expert" in kinds:
            _expert(cut, layer, experts[layer], norms[2 * layer + 1])
    cut.finish()
    _declare(model, kinds, range(layers - blocks, layers), width)
    onnx.checker.check_model(model)
    return model


def _attention_products(cut: _Surgery, layers: int) -> list[tuple[Any, Any]]:
    """The products `qkv` and `out` of each block: the first two of a block's products with weights."""
    whole = [n for n in cut.nodes if n.op_type == "MatMulInteger"]
    each = 4  # qkv, out, and the two of the part that every token meets; the gate's is in float32
    if not whole:
        held = {t.name for t in cut.model.graph.initializer}
        held |= {n.output[0] for n in cut.nodes if n.op_type == "Cast" and n.input[0] in held}
        whole, each = [n for n in cut.nodes if n.op_type == "MatMul" and n.input[1] in held], 5
    if len(whole) != each * layers:
        return []
    return [(whole[each * layer], whole[each * layer + 1]) for layer in range(layers)]


def _lora(cut: _Surgery, layer: int, qkv: Any, out: Any, norm: Any) -> None:
    x, biased = _reads(cut, qkv), _biased(cut, qkv)
    _add(cut, biased, cut.following(biased, "Reshape"), x, *_product(x, layer, "qkv_down", "qkv_up"))
    joined = _reads(cut, out)
    _add(cut, norm.input[0], norm, joined, *_product(joined, layer, "out_down", "out_up"))


def _expert(cut: _Surgery, layer: int, experts: Any, norm: Any) -> None:
    x = cut.back(experts.input[0], "Reshape").input[0]
    _add(cut, norm.input[0], norm, x, *_product(x, layer, "w1", "w2", inner="Gelu"))


def _reads(cut: _Surgery, product: Any) -> str:
    """The float value that a product is made from. Shape (B, T, K)."""
    if product.op_type == "MatMul":
        return str(product.input[0])
    return str(cut.back(product.input[0], "Cast", "Add", "Round", "Div", "Reshape").input[0])


def _biased(cut: _Surgery, product: Any) -> str:
    """The product's value with its steps, where it has some, and its bias."""
    name = product.output[0]
    for kind in ("Cast", "Mul", "Mul", "Reshape", "Add") if product.op_type != "MatMul" else ("Add",):
        name = cut.following(name, kind).output[0]
    return str(name)


def _width(model: Any, norm: Any) -> int:
    return next(int(np.prod(t.dims)) for t in model.graph.initializer if t.name == norm.input[1])


def _declare(model: Any, kinds: list[str], layers: Iterable[int], width: int) -> None:
    shapes = {
        "qkv_down": ["S", width, "r"], "qkv_up": ["S", "r", 3 * width], "out_down": ["S", width, "r"],
        "out_up": ["S", "r", width], "w1": ["S", width, "F"], "w2": ["S", "F", width],
    }  # fmt: skip
    model.graph.input.append(helper.make_tensor_value_info("adapter", TensorProto.INT64, ["B"]))
    for name in input_names(kinds, layers):
        shape = shapes[name.partition(".")[0]]
        model.graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))


def write_adapted(body: Path, target: Path, kinds: Iterable[str], blocks: int) -> Path:
    """Write it so that a reader sees the old file or the new one."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    temporary.write_bytes(with_adapters(body, kinds, blocks).SerializeToString())
    os.replace(temporary, target)
    return target
