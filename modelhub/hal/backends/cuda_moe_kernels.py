"""Triton kernels for a bank of experts: sort the pairs, one grouped product a side, mix; and the form for a few tokens.

A *pair* is a token and one of its K experts, numbered token · K + slot. Pairs of weight zero are never computed. Every array
is dense and row-major; sums run in float32. Importing this file imports Triton.
"""

from __future__ import annotations

import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait

from modelhub.hal.backends.cuda_kernels import activate, to_tf32


@triton.jit
def after_previous(EARLY: tl.constexpr):
    """Launched EARLY, while the kernel before still runs: wait until what it wrote is there, then let the next one come."""
    if EARLY:
        gdc_wait()
        gdc_launch_dependents()


@triton.jit(do_not_specialize=["pairs", "capacity"])
def sort_pairs(
    weights, chosen, counts, members, pairs, capacity, experts, EARLY: tl.constexpr, BLOCK: tl.constexpr
):
    """Each expert's pairs, in any order, and how many they are; `counts` must be zero before.

    Shapes: weights and chosen (pairs), counts (experts) int32, members (experts, capacity) int32. The order within an
    expert changes no bit of the answer: each row of a product is summed by itself.
    """
    pair = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = pair < pairs
    after_previous(EARLY)
    weight = tl.load(weights + pair, mask=inside, other=0.0)
    expert = tl.load(chosen + pair, mask=inside, other=0).to(tl.int32)
    used = inside & (weight != 0.0) & (expert >= 0) & (expert < experts)
    place = tl.atomic_add(
        counts + expert, 1, mask=used, sem="relaxed"
    )  # a place of its own is all that is asked
    tl.store(members + expert.to(tl.int64) * capacity + place, pair, mask=used)


@triton.jit(do_not_specialize=["capacity", "experts"])
def grouped_linear(
    x, w, out, counts, members, capacity, experts, columns, depth,
    SHARE: tl.constexpr, KIND: tl.constexpr, PRECISION: tl.constexpr, ROUND: tl.constexpr, EVEN: tl.constexpr,
    WIDTH: tl.constexpr, EARLY: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """out[pair] = activation(w[expert of pair] · x[pair // SHARE]) for every pair in use.

    Shapes: x (rows, depth), w (experts, columns, depth), out (pairs, columns), WIDTH a power of two >= experts. SHARE is K
    where x holds tokens and 1 where it holds pairs; ROUND: the answer goes into a TF32 product next. The grid holds the most
    blocks there can be; each program finds its expert from the counts, so nothing is asked of the host.
    """
    pid = tl.program_id(0)
    across = tl.cdiv(columns, BN)
    block, block_n = pid // across, pid % across
    every = tl.arange(0, WIDTH)
    after_previous(EARLY)
    count = tl.load(counts + every, mask=every < experts, other=0)
    blocks = (count + BM - 1) // BM
    ends = tl.cumsum(blocks, 0)
    expert = tl.sum((ends <= block).to(tl.int32), 0)
    if expert >= experts:
        return
    mine = every == expert
    first = tl.sum(tl.where(mine, ends - blocks, 0), 0)
    size = tl.sum(tl.where(mine, count, 0), 0)
    place = (block - first) * BM + tl.arange(0, BM)
    in_row = place < size
    pair = tl.load(members + expert.to(tl.int64) * capacity + place, mask=in_row, other=0)
    column = block_n * BN + tl.arange(0, BN)
    in_column = column < columns
    k = tl.arange(0, BK)
    left = x + (pair // SHARE).to(tl.int64)[:, None] * depth + k[None, :]
    right = w + (expert.to(tl.int64) * columns + column)[None, :] * depth + k[:, None]
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
    value = activate(total, KIND)
    if ROUND:
        value = to_tf32(value)
    at = pair.to(tl.int64)[:, None] * columns + column[None, :]
    tl.store(out + at, value.to(out.dtype.element_ty), mask=in_row[:, None] & in_column[None, :])


@triton.jit
def mix(
    parts, weights, chosen, out, width, experts, K: tl.constexpr, EARLY: tl.constexpr, BLOCK: tl.constexpr
):
    """out[token] = Σ weight · parts[pair], in slot order, so twice the same input gives twice the same bits.

    Shapes: parts (tokens · K, width), weights and chosen (tokens, K), out (tokens, width).
    """
    token = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    total = tl.zeros((BLOCK,), dtype=tl.float32)
    after_previous(EARLY)
    for slot in tl.static_range(K):
        weight = tl.load(weights + token * K + slot).to(tl.float32)
        expert = tl.load(chosen + token * K + slot).to(tl.int32)
        limit = tl.where((weight != 0.0) & (expert >= 0) & (expert < experts), width, 0)
        part = tl.load(parts + (token * K + slot) * width + column, mask=column < limit, other=0.0)
        total += weight * part.to(tl.float32)
    tl.store(out + token * width + column, total.to(out.dtype.element_ty), mask=column < width)


@triton.jit
def few_up(
    x, w, weights, chosen, out, experts, columns, depth,
    K: tl.constexpr, KIND: tl.constexpr, EARLY: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """out[pair] = activation(w[expert] · x[token]) as vector products: for a few tokens, where reading weights is all the time.

    Shapes: x (tokens, depth), w (experts, columns, depth), out (tokens · K, columns) float32. Grid: (pairs, columns / BN).
    """
    pair = tl.program_id(0)
    after_previous(EARLY)
    weight = tl.load(weights + pair)
    expert = tl.load(chosen + pair).to(tl.int32)
    if (weight == 0.0) | (expert < 0) | (expert >= experts):
        return
    column = tl.program_id(1) * BN + tl.arange(0, BN)
    k = tl.arange(0, BK)
    total = tl.zeros((BN, BK), dtype=tl.float32)
    row = x + (pair // K).to(tl.int64) * depth
    tile = w + (expert.to(tl.int64) * columns + column)[:, None] * depth
    for start in range(0, depth, BK):
        held = k + start < depth
        a = tl.load(row + start + k, mask=held, other=0.0).to(tl.float32)
        b = tl.load(tile + (start + k)[None, :], mask=(column < columns)[:, None] & held[None, :], other=0.0)
        total += a[None, :] * b.to(tl.float32)
    value = activate(tl.sum(total, 1), KIND)
    tl.store(out + pair.to(tl.int64) * columns + column, value, mask=column < columns)


@triton.jit
def few_down(
    hidden, w, weights, chosen, out, experts, columns, depth,
    K: tl.constexpr, EARLY: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """out[token] = Σ weight · (w[expert] · hidden[pair]): the second product and the mix in one.

    Shapes: hidden (tokens · K, depth) float32, w (experts, columns, depth), out (tokens, columns). Grid: (tokens, columns / BN).
    """
    token = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BN + tl.arange(0, BN)
    k = tl.arange(0, BK)
    total = tl.zeros((BN, BK), dtype=tl.float32)
    after_previous(EARLY)
    for slot in tl.static_range(K):
        weight = tl.load(weights + token * K + slot).to(tl.float32)
        expert = tl.load(chosen + token * K + slot).to(tl.int32)
        limit = tl.where((weight != 0.0) & (expert >= 0) & (expert < experts), depth, 0)
        tile = w + (expert.to(tl.int64) * columns + column)[:, None] * depth
        row = hidden + (token * K + slot) * depth
        for start in range(0, depth, BK):
            held = k + start < limit
            a = tl.load(row + start + k, mask=held, other=0.0)
            b = tl.load(
                tile + (start + k)[None, :], mask=(column < columns)[:, None] & held[None, :], other=0.0
            )
            total += (weight * a)[None, :] * b.to(tl.float32)
    tl.store(out + token * columns + column, tl.sum(total, 1).to(out.dtype.element_ty), mask=column < columns)
