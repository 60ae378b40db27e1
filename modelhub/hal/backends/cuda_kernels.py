"""Triton kernels of the CUDA backend: fused normalisation, linear layers with an epilogue, attention, gate, 8-bit weights.

Importing this file imports Triton, so only `cuda_triton` does, and late. All sums run in float32. `PRECISION` is how float32
operands reach the matrix units: "tf32" rounds them, "tf32x3" adds two correction products and keeps float32's accuracy.
Every array is dense and row-major.
"""

from __future__ import annotations

import triton
import triton.language as tl

NONE, GELU, SILU, RELU = 0, 1, 2, 3
ACTIVATIONS = {"none": NONE, "gelu": GELU, "silu": SILU, "relu": RELU}


@triton.jit
def activate(x, KIND: tl.constexpr):
    """The activation by number; GELU is the exact one."""
    if KIND == 1:
        x = 0.5 * x * (1.0 + tl.erf(x * 0.7071067811865476))
    if KIND == 2:
        x = x * (1.0 / (1.0 + tl.exp(-x)))
    if KIND == 3:
        x = tl.maximum(x, 0.0)
    return x


@triton.jit
def to_tf32(x):
    """float32 rounded to TF32's 10 bits of fraction: the matrix units themselves cut, which shrinks every answer a little."""
    bits = x.to(tl.int32, bitcast=True)
    return ((bits + 0x1000) & -0x2000).to(tl.float32, bitcast=True)


@triton.jit(do_not_specialize=["rows"])
def layernorm_residual(
    x, residual, gain, bias, out, rows, width, eps, ROWS: tl.constexpr, WIDTH: tl.constexpr
):  # fmt: skip
    """out = layernorm(x + residual) · gain + bias, one read of each input and one write. Shapes: (rows, width)."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, WIDTH)
    held = column < width
    inside = (row < rows)[:, None] & held[None, :]
    at = row.to(tl.int64)[:, None] * width + column[None, :]
    total = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    total += tl.load(residual + at, mask=inside, other=0.0).to(tl.float32)
    mean = tl.sum(total, 1) / width
    centred = tl.where(held[None, :], total - mean[:, None], 0.0)
    spread = tl.sum(centred * centred, 1) / width
    normal = centred * (1.0 / tl.sqrt(spread + eps))[:, None]
    g = tl.load(gain + column, mask=held, other=0.0).to(tl.float32)
    b = tl.load(bias + column, mask=held, other=0.0).to(tl.float32)
    tl.store(out + at, (normal * g[None, :] + b[None, :]).to(out.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["elements"])
def bias_activation(x, bias, out, elements, width, KIND: tl.constexpr, BLOCK: tl.constexpr):
    """out = activation(x + bias) in one pass. Shapes: x (…, width), bias (width)."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < elements
    value = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    value += tl.load(bias + at % width, mask=inside, other=0.0).to(tl.float32)
    tl.store(out + at, activate(value, KIND).to(out.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["rows"])
def linear(
    x, w, bias, out, rows, columns, depth,
    KIND: tl.constexpr, PRECISION: tl.constexpr, ROUND: tl.constexpr, EVEN: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, GROUP: tl.constexpr,
):  # fmt: skip
    """out = activation(x · wᵀ + bias): bias and activation are applied while the product is still in registers.

    Shapes: x (rows, depth), w (columns, depth), bias (columns) -> (rows, columns). EVEN: BK divides depth. ROUND: the answer
    goes into a TF32 product next.
    """
    pid = tl.program_id(0)
    blocks_m, blocks_n = tl.cdiv(rows, BM), tl.cdiv(columns, BN)
    band = pid // (GROUP * blocks_n)  # neighbouring programs share rows and columns, so that they meet in L2
    first = band * GROUP
    height = min(blocks_m - first, GROUP)
    block_m = first + (pid % (GROUP * blocks_n)) % height
    block_n = (pid % (GROUP * blocks_n)) // height
    row = block_m * BM + tl.arange(0, BM)
    column = block_n * BN + tl.arange(0, BN)
    k = tl.arange(0, BK)
    in_row, in_column = row < rows, column < columns
    left = x + row.to(tl.int64)[:, None] * depth + k[None, :]
    right = w + column.to(tl.int64)[None, :] * depth + k[:, None]
    total = tl.zeros((BM, BN), dtype=tl.float32)
    for start in range(0, depth, BK):
        if EVEN:
            a = tl.load(left, mask=in_row[:, None], other=0.0)
            b = tl.load(right, mask=in_column[None, :], other=0.0)
        else:
            a = tl.load(left, mask=in_row[:, None] & (k + start < depth)[None, :], other=0.0)
            b = tl.load(right, mask=in_column[None, :] & (k + start < depth)[:, None], other=0.0)
        total = tl.dot(a, b, total, input_precision=PRECISION)
        left += BK
        right += BK
    total += tl.load(bias + column, mask=in_column, other=0.0).to(tl.float32)[None, :]
    at = row.to(tl.int64)[:, None] * columns + column[None, :]
    value = activate(total, KIND)
    if ROUND:
        value = to_tf32(value)
    tl.store(out + at, value.to(out.dtype.element_ty), mask=in_row[:, None] & in_column[None, :])


@triton.jit(do_not_specialize=["rows"])
def int8_weights(
    x, w, scale, out, rows, columns, depth,
    PRECISION: tl.constexpr, EVEN: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """out = x · (w · scale) with w kept in 8 bits until it is in registers: a quarter of float32's bytes.

    Shapes: x (rows, depth), w (depth, columns) int8, scale (columns) float32 -> (rows, columns).
    """
    row = tl.program_id(0) * BM + tl.arange(0, BM)
    column = tl.program_id(1) * BN + tl.arange(0, BN)
    k = tl.arange(0, BK)
    in_row, in_column = row < rows, column < columns
    left = x + row.to(tl.int64)[:, None] * depth + k[None, :]
    right = w + k.to(tl.int64)[:, None] * columns + column[None, :]
    total = tl.zeros((BM, BN), dtype=tl.float32)
    for start in range(0, depth, BK):
        if EVEN:
            a = tl.load(left, mask=in_row[:, None], other=0.0)
            b = tl.load(right, mask=in_column[None, :], other=0)
        else:
            a = tl.load(left, mask=in_row[:, None] & (k + start < depth)[None, :], other=0.0)
            b = tl.load(right, mask=in_column[None, :] & (k + start < depth)[:, None], other=0)
        total = tl.dot(a, b.to(a.dtype), total, input_precision=PRECISION)
        left += BK
        right += BK * columns
    total *= tl.load(scale + column, mask=in_column, other=0.0)[None, :]
    at = row.to(tl.int64)[:, None] * columns + column[None, :]
    tl.store(out + at, total.to(out.dtype.element_ty), mask=in_row[:, None] & in_column[None, :])


@triton.jit(do_not_specialize=["rows"])
def topk_gate(
    logits, bias, weights, chosen, rows, experts, mass,
    K_MIN: tl.constexpr, K_MAX: tl.constexpr, SLOTS: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """Softmax, choice by softmax + bias, count by mass and normalised weights, without leaving the chip.

    Shapes: logits (rows, experts), bias (experts) -> weights (rows, K_MAX) float32, chosen (rows, K_MAX) int64. The first of
    equal scores wins, as it does in a stable sort.
    """
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, WIDTH)
    slot = tl.arange(0, SLOTS)
    in_row, held = row < rows, column < experts
    at = row.to(tl.int64)[:, None] * experts + column[None, :]
    raw = tl.load(logits + at, mask=in_row[:, None] & held[None, :], other=0.0).to(tl.float32)
    raw = tl.where(held[None, :], raw, float("-inf"))
    share = tl.exp(raw - tl.max(raw, 1)[:, None])
    share = share / tl.sum(share, 1)[:, None]
    score = share + tl.load(bias + column, mask=held, other=0.0).to(tl.float32)[None, :]
    score = tl.where(held[None, :], score, float("-inf"))
    mixed = tl.zeros((ROWS, SLOTS), dtype=tl.float32)
    picked = tl.zeros((ROWS, SLOTS), dtype=tl.int32)
    gathered = tl.zeros((ROWS,), dtype=tl.float32)
    for turn in tl.static_range(K_MAX):
        best = tl.argmax(score, 1)
        hit = column[None, :] == best[:, None]
        value = tl.sum(tl.where(hit, share, 0.0), 1)
        score = tl.where(hit, float("-inf"), score)
        if turn < K_MIN:
            kept = value
        else:
            kept = tl.where(gathered < mass, value, 0.0)
        gathered += value
        mine = slot[None, :] == turn
        mixed = tl.where(mine, kept[:, None], mixed)
        picked = tl.where(mine, best[:, None], picked)
    mixed = mixed / tl.sum(mixed, 1)[:, None]
    to = row.to(tl.int64)[:, None] * K_MAX + slot[None, :]
    written = in_row[:, None] & (slot < K_MAX)[None, :]
    tl.store(weights + to, mixed, mask=written)
    tl.store(chosen + to, picked.to(tl.int64), mask=written)


@triton.jit(do_not_specialize=["heads", "length"])
def attention(
    q, k, v, mask, out, heads, length, scale,
    PRECISION: tl.constexpr, ROUND: tl.constexpr, DEPTH: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """softmax(q · kᵀ · scale, keys of mask 0 left out) · v, block by block, scores never written to memory.

    Shapes: q, k, v, out (B, H, S, DEPTH), mask (B, S) of 0 and 1; DEPTH a power of two. The running maximum and sum are those
    of FlashAttention (Dao et al. 2022, arXiv 2205.14135).
    """
    head = tl.program_id(1)
    base = head.to(tl.int64) * length * DEPTH
    row = tl.program_id(0) * BM + tl.arange(0, BM)
    deep = tl.arange(0, DEPTH)
    in_row = row < length
    query = tl.load(q + base + row[:, None] * DEPTH + deep[None, :], mask=in_row[:, None], other=0.0)
    if ROUND:
        query = to_tf32(query)
    highest = tl.full((BM,), -1e30, dtype=tl.float32)
    norm = tl.zeros((BM,), dtype=tl.float32)
    total = tl.zeros((BM, DEPTH), dtype=tl.float32)
    for start in range(0, length, BN):
        column = start + tl.arange(0, BN)
        in_column = column < length
        key = tl.load(k + base + column[None, :] * DEPTH + deep[:, None], mask=in_column[None, :], other=0.0)
        value = tl.load(
            v + base + column[:, None] * DEPTH + deep[None, :], mask=in_column[:, None], other=0.0
        )
        seen = tl.load(mask + (head // heads) * length + column, mask=in_column, other=0.0) > 0
        score = tl.dot(query, key, input_precision=PRECISION) * scale
        score = tl.where(seen[None, :], score, float("-inf"))
        above = tl.maximum(highest, tl.max(score, 1))
        part = tl.exp(score - above[:, None])
        shrink = tl.exp(highest - above)
        norm = norm * shrink + tl.sum(part, 1)
        total = total * shrink[:, None]
        if ROUND:
            part = to_tf32(part)
        total = tl.dot(part.to(value.dtype), value, total, input_precision=PRECISION)
        highest = above
    total = total / norm[:, None]
    at = base + row[:, None] * DEPTH + deep[None, :]
    tl.store(out + at, total.to(out.dtype.element_ty), mask=in_row[:, None])
