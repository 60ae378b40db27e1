"""Writing the Dynamic Gating network over rows as an ONNX graph, in any of the experts' forms.

The graph reads what boosting reads, `features` (N, C), and answers `probabilities` (N, 2), so the runner of the tabular
models serves it as it is. Scaling the columns and shutting the experts of other types are nodes of it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from modelhub.ml.graph import GraphBuilder
from modelhub.ml.moe import int8
from modelhub.ml.moe.body import State, norm_nodes, sparse_nodes
from modelhub.ml.moe.expert_graph import EIGHT_BITS
from modelhub.ml.moe.gate_graph import INT64, CosineTerms
from modelhub.ml.tabular.gating import SHUT, TypedModel

BLOCK = int8.BLOCKS[-1]  # 8-bit experts are held in blocks of at least this


def write_typed(model: TypedModel, target: Path, *, form: str) -> Path:
    """Write `features` (N, C) float32 -> `probabilities` (N, 2). Raises FormUnsupported, ValueError for an unknown form."""
    state = {name: value.detach().numpy() for name, value in model.network.state_dict().items()}
    config, columns = model.network.config, len(model.mean)
    g = GraphBuilder("dynamic-gating-rows")
    features = g.input("features", "float", ["N", columns])
    scaled = g.op("Sub", features, g.const(model.mean.astype(np.float32)))
    x = g.op("Div", scaled, g.const(model.spread.astype(np.float32)))
    x = _linear(g, state, "enter", x)
    shut = None if config.free else _shut_nodes(g, features, state["owner"], config.types)
    for layer in range(config.layers):
        name = f"layers.{layer}."
        terms = CosineTerms(
            state[name + "gate.keys"], float(state[name + "gate.scale"]), state[name + "gate.selection_bias"],
            k_min=config.k_min, k_max=config.k_max, mass=config.mass,
        )  # fmt: skip
        own = _in_blocks(state, name) if form in EIGHT_BITS else state
        y = norm_nodes(g, state, name + "norm", x)
        mixed, _ = sparse_nodes(g, own, name, y, terms, activation="silu", form=form, half=False, shut=shut)
        x = g.op("Add", x, mixed)
    fault = g.op("Sigmoid", _linear(g, state, "head", norm_nodes(g, state, "norm", x)))
    none = g.op("Sub", g.const(np.float32(1)), fault)
    g.output("probabilities", g.op("Concat", none, fault, axis=1), "float", ["N", 2])
    g.save(target)
    return target


def _linear(g: GraphBuilder, state: State, name: str, x: str) -> str:
    weight, bias = state[name + ".weight"], state[name + ".bias"]
    return g.op("Add", g.op("MatMul", x, g.const(np.ascontiguousarray(weight.T))), g.const(bias))


def _shut_nodes(g: GraphBuilder, features: str, owner: np.ndarray, types: int) -> str:
    """What each row adds to its gate's logits: nothing for its own type's experts. Gives (N, E)."""
    table = np.where(owner[None, :] == np.arange(types)[:, None], 0.0, SHUT).astype(np.float32)
    kind = g.op("Cast", g.op("Gather", features, g.const(np.array(0)), axis=1), to=INT64)
    return g.op("Gather", g.const(table), kind, axis=0)


def _in_blocks(state: State, name: str) -> State:
    """The same experts, widened by units that answer zero until 8-bit blocks divide them."""
    first, second = state[name + "bank.w1"], state[name + "bank.w2"]
    lacking = -first.shape[1] % BLOCK
    return state | {
        name + "bank.w1": np.pad(first, ((0, 0), (0, lacking), (0, 0))),
        name + "bank.w2": np.pad(second, ((0, 0), (0, 0), (0, lacking))),
    }
