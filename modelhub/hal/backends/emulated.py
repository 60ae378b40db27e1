"""Another device's numbers on this one: inputs of matrix products rounded to TF32, FP16 or BF16, sums in float32.

It proves that a model survives a device's precision before the device is there. It says nothing about speed, is labelled
emulated wherever it is shown, and is never chosen to serve.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from modelhub.hal import golden
from modelhub.hal.operators import OPERATORS, Dims, Operands
from modelhub.hal.registry import Backend, Implementation, Prepared, Presence

KEPT_BITS = {"tf32": 10, "bfloat16": 7}  # of float32's 23 bits of fraction
DEVICE = "emulated"


def round_to(values: np.ndarray, dtype: str) -> np.ndarray:
    """float32 rounded to the nearest number a format holds, ties to even; what is beyond float16's range becomes infinite.

    Raises KeyError for a format that isn't known.
    """
    values = np.asarray(values, np.float32)
    if dtype == "float32":
        return values
    if dtype == "float16":
        with np.errstate(over="ignore"):
            return values.astype(np.float16).astype(np.float32)
    drop = 23 - KEPT_BITS[dtype]
    bits = values.view(np.uint32)
    even = (bits >> np.uint32(drop)) & np.uint32(1)
    rounded = (bits + (np.uint32((1 << (drop - 1)) - 1) + even)) & np.uint32(~((1 << drop) - 1) & 0xFFFFFFFF)
    return np.where(np.isfinite(values), rounded.view(np.float32), values)


def product(a: np.ndarray, b: np.ndarray, dtype: str) -> np.ndarray:
    """a @ b as a matrix unit of that format does it: rounded inputs, float32 sums; weights come rounded already."""
    return round_to(a, dtype) @ b


class Emulated:
    name, device = DEVICE, DEVICE

    def presence(self) -> Presence:
        return Presence(True, "numpy; the numbers of other devices, never their speed", np.__version__)

    def implementations(self) -> Sequence[Implementation]:
        return [
            Implementation(name, self.name, self.device, dtype, partial(_prepare, name, dtype), priority=-200, emulated=True)
            for name in _STEPS for dtype in ("tf32", "float16", "bfloat16")
        ]  # fmt: skip


def _prepare(
    name: str, dtype: str, constants: Operands, attributes: Mapping[str, Any], dims: Dims
) -> Prepared:
    op = OPERATORS[name]
    narrow = {key: round_to(value, dtype) if value.ndim > 1 else value for key, value in constants.items()}

    def run(*activations: np.ndarray) -> np.ndarray:
        operands = {**dict(zip(op.activations, activations, strict=True)), **narrow}
        return _STEPS[name](dtype, operands, attributes).astype(np.float32)

    return Prepared(run)


def _matmul(dtype: str, x: Operands, attributes: Mapping[str, Any]) -> np.ndarray:
    return product(x["a"], x["b"], dtype)


def _ffn_gelu(dtype: str, x: Operands, attributes: Mapping[str, Any]) -> np.ndarray:
    inner = golden.gelu(product(x["x"], x["w1"].T, dtype) + x["b1"])
    return product(inner, x["w2"].T, dtype) + x["b2"]


def _attention(dtype: str, x: Operands, attributes: Mapping[str, Any]) -> np.ndarray:
    scores = product(x["q"], round_to(x["k"], dtype).swapaxes(-1, -2), dtype) / np.float32(
        np.sqrt(x["q"].shape[-1])
    )
    scores = np.where(x["mask"][:, None, None, :] > 0, scores, -np.inf)
    return product(golden.softmax(scores), round_to(x["v"], dtype), dtype)


def _moe_experts(dtype: str, x: Operands, attributes: Mapping[str, Any]) -> np.ndarray:
    act, out = golden.ACTIVATIONS[attributes["activation"]], np.zeros_like(x["x"])
    for expert in range(len(x["w1"])):
        mix = np.where(x["experts"] == expert, x["weights"], 0.0).sum(axis=1)
        rows = np.flatnonzero(mix)
        if len(rows):
            inner = act(product(x["x"][rows], x["w1"][expert].T, dtype))
            out[rows] += mix[rows, None] * product(inner, x["w2"][expert].T, dtype)
    return out


_STEPS = {"matmul": _matmul, "ffn_gelu": _ffn_gelu, "attention": _attention, "moe_experts": _moe_experts}


def backends() -> list[Backend]:
    return [Emulated()]
