"""The gates as ONNX nodes, in float32: the same choice, the same weights, the same order among equals as in torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from modelhub.ml.graph import GraphBuilder

FLOAT, INT64 = 1, 7


class GateNodes(NamedTuple):
    """Names of values. share (T, E): mixing weights, zero where an expert is not used; total (T, 1): their sum.

    A token whose activations are not finite has NaN in both: no expert runs for it, none is counted, and the sum, added
    times zero, makes its whole answer NaN. 8-bit operators would otherwise answer it with ordinary numbers.
    """

    share: str
    total: str


@dataclass(frozen=True, slots=True)
class CosineTerms:
    """What a cosine gate holds. Shapes: keys (E, D), scale a number, bias (E,)."""

    keys: np.ndarray
    scale: float
    bias: np.ndarray
    k_min: int = 2
    k_max: int = 4
    mass: float = 0.4

    @property
    def k(self) -> int:
        return self.k_max


@dataclass(frozen=True, slots=True)
class SigmoidTerms:
    """What a sigmoid gate holds. Shapes: weight (E, D), bias (E,)."""

    weight: np.ndarray
    bias: np.ndarray
    k: int
    n_group: int = 1
    topk_group: int = 1
    norm_topk_prob: bool = True
    routed_scaling_factor: float = 1.0


def gate_nodes(
    g: GraphBuilder, y: str, terms: CosineTerms | SigmoidTerms, shut: str | None = None
) -> GateNodes:
    """Route y (T, D). `shut` (T, E), for a cosine gate: what is added to the logits, far below zero where an expert is shut."""
    return _cosine(g, y, terms, shut) if isinstance(terms, CosineTerms) else _sigmoid(g, y, terms)


def _cosine(g: GraphBuilder, y: str, terms: CosineTerms, shut: str | None) -> GateNodes:
    """For a few tokens nodes cost more than their numbers: one normalises (a row of zeros stays zeros), and a k that is fixed
    asks for no mass."""
    keys = terms.keys.astype(np.float32)
    keys = keys / np.maximum(np.linalg.norm(keys, axis=1, keepdims=True), 1e-12) * np.float32(terms.scale)
    unit = g.op("LpNormalization", y, axis=-1, p=2)
    logits = g.op("MatMul", unit, g.const(np.ascontiguousarray(keys.T)))
    scores = g.op("Softmax", g.op("Add", logits, shut) if shut else logits, axis=-1)
    biased = g.op("Add", scores, g.const(terms.bias.astype(np.float32)))
    _, experts = g.ops("TopK", biased, g.const(np.array([terms.k_max])), outputs=2, axis=-1)
    weights = g.op("GatherElements", scores, experts, axis=1)
    if terms.k_min < terms.k_max:
        before = g.op("CumSum", weights, g.const(np.array(1)), exclusive=1)
        early = g.const((np.arange(terms.k_max) < terms.k_min)[None])
        kept = g.op("Or", early, g.op("Less", before, g.const(np.float32(terms.mass))))
        weights = g.op("Mul", weights, g.op("Cast", kept, to=FLOAT))
    mass = g.op("Max", _row_sum(g, weights), g.const(np.float32(1e-20)))
    return _spread(g, scores, experts, g.op("Div", weights, mass))


def _sigmoid(g: GraphBuilder, y: str, terms: SigmoidTerms) -> GateNodes:
    weight = np.ascontiguousarray(terms.weight.astype(np.float32).T)
    scores = g.op("Sigmoid", g.op("MatMul", y, g.const(weight)))
    choice = g.op("Add", scores, g.const(terms.bias.astype(np.float32)))
    if terms.topk_group < terms.n_group:
        choice = _admit(g, choice, terms)
    _, experts = g.ops("TopK", choice, g.const(np.array([terms.k])), outputs=2, axis=-1)
    weights = g.op("GatherElements", scores, experts, axis=1)
    if terms.norm_topk_prob:
        weights = g.op("Div", weights, g.op("Add", _row_sum(g, weights), g.const(np.float32(1e-20))))
    scaled = g.op("Mul", weights, g.const(np.float32(terms.routed_scaling_factor)))
    # The sigmoid of infinity is one: unlike a cosine, it would let an activation that is not finite pass.
    spoilt = g.op("Mul", _row_sum(g, y), g.const(np.float32(0)))
    return _spread(g, scores, experts, g.op("Add", scaled, spoilt))


def _admit(g: GraphBuilder, choice: str, terms: SigmoidTerms) -> str:
    """Shut out the experts of groups that lost."""
    members = len(terms.bias) // terms.n_group
    groups = g.op("Reshape", choice, g.const(np.array([-1, terms.n_group, members])))
    two, _ = g.ops("TopK", groups, g.const(np.array([2])), outputs=2, axis=-1)
    worth = g.op("ReduceSum", two, g.const(np.array([2])), keepdims=0)
    _, best = g.ops("TopK", worth, g.const(np.array([terms.topk_group])), outputs=2, axis=-1)
    zero = g.op("Mul", g.op("Cast", best, to=FLOAT), g.const(np.float32(0)))
    shut = g.op("Add", g.op("Mul", worth, g.const(np.float32(0))), g.const(np.float32(-np.inf)))
    gate = g.op("Unsqueeze", g.op("ScatterElements", shut, best, zero, axis=1), g.const(np.array([2])))
    return g.op("Reshape", g.op("Add", groups, gate), g.const(np.array([-1, len(terms.bias)])))


def _spread(g: GraphBuilder, scores: str, experts: str, weights: str) -> GateNodes:
    """From one column per choice to one column per expert."""
    none = g.op("Mul", scores, g.const(np.float32(0)))
    return GateNodes(g.op("ScatterElements", none, experts, weights, axis=1), _row_sum(g, weights))


def _row_sum(g: GraphBuilder, x: str) -> str:
    return g.op("ReduceSum", x, g.const(np.array([1])), keepdims=1)


def expert_counts(g: GraphBuilder, gates: list[GateNodes]) -> str:
    """How many tokens used each expert of each layer: the activation log of one batch. Shape: (layers, E) int64."""
    rows = []
    for gate in gates:
        used = g.op("Cast", g.op("Greater", gate.share, g.const(np.float32(0))), to=FLOAT)
        rows.append(g.op("ReduceSum", used, g.const(np.array([0])), keepdims=1))
    return g.op("Cast", g.op("Concat", *rows, axis=0), to=INT64)
