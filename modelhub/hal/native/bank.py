"""Experts and a gate in the layout of our own kernels: packed once, called with arrays.

Weights are held in panels of 32 columns, depth by depth: (E, N / 32, K, 32) float32, or (E, N / 32, K / 4, 32, 4) unsigned
bytes around 128 with one step a row of the weights. Activations are rounded to 8 bits row by row, so no answer depends on
who shares its batch. A dense layer is a bank of one expert that every token chooses.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from modelhub.hal.native import build
from modelhub.ml.moe import int8

PANEL, WORD, LINE = 32, 4, 64
MOST_CHOSEN = 64  # experts that a gate may choose for one token
ACTIVATIONS = {"silu": 0, "relu": 1, "gelu_tanh": 2, "swiglu": 3}
FAILURES = {-1: "no memory for the rows of this batch", -2: "an expert outside the bank was chosen"}
_POINTER = ctypes.c_void_p


class KernelFailed(RuntimeError):
    """The kernel refused a call."""


class _Bank(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int32) for name in ("experts", "width", "hidden", "activation", "eight_bits")),
        *((name, _POINTER) for name in ("up", "down", "up_steps", "down_steps")),
    ]  # fmt: skip


class _Gate(ctypes.Structure):
    _fields_ = [
        ("k_min", ctypes.c_int32), ("k_max", ctypes.c_int32), ("mass", ctypes.c_float),
        ("keys", _POINTER), ("bias", _POINTER),
    ]  # fmt: skip


class ExpertBank:
    """The experts of one layer. Shapes: w1 (E, F, D), twice F rows where the activation is gated; w2 (E, D, F).

    Raises ValueError for an activation that the kernel lacks and for shapes that don't fit, NotBuilt without a library.
    """

    def __init__(self, w1: np.ndarray, w2: np.ndarray, activation: str, *, eight_bits: bool) -> None:
        experts, width, hidden = w2.shape
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation={activation!r} has no kernel here: {', '.join(ACTIVATIONS)}")
        rows = hidden * (2 if activation == "swiglu" else 1)
        if w1.shape != (experts, rows, width):
            raise ValueError(f"w1 is {w1.shape}, expected {(experts, rows, width)} beside w2 {w2.shape}")
        if activation == "swiglu" and hidden % PANEL:
            raise ValueError(f"hidden={hidden} must be a multiple of {PANEL} for swiglu")
        self._library = build.library()
        pack = _bytes if eight_bits else _floats
        (up, up_steps), (down, down_steps) = pack(w1), pack(w2)
        self._held = (up, up_steps, down, down_steps)
        self._bank = _Bank(
            experts, width, hidden, ACTIVATIONS[activation], int(eight_bits), *map(_at, (up, down)),
            *(None if steps is None else _at(steps) for steps in (up_steps, down_steps)),
        )  # fmt: skip
        self._place = ctypes.byref(self._bank)
        self.width, self.experts = width, experts

    @property
    def nbytes(self) -> int:
        """Memory of the packed weights."""
        return sum(part.nbytes for part in self._held if part is not None)

    def __call__(self, x: np.ndarray, weights: np.ndarray, experts: np.ndarray) -> np.ndarray:
        """Mix each token's experts; a weight of zero costs nothing, a row that is not finite answers NaN.

        Shapes: x (T, D), weights (T, K), experts (T, K) -> (T, D) float32. Raises ValueError, KernelFailed.
        """
        x, weights = (np.ascontiguousarray(part, np.float32) for part in (x, weights))
        experts = np.ascontiguousarray(experts, np.int64)
        tokens, chosen = weights.shape
        if x.shape != (tokens, self.width) or experts.shape != weights.shape:
            raise ValueError(
                f"x {x.shape}, weights {weights.shape} and experts {experts.shape} must be (T, {self.width}), (T, K), (T, K)"
            )
        y = np.empty_like(x)
        state = self._library.experts_mix(
            self._place, _at(x), _at(weights), _at(experts), tokens, chosen, _at(y)
        )
        if state:
            raise KernelFailed(FAILURES[state])
        return y


class CosineGate:
    """The Dynamic Gating network's gate: unit keys times the scale, a bias on selection, k by mass.

    Shapes: keys (E, D), bias (E,). Raises ValueError, NotBuilt.
    """

    def __init__(
        self, keys: np.ndarray, scale: float, bias: np.ndarray, *, k_min: int = 2, k_max: int = 4, mass: float = 0.4
    ) -> None:  # fmt: skip
        if not 1 <= k_min <= k_max <= min(len(keys), MOST_CHOSEN):
            raise ValueError(f"k_min={k_min}, k_max={k_max} must lie in 1..{min(len(keys), MOST_CHOSEN)}")
        self._library = build.library()
        unit = keys / np.maximum(np.linalg.norm(keys, axis=1, keepdims=True), 1e-12) * scale
        self.experts, self.width, self.k_max = *keys.shape, k_max
        self._held = (_floats(unit[None])[0], _aligned(bias.astype(np.float32)))
        self._gate = _Gate(k_min, k_max, mass, *map(_at, self._held))
        self._place = ctypes.byref(self._gate)

    def __call__(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Shapes: x (T, D) -> weights (T, k_max), zero where a token uses fewer, and experts (T, k_max) int64.

        Raises ValueError, KernelFailed.
        """
        x = np.ascontiguousarray(x, np.float32)
        if x.ndim != 2 or x.shape[1] != self.width:
            raise ValueError(f"x is {x.shape}, expected (T, {self.width})")
        weights = np.empty((len(x), self.k_max), np.float32)
        chosen = np.empty((len(x), self.k_max), np.int64)
        state = self._library.gate_choose(
            self._place, self.experts, self.width, _at(x), len(x), _at(weights), _at(chosen)
        )
        if state:
            raise KernelFailed(FAILURES[state])
        return weights, chosen


def _floats(weight: np.ndarray) -> tuple[np.ndarray, None]:
    """Panels of float32. Shapes: (E, N, K) -> (E, N / 32, K, 32)."""
    padded = _pad(weight.astype(np.float32), 1, PANEL, 0.0)
    experts, rows, depth = padded.shape
    return _aligned(padded.reshape(experts, -1, PANEL, depth).transpose(0, 1, 3, 2)), None


def _bytes(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Panels of bytes and a step for each row. Shapes: (E, N, K) -> (E, N / 32, K / 4, 32, 4), (E, N)."""
    by_row = int8.quantise(weight, weight.shape[-1])
    zero = int8.ZERO_POINT
    padded = _pad(_pad(by_row.values, 1, PANEL, zero), 2, WORD, zero)
    experts, rows, depth = padded.shape
    parts = padded.reshape(experts, rows // PANEL, PANEL, depth // WORD, WORD)
    return _aligned(parts.transpose(0, 1, 3, 2, 4)), _aligned(_pad(by_row.scales[..., 0], 1, PANEL, 0.0))


def _pad(array: np.ndarray, axis: int, to: int, value: float) -> np.ndarray:
    more = [(0, 0)] * array.ndim
    more[axis] = (0, -array.shape[axis] % to)
    return np.pad(array, more, constant_values=value)


def _aligned(array: np.ndarray) -> np.ndarray:
    """A copy in order that begins at a multiple of a cache line, as the kernels' registers are read."""
    room = np.empty(array.nbytes + LINE, np.uint8)
    start = -room.ctypes.data % LINE
    held = room[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    held[...] = array
    return held


def _at(array: np.ndarray) -> Any:
    return array.ctypes.data_as(_POINTER)
