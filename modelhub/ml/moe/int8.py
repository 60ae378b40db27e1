"""INT8 weights in the layout of ONNX Runtime's `QMoE`: unsigned bytes around 128, a scale per block."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

ZERO_POINT = 128
BLOCKS = (
    64,
    32,
    16,
)  # the CPU kernels multiply in 8 bits by block; without blocks they widen the weights first


class BlockInt8(NamedTuple):
    """values (…, N, K) uint8, scales (…, N, K / block) float32; a weight is (value − 128) · scale."""

    values: np.ndarray
    scales: np.ndarray
    block: int


def block_for(*depths: int) -> int | None:
    """The largest block that divides every depth, or None: then this layout can't hold the weights."""
    return next((block for block in BLOCKS if all(depth % block == 0 for depth in depths)), None)


def quantise(weight: np.ndarray, block: int) -> BlockInt8:
    """Round to 8 bits, symmetric, one scale for `block` neighbours along the last axis.

    Shapes: weight (…, N, K), K a multiple of `block`. Raises ValueError otherwise, and for weights that aren't finite.
    """
    if weight.shape[-1] % block:
        raise ValueError(f"block={block} must divide the depth of the weights, {weight.shape[-1]}")
    if not np.isfinite(weight).all():
        raise ValueError("the weights hold NaN or infinity: 8 bits would turn them into ordinary numbers")
    parts = weight.astype(np.float32).reshape(*weight.shape[:-1], -1, block)
    scales = np.maximum(np.abs(parts).max(axis=-1) / 127.0, np.float32(1e-12)).astype(np.float32)
    values = np.clip(np.rint(parts / scales[..., None]), -127, 127) + ZERO_POINT
    return BlockInt8(values.astype(np.uint8).reshape(weight.shape), scales, block)


def widen(held: BlockInt8) -> np.ndarray:
    """The float32 weights that the bytes stand for."""
    parts = held.values.astype(np.float32).reshape(*held.scales.shape, held.block) - ZERO_POINT
    return (parts * held.scales[..., None]).reshape(held.values.shape)
