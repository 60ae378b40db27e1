"""The experts as ONNX nodes, in three forms over one set of weights.

- `unrolled`: standard operators only, one block per expert: NonZero → Gather → products → one ScatterND that adds.
  Any runtime takes it; it is what runs where the two others don't.
- `moe`: ONNX Runtime's contrib `MoE`, float32.
- `qmoe`: its `QMoE`, weights in 8 bits by block, mixing weights handed over beside the selection.

The contrib operators take no list of experts per token, only scores. `MoE` softmaxes the k best of them, so it is given the
logarithm of the weights we want, times their sum; `QMoE` takes the weights themselves as `router_weights`. Both leave out a
pair of weight zero, so a k that varies by token costs what it uses. Read off onnxruntime 1.32: GELU is the tanh
approximation there, SwiGLU wants gate and up rows interleaved, its defaults are not SwiGLU's (alpha 1.702), and NaN in the
input of `QMoE` comes out as ordinary numbers.
"""

from __future__ import annotations

import numpy as np

from modelhub.ml.graph import CONTRIB, GraphBuilder
from modelhub.ml.moe import int8
from modelhub.ml.moe.gate_graph import GateNodes

FORMS = ("unrolled", "moe", "qmoe")
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
        return _unrolled(g, y, gate, w1, w2, activation, half)
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


def _unrolled(
    g: GraphBuilder, y: str, gate: GateNodes, w1: np.ndarray, w2: np.ndarray, activation: str, half: bool
) -> str:
    """One block per expert; T may be zero, and an expert without tokens multiplies an empty matrix."""
    count = len(w1)
    one = g.const(np.array([1]))
    columns = [
        g.op("Squeeze", c, one) for c in g.ops("Split", gate.share, outputs=count, axis=1, num_outputs=count)
    ]
    places, answers = [], []
    for expert, column in enumerate(columns):
        used = g.op("Greater", column, g.const(np.float32(0)))
        rows = g.op("Transpose", g.op("NonZero", used), perm=[1, 0])  # (n, 1)
        flat = g.op("Squeeze", rows, one)
        inner = g.op("MatMul", g.op("Gather", y, flat, axis=0), held(g, w1[expert].T, half))
        outer = g.op("MatMul", activation_nodes(g, inner, activation), held(g, w2[expert].T, half))
        mix = g.op("Unsqueeze", g.op("Gather", column, flat, axis=0), one)
        places.append(rows)
        answers.append(g.op("Mul", outer, mix))
    # A row that is not a number chose nobody: its sum, times zero, makes the whole row NaN.
    none = g.op(
        "Add", g.op("Mul", y, g.const(np.float32(0))), g.op("Mul", gate.total, g.const(np.float32(0)))
    )
    place, answer = g.op("Concat", *places, axis=0), g.op("Concat", *answers, axis=0)
    return g.op("ScatterND", none, place, answer, reduction="add")


def linear_nodes(g: GraphBuilder, x: str, weight: np.ndarray, *, form: str, half: bool = True) -> str:
    """x · weightᵀ, in 8 bits beside 8-bit experts where the depth allows. Shapes: x (T, K), weight (N, K) -> (T, N)."""
    block = int8.block_for(weight.shape[1]) if form == "qmoe" else None
    if block is None:
        return g.op("MatMul", x, held(g, weight.T, half))
    low = int8.quantise(weight, block)
    rows, depth = weight.shape
    packed = low.values.reshape(rows, depth // block, block)
    # accuracy_level 4: activations in 8 bits too, which is what makes it an 8-bit product
    options = {"K": depth, "N": rows, "bits": 8, "block_size": block, "accuracy_level": 4, "domain": CONTRIB}
    return g.op("MatMulNBits", x, g.const(packed), g.const(low.scales), **options)
