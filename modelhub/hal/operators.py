"""The operators a model is made of: signature, exact answer in float64, sample inputs, FLOPs and bytes.

A backend is right when it agrees with `reference` here; nothing in this file knows a backend.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from modelhub.hal import golden

Array = np.ndarray
Dims = Mapping[str, int]
Operands = Mapping[str, Array]

ITEM_BYTES = {"float32": 4, "tf32": 4, "float16": 2, "bfloat16": 2, "int8": 1}


class UnknownOperator(KeyError):
    """No operator of that name is known."""


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator.

    `operands`: names in order, each with its dimension letters; `constants`: those a backend may prepare once (weights);
    `dims`: dimension letters with the size used for a default sample; `batch`: the letters that change from call to call, so
    that shape buckets round them; `reference`: operands and attributes in, float64 out (a tuple where `outputs` > 1).
    """

    name: str
    operands: tuple[tuple[str, str], ...]
    constants: tuple[str, ...]
    dims: Mapping[str, int]
    batch: tuple[str, ...]
    reference: Callable[..., Any]
    make: Callable[[Dims, np.random.Generator], dict[str, Array]]
    count_flops: Callable[[Dims], float]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    outputs: int = 1

    @property
    def activations(self) -> tuple[str, ...]:
        """Operands that come with every call, in order."""
        return tuple(name for name, _ in self.operands if name not in self.constants)

    def sample(self, dims: Dims | None = None, seed: int = 0) -> dict[str, Array]:
        """Seeded operands of the given dimensions (missing letters take their default), float32 or integer."""
        return self.make({**self.dims, **(dims or {})}, np.random.default_rng(seed))

    def exact(self, operands: Operands, attributes: Mapping[str, Any] | None = None) -> tuple[Array, ...]:
        """The float64 answer, always as a tuple."""
        found = self.reference(**operands, **{**self.attributes, **(attributes or {})})
        return found if isinstance(found, tuple) else (found,)

    def dims_of(self, operands: Operands) -> dict[str, int]:
        """Dimension sizes read off operands. Raises ValueError when two operands disagree or one has the wrong rank."""
        found: dict[str, int] = {}
        for name, letters in self.operands:
            words = letters.split()
            shape = np.shape(operands[name])
            if len(shape) != len(words):
                raise ValueError(f"{self.name}: {name} has shape {shape}, expected [{', '.join(words)}]")
            for word, size in zip(words, shape, strict=True):
                if found.setdefault(word, int(size)) != size:
                    raise ValueError(
                        f"{self.name}: {name} has {word}={size}, another operand {word}={found[word]}"
                    )
        return found

    def flops(self, dims: Dims) -> float:
        """Multiplications and additions of one call; two a multiply-add."""
        return self.count_flops({**self.dims, **dims})

    def bytes_moved(self, dims: Dims, dtype: str = "float32") -> int:
        """Bytes read and written at least once: all operands, plus an output as large as the first operand."""
        sizes = {**self.dims, **dims}
        counts = [int(np.prod([sizes[word] for word in letters.split()])) for _, letters in self.operands]
        return (sum(counts) + counts[0]) * ITEM_BYTES[dtype]


def _normal(rng: np.random.Generator, *shape: int, scale: float = 1.0) -> Array:
    return (scale * rng.standard_normal(shape)).astype(np.float32)


def _matmul(d: Dims, rng: np.random.Generator) -> dict[str, Array]:
    return {"a": _normal(rng, d["M"], d["K"]), "b": _normal(rng, d["K"], d["N"], scale=d["K"] ** -0.5)}


def _ffn(d: Dims, rng: np.random.Generator) -> dict[str, Array]:
    width, hidden = d["D"], d["F"]
    return {
        "x": _normal(rng, d["T"], width), "w1": _normal(rng, hidden, width, scale=width**-0.5),
        "b1": _normal(rng, hidden, scale=0.1), "w2": _normal(rng, width, hidden, scale=hidden**-0.5),
        "b2": _normal(rng, width, scale=0.1),
    }  # fmt: skip


def _layernorm(d: Dims, rng: np.random.Generator) -> dict[str, Array]:
    return {
        "x": _normal(rng, d["T"], d["D"]), "residual": _normal(rng, d["T"], d["D"]),
        "gain": 1.0 + _normal(rng, d["D"], scale=0.1), "bias": _normal(rng, d["D"], scale=0.1),
    }  # fmt: skip


def _attention(d: Dims, rng: np.random.Generator) -> dict[str, Array]:
    shape = (d["B"], d["H"], d["S"], d["Dh"])
    lengths = rng.integers(max(1, d["S"] // 2), d["S"] + 1, size=d["B"])
    mask = (np.arange(d["S"])[None, :] < lengths[:, None]).astype(np.float32)
    return {
        "q": _normal(rng, *shape, scale=0.5),
        "k": _normal(rng, *shape),
        "v": _normal(rng, *shape),
        "mask": mask,
    }


def _moe(d: Dims, rng: np.random.Generator) -> dict[str, Array]:
    tokens, chosen, experts = d["T"], d["K"], d["E"]
    order = np.argsort(rng.random((tokens, experts)), axis=1)[:, :chosen].astype(np.int64)
    weights = rng.random((tokens, chosen)).astype(np.float32)
    if chosen > 2:  # k differs by token: some use fewer than K experts
        weights[::2, chosen - 1] = 0.0
    weights[tokens // 2 :] /= weights[tokens // 2 :].sum(axis=1, keepdims=True)  # the rest needn't sum to one
    return {
        "x": _normal(rng, tokens, d["D"]), "weights": weights, "experts": order,
        "w1": _normal(rng, experts, d["F"], d["D"], scale=d["D"] ** -0.5),
        "w2": _normal(rng, experts, d["D"], d["F"], scale=d["F"] ** -0.5),
    }  # fmt: skip


def _gate(d: Dims, rng: np.random.Generator) -> dict[str, Array]:
    return {"logits": _normal(rng, d["T"], d["E"], scale=2.0), "bias": _normal(rng, d["E"], scale=0.01)}


def _int8(d: Dims, rng: np.random.Generator) -> dict[str, Array]:
    return {
        "x": _normal(rng, d["T"], d["K"]),
        "w": rng.integers(-127, 128, size=(d["K"], d["N"])).astype(np.int8),
        "scale": (rng.uniform(0.5, 1.5, d["N"]) / (73.0 * d["K"] ** 0.5)).astype(np.float32),
    }


OPERATORS: dict[str, Operator] = {
    operator.name: operator
    for operator in (
        Operator(
            "matmul", (("a", "M K"), ("b", "K N")), ("b",), {"M": 64, "K": 256, "N": 256}, ("M",), golden.matmul, _matmul,
            lambda d: 2.0 * d["M"] * d["K"] * d["N"],
        ),
        Operator(
            "ffn_gelu", (("x", "T D"), ("w1", "F D"), ("b1", "F"), ("w2", "D F"), ("b2", "D")), ("w1", "b1", "w2", "b2"),
            {"T": 64, "D": 256, "F": 1024}, ("T",), golden.ffn_gelu, _ffn,
            lambda d: d["T"] * (4.0 * d["D"] * d["F"] + 9.0 * d["F"] + d["D"]),
        ),
        Operator(
            "layernorm_residual", (("x", "T D"), ("residual", "T D"), ("gain", "D"), ("bias", "D")), ("gain", "bias"),
            {"T": 64, "D": 256}, ("T",), golden.layernorm_residual, _layernorm, lambda d: 9.0 * d["T"] * d["D"], {"eps": 1e-5},
        ),
        Operator(
            "attention", (("q", "B H S Dh"), ("k", "B H S Dh"), ("v", "B H S Dh"), ("mask", "B S")), (),
            {"B": 2, "H": 4, "S": 64, "Dh": 32}, ("B", "S"), golden.attention, _attention,
            lambda d: d["B"] * d["H"] * (4.0 * d["S"] ** 2 * d["Dh"] + 6.0 * d["S"] ** 2),
        ),
        Operator(
            "moe_experts", (("x", "T D"), ("weights", "T K"), ("experts", "T K"), ("w1", "E F D"), ("w2", "E D F")), ("w1", "w2"),
            {"T": 64, "D": 256, "K": 3, "E": 16, "F": 256}, ("T",), golden.moe_experts, _moe,
            lambda d: d["T"] * d["K"] * (4.0 * d["D"] * d["F"] + 5.0 * d["F"] + 2.0 * d["D"]), {"activation": "silu"},
        ),
        Operator(
            "topk_gate", (("logits", "T E"), ("bias", "E")), ("bias",), {"T": 64, "E": 16}, ("T",), golden.topk_gate, _gate,
            lambda d: 6.0 * d["T"] * d["E"], {"k_min": 2, "k_max": 4, "mass": 0.4}, 2,
        ),
        Operator(
            "int8_matmul", (("x", "T K"), ("w", "K N"), ("scale", "N")), ("w", "scale"), {"T": 64, "K": 256, "N": 256}, ("T",),
            golden.int8_matmul, _int8, lambda d: 2.0 * d["T"] * d["K"] * d["N"],
        ),
    )
}  # fmt: skip


def operator(name: str) -> Operator:
    """An operator by name. Raises UnknownOperator."""
    try:
        return OPERATORS[name]
    except KeyError:
        raise UnknownOperator(f"there is no operator {name!r}; known: {', '.join(OPERATORS)}") from None


def bucket(op: Operator, dims: Dims) -> str:
    """The shape class a measurement holds for: batch letters rounded up to a power of two, the others as they are."""
    words = []
    for letter in op.dims:
        size = dims[letter]
        words.append(f"{letter}{1 << max(0, size - 1).bit_length() if letter in op.batch else size}")
    return "-".join(words)
