"""What models ask of a device, operator by operator, worked out from their shapes: the planner's other input."""

from __future__ import annotations

from dataclasses import dataclass

from modelhub.hal.operators import OPERATORS
from modelhub.hal.planner import Need, Work


@dataclass(frozen=True, slots=True)
class Shape:
    """An encoder or decoder of `layers` layers on `tokens` tokens; `experts` of hidden `expert_hidden`, `chosen` a token."""

    tokens: int
    layers: int
    width: int
    heads: int
    hidden: int = 0
    experts: int = 0
    expert_hidden: int = 0
    chosen: int = 0
    vocabulary: int = 0


# Shapes of record: ours, and one like DeepSeek-V2-Lite's published configuration, its attention counted as full attention.
SHAPES: dict[str, tuple[Shape, float]] = {  # name → shape, requests a second
    "txt-base": (Shape(tokens=24, layers=6, width=384, heads=12, hidden=1536, experts=32, expert_hidden=128, chosen=3), 200.0),
    "lm-tiny": (Shape(tokens=128, layers=4, width=128, heads=4, experts=16, expert_hidden=128, chosen=4, vocabulary=8192), 20.0),
    "moe-16b": (
        Shape(tokens=512, layers=27, width=2048, heads=16, experts=64, expert_hidden=1408, chosen=6, vocabulary=102_400), 2.0,
    ),
}  # fmt: skip


def parameters(shape: Shape) -> int:
    """Weights, all experts counted."""
    layer = 4 * shape.width**2 + 2 * shape.width * (shape.hidden + shape.experts * shape.expert_hidden)
    return (
        shape.layers * (layer + 4 * shape.width + shape.experts * shape.width)
        + shape.vocabulary * shape.width
    )


def work_of(shape: Shape) -> tuple[Work, ...]:
    """One answer's operators, layers together."""
    t, d = shape.tokens, shape.width
    found = [
        _work("matmul", shape.layers * 4, {"M": t, "K": d, "N": d}, t * d),
        _work("attention", shape.layers, {"B": 1, "H": shape.heads, "S": t, "Dh": d // shape.heads}, t * d),
        _work("layernorm_residual", shape.layers * 2, {"T": t, "D": d}, t * d),
    ]
    if shape.hidden:
        found.append(_work("ffn_gelu", shape.layers, {"T": t, "D": d, "F": shape.hidden}, t * d))
    if shape.experts:
        touched = min(shape.experts, t * shape.chosen)  # weights of experts that no token wants aren't read
        dims = {"T": t, "D": d, "K": shape.chosen, "E": touched, "F": shape.expert_hidden}
        found.append(_work("topk_gate", shape.layers, {"T": t, "E": shape.experts}, t * shape.experts))
        found.append(_work("moe_experts", shape.layers, dims, t * d))
    if shape.vocabulary:
        found.append(_work("matmul", 1, {"M": t, "K": d, "N": shape.vocabulary}, t * d))
    return tuple(found)


def _work(operator: str, times: int, dims: dict[str, int], values: int) -> Work:
    op = OPERATORS[operator]
    return Work(operator, times * op.flops(dims), float(times * op.bytes_moved(dims)), 8.0 * times * values)


def need_of(name: str, shape: Shape, requests_per_s: float) -> Need:
    """A model's need in float32 weights' terms: two bytes a weight, as it is served, and as much again of room to work in."""
    return Need(name, 4 * parameters(shape), work_of(shape), requests_per_s)


def shipped() -> list[Need]:
    """The needs on record."""
    return [need_of(name, shape, rate) for name, (shape, rate) in SHAPES.items()]
