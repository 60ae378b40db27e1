"""The experts as ONNX nodes, in several forms over one set of weights.

- `unrolled`: standard operators only: NonZero → Gather → two products per expert → one ScatterND that adds. Any runtime
  takes it; it is what runs where the contrib operators don't, and often the fastest beyond a few tokens.
- `unrolled_int8`: the same with integer products.
- `moe`: ONNX Runtime's contrib `MoE`, float32.
- `qmoe`: its `QMoE`, weights in 8 bits by block, mixing weights handed over beside the selection.

The contrib operators take no list of experts per token, only scores. `MoE` softmaxes the k best of them, so it is given the
logarithm of the weights we want, times their sum; `QMoE` takes the weights themselves as `router_weights`. Both leave out a
pair of weight zero, so a k that varies by token costs what it uses. Read off onnxruntime 1.32: GELU is the tanh
approximation there, SwiGLU wants gate and up rows interleaved, its defaults are not SwiGLU's (alpha 1.702), and NaN in the
input of `QMoE` comes out as ordinary numbers.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from modelhub.ml.graph import CONTRIB, GraphBuilder
from modelhub.ml.moe import int8
from modelhub.ml.moe.gate_graph import FLOAT, INT64, GateNodes

UINT8 = 2

FORMS = ("unrolled", "moe", "unrolled_int8", "qmoe")
EIGHT_BITS = ("unrolled_int8", "qmoe")
CONTRIB_ACTIVATIONS = {"silu": "silu", "relu": "relu", "gelu_tanh": "gelu", "swiglu": "swiglu"}
GATED = ("swiglu", "geglu")


class FormUnsupported(ValueError):
    """This form can't compute these experts; the unrolled one can."""


def held(g: GraphBuilder, value: np.ndarray, half: bool, name: str = "const") -> str:
    """A weight, kept as float16 and widened once when the session folds constants, or kept as it is."""
    if half:
        return g.op("Cast", g.const(np.asarray(value, np.float16), name), to=1)
    return g.const(np.ascontiguousarray(value, np.float32), name)


def activation_nodes(g: GraphBuilder, inner: str, activation: str) -> str:
    """The non-linearity. Raises ValueError for an unknown one."""
    if activation in GATED:
        gate, up = g.ops("Split", inner, outputs=2, axis=-1, num_outputs=2)
        return g.op("Mul", activation_nodes(g, gate, "silu" if activation == "swiglu" else "gelu"), up)
    if activation == "silu":
        return g.op("Mul", inner, g.op("Sigmoid", inner))
    if activation in ("gelu", "gelu_tanh"):
        return g.op("Gelu", inner, approximate="tanh" if activation == "gelu_tanh" else "none")
    if activation == "relu":
        return g.op("Relu", inner)
    raise ValueError(f"activation={activation!r} has no nodes here")


def expert_nodes(
    g: GraphBuilder, y: str, gate: GateNodes, w1: np.ndarray, w2: np.ndarray,
    *, form: str, k: int, activation: str, half: bool = True,
) -> str:  # fmt: skip
    """Mix each token's experts: y (T, D) -> (T, D). Raises FormUnsupported, ValueError for an unknown form."""
    if form == "unrolled":
        return unrolled_nodes(g, y, gate, w1, w2, activation, half)
    if form == "unrolled_int8":
        return _unrolled_int8(g, y, gate, w1, w2, activation)
    if form not in FORMS:
        raise ValueError(f"form={form!r} is unknown: use one of {', '.join(FORMS)}")
    if activation not in CONTRIB_ACTIVATIONS:
        raise FormUnsupported(f"the operator of form {form} has no exact {activation}: use the unrolled form")
    if activation == "swiglu":
        w1 = np.stack(np.split(w1, 2, axis=1), axis=2).reshape(w1.shape)
    return (_moe if form == "moe" else _qmoe)(g, y, gate, w1, w2, k, activation, half)


def _options(k: int, activation: str) -> dict[str, object]:
    options: dict[str, object] = {
        "k": k,
        "activation_type": CONTRIB_ACTIVATIONS[activation],
        "domain": CONTRIB,
    }
    if activation == "swiglu":
        options |= {"swiglu_fusion": 1, "activation_alpha": 1.0, "activation_beta": 0.0}
    return options


def _moe(
    g: GraphBuilder, y: str, gate: GateNodes, w1: np.ndarray, w2: np.ndarray, k: int, activation: str, half: bool
) -> str:  # fmt: skip
    # The logarithm of zero is minus infinity, whose softmax is zero again: a pair that the kernel then leaves out.
    scores = g.op("Log", gate.share)
    options = _options(k, activation) | {"normalize_routing_weights": 1}
    mixed = g.op("MoE", y, scores, held(g, w1, half), "", held(g, w2, half), **options)
    return g.op("Mul", mixed, gate.total)


def _qmoe(
    g: GraphBuilder, y: str, gate: GateNodes, w1: np.ndarray, w2: np.ndarray, k: int, activation: str, half: bool
) -> str:  # fmt: skip
    block = int8.block_for(w1.shape[-1], w2.shape[-1])
    if block is None:
        raise FormUnsupported(
            f"widths {w1.shape[-1]} and {w2.shape[-1]} are no multiples of {int8.BLOCKS[-1]}: 8-bit experts need blocks"
        )
    first, second = int8.quantise(w1, block), int8.quantise(w2, block)
    weights = [
        g.const(first.values),
        g.const(first.scales),
        "",
        g.const(second.values),
        g.const(second.scales),
    ]
    options = _options(k, activation) | {"expert_weight_bits": 8, "block_size": block, "weights_prepacked": 0}
    unused = [""] * 7  # fc2 bias; fc3 weights, scales and bias; three zero points
    mixed = g.op("QMoE", y, gate.share, *weights, *unused, gate.share, **options)
    return g.op("Add", mixed, g.op("Mul", gate.total, g.const(np.float32(0))))


class _Pairs(NamedTuple):
    """Pairs of token and expert, sorted by expert: both (P,), mix (P, 1), sizes (E,), the pairs of each expert."""

    expert: str
    token: str
    mix: str
    sizes: str


def _pairs(g: GraphBuilder, gate: GateNodes) -> _Pairs:
    """Found by looking along the experts: a NonZero of (E, T) comes out sorted. NaN is not over zero: it pairs nobody."""
    turned = g.op("Transpose", gate.share, perm=[1, 0])
    used = g.op("Greater", turned, g.const(np.float32(0)))
    places = g.op("NonZero", used)  # (2, P): expert, token
    mix = g.op("GatherND", turned, g.op("Transpose", places, perm=[1, 0]))
    sizes = g.op("ReduceSum", g.op("Cast", used, to=INT64), g.const(np.array([1])), keepdims=0)
    expert, token = (g.op("Gather", places, g.const(np.array(row)), axis=0) for row in (0, 1))
    return _Pairs(expert, token, g.op("Unsqueeze", mix, g.const(np.array([1]))), sizes)


def unrolled_nodes(
    g: GraphBuilder,
    y: str,
    gate: GateNodes,
    w1: np.ndarray,
    w2: np.ndarray,
    activation: str,
    half: bool = False,
) -> str:
    """One pair of products per expert; T may be zero, and an expert without tokens multiplies an empty matrix.

    Operators of the standard alone. Against a branch with its own gather and scatter for every expert: 1.0 to 3.3 times as
    quick at 1 to 1,024 tokens, 16 to 200 experts.
    """
    pairs = _pairs(g, gate)

    def products(x: str, bank: np.ndarray) -> str:
        parts = g.ops("Split", x, pairs.sizes, outputs=len(bank), axis=0)
        made = [
            g.op("MatMul", part, held(g, weight.T, half)) for part, weight in zip(parts, bank, strict=True)
        ]
        return g.op("Concat", *made, axis=0)

    inner = products(g.op("Gather", y, pairs.token, axis=0), w1)
    outer = products(activation_nodes(g, inner, activation), w2)
    return _gather_back(g, y, gate, pairs, g.op("Mul", outer, pairs.mix))


def _unrolled_int8(
    g: GraphBuilder, y: str, gate: GateNodes, w1: np.ndarray, w2: np.ndarray, activation: str
) -> str:
    """The same in 8 bits: weights with a scale per row of theirs, activations with one per token, so that no token's
    answer depends on who shares its batch."""
    pairs = _pairs(g, gate)

    def products(low: str, bank: np.ndarray) -> str:
        # The steps of the weights are multiplied once, pair by pair, not expert by expert: for a few tokens the number of
        # nodes is what costs.
        parts = g.ops("Split", low, pairs.sizes, outputs=len(bank), axis=0)
        signed, steps = signed_int8(bank)
        zero = g.const(np.uint8(int8.ZERO_POINT))
        made = [
            g.op("MatMulInteger", part, g.const(np.ascontiguousarray(w.T)), zero)
            for part, w in zip(parts, signed, strict=True)
        ]
        whole = g.op("Cast", g.op("Concat", *made, axis=0), to=FLOAT)
        return g.op("Mul", whole, g.op("Gather", g.const(steps), pairs.expert, axis=0))

    low, step = token_int8(g, y)
    inner = products(g.op("Gather", low, pairs.token, axis=0), w1)
    inner = activation_nodes(g, g.op("Mul", inner, g.op("Gather", step, pairs.token, axis=0)), activation)
    low, step = token_int8(g, inner)
    answer = g.op("Mul", products(low, w2), g.op("Mul", step, pairs.mix))
    return _gather_back(g, y, gate, pairs, answer)


def _gather_back(g: GraphBuilder, y: str, gate: GateNodes, pairs: _Pairs, answer: str) -> str:
    """Sum the pairs' answers by token. A row that is not a number chose nobody: its sum, times zero, makes it NaN."""
    zero = g.const(np.float32(0))
    none = g.op("Add", g.op("Mul", y, zero), g.op("Mul", gate.total, zero))
    place = g.op("Unsqueeze", pairs.token, g.const(np.array([1])))
    return g.op("ScatterND", none, place, answer, reduction="add")


def token_int8(g: GraphBuilder, x: str) -> tuple[str, str]:
    """Round each row to unsigned bytes around 128. Shapes: x (T, K) -> bytes (T, K), the step of each row (T, 1)."""
    most = g.op("ReduceMax", g.op("Abs", x), g.const(np.array([1])), keepdims=1)
    step = g.op("Max", g.op("Mul", most, g.const(np.float32(1 / 127))), g.const(np.float32(1e-12)))
    rounded = g.op("Round", g.op("Div", x, step))
    return g.op("Cast", g.op("Add", rounded, g.const(np.float32(int8.ZERO_POINT))), to=UINT8), step


def signed_int8(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights as signed bytes with one step a row. Shapes: weight (…, N, K) -> int8 (…, N, K), steps (…, N) float32."""
    by_row = int8.quantise(weight, weight.shape[-1])
    return (by_row.values.astype(np.int16) - int8.ZERO_POINT).astype(np.int8), by_row.scales[..., 0]


def linear_nodes(g: GraphBuilder, x: str, weight: np.ndarray, *, form: str, half: bool = True) -> str:
    """x · weightᵀ, in 8 bits beside 8-bit experts. Shapes: x (…, K), weight (N, K) -> (…, N).

    By MatMulInteger: ONNX Runtime's MatMulNBits in 8 bits, which QMoE resembles, was slower at every size tried.
    """
    if form not in EIGHT_BITS:
        return g.op("MatMul", x, held(g, weight.T, half))
    rows, depth = weight.shape
    low, step = token_int8(g, g.op("Reshape", x, g.const(np.array([-1, depth]))))
    signed, steps = signed_int8(weight)
    zero = g.const(np.uint8(int8.ZERO_POINT))
    product = g.op(
        "Cast", g.op("MatMulInteger", low, g.const(np.ascontiguousarray(signed.T)), zero), to=FLOAT
    )
    flat = g.op("Mul", g.op("Mul", product, g.const(steps)), step)
    shape = g.op("Concat", g.op("Shape", x, end=-1), g.const(np.array([rows])), axis=0)
    return g.op("Reshape", flat, shape)
