"""Launching our Triton kernels on torch tensors: tile shapes, grids and outputs. Import it only where Triton is.

Every function takes dense tensors of one device. float32 operands run as "tf32" or, for float32's own accuracy, "tf32x3". For
"tf32" weights should come rounded (`cuda_torch.round_tf32`): the matrix units cut what they aren't given rounded.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
from torch import Tensor
from torch.nn import functional as F

from modelhub.hal.backends import cuda_kernels as kernels
from modelhub.hal.backends import cuda_moe_kernels as moe
from modelhub.hal.backends.cuda_kernels import ACTIVATIONS
from modelhub.hal.backends.cuda_torch import products_in

FEW_PAIRS = 64  # up to here vector products may pay; above, each weight would be read too often
PAIRS_A_PROGRAM = 256


@dataclass(frozen=True, slots=True)
class Tile:
    """A block of the answer (m, n), the depth read at once, warps and loads in flight."""

    m: int
    n: int
    k: int
    warps: int
    stages: int


# Hopper's matrix units take 64 rows at a time from shared memory; fewer rows use the older 16-row instruction.
_HALF = (
    (16, Tile(16, 64, 128, 4, 4)), (32, Tile(32, 64, 128, 4, 4)), (64, Tile(64, 128, 64, 4, 4)),
    (256, Tile(128, 128, 64, 8, 4)),
)  # fmt: skip
_SINGLE = (
    (16, Tile(16, 32, 128, 4, 4)), (32, Tile(32, 64, 64, 4, 4)), (64, Tile(64, 64, 32, 4, 4)),
    (256, Tile(128, 128, 32, 8, 3)),
)  # fmt: skip


def tile_for(rows: float, dtype: torch.dtype, step: int = 0) -> Tile:
    """The tile for a product of so many rows (per expert, where there are experts), or one `step` lower (-1) or taller (1)."""
    table = _SINGLE if dtype == torch.float32 else _HALF
    place = next((index for index, (limit, _) in enumerate(table) if rows <= limit), len(table) - 1)
    return table[max(0, min(len(table) - 1, place + step))][1]


def _early(early: bool) -> dict[str, bool]:
    """Launch options of a kernel that may start while the one before it ends (programmatic dependent launch, Hopper)."""
    return {"launch_pdl": True} if early else {}


def _rounds(x: Tensor, precision: str) -> bool:
    """Do these operands reach the matrix units as TF32?"""
    return x.dtype == torch.float32 and precision == "tf32"


def layernorm_residual(x: Tensor, residual: Tensor, gain: Tensor, bias: Tensor, eps: float) -> Tensor:
    """layernorm(x + residual) · gain + bias. Shapes: x, residual (T, D) -> (T, D)."""
    rows, width = x.shape
    block = triton.next_power_of_2(width)
    together = max(1, min(16, 4096 // block))
    out = torch.empty_like(x)
    kernels.layernorm_residual[(triton.cdiv(rows, together),)](
        x, residual, gain, bias, out, rows, width, eps, ROWS=together, WIDTH=block,
        num_warps=4 if block <= 4096 else 16,
    )  # fmt: skip
    return out


def bias_activation(x: Tensor, bias: Tensor, activation: str) -> Tensor:
    """activation(x + bias) in one pass. Shapes: x (T, F), bias (F) -> (T, F)."""
    out = torch.empty_like(x)
    kernels.bias_activation[(triton.cdiv(x.numel(), 2048),)](
        x, bias, out, x.numel(), x.size(-1), KIND=ACTIVATIONS[activation], BLOCK=2048, num_warps=8
    )
    return out


def linear(x: Tensor, w: Tensor, bias: Tensor, activation: str = "none", precision: str = "tf32") -> Tensor:
    """activation(x · wᵀ + bias). Shapes: x (T, D), w (F, D), bias (F) -> (T, F)."""
    rows, depth = x.shape
    columns = w.size(0)
    tile = tile_for(rows, x.dtype)
    out = torch.empty((rows, columns), dtype=x.dtype, device=x.device)
    grid = (triton.cdiv(rows, tile.m) * triton.cdiv(columns, tile.n),)
    kernels.linear[grid](
        x, w, bias, out, rows, columns, depth, KIND=ACTIVATIONS[activation], PRECISION=precision,
        ROUND=_rounds(x, precision) and activation != "none", EVEN=depth % tile.k == 0, BM=tile.m, BN=tile.n, BK=tile.k,
        GROUP=8, num_warps=tile.warps, num_stages=tile.stages,
    )  # fmt: skip
    return out


def ffn_gelu(x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, precision: str = "tf32") -> Tensor:
    """w2 · gelu(w1 · x + b1) + b2 in two kernels. Shapes: x (T, D), w1 (F, D), w2 (D, F) -> (T, D)."""
    return linear(linear(x, w1, b1, "gelu", precision), w2, b2, "none", precision)


def ffn_one_pass(
    x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, precision: str = "tf32"
) -> Tensor:  # fmt: skip
    """As `ffn_gelu` with torch's products: bias and exact GELU in one pass between them. Shapes as there."""
    with products_in("ieee" if precision == "tf32x3" else "tf32"):
        return F.linear(bias_activation(x @ w1.T, b1, "gelu"), w2, b2)


def int8_matmul(x: Tensor, w: Tensor, scale: Tensor, precision: str = "tf32") -> Tensor:
    """x · (w · scale). Shapes: x (T, K), w (K, N) int8, scale (N) float32 -> (T, N) as x."""
    rows, depth = x.shape
    columns = w.size(1)
    tile = tile_for(rows, x.dtype)
    out = torch.empty((rows, columns), dtype=x.dtype, device=x.device)
    kernels.int8_weights[(triton.cdiv(rows, tile.m), triton.cdiv(columns, tile.n))](
        x, w, scale, out, rows, columns, depth, PRECISION=precision, EVEN=depth % tile.k == 0,
        BM=tile.m, BN=tile.n, BK=tile.k, num_warps=tile.warps, num_stages=tile.stages,
    )  # fmt: skip
    return out


def topk_gate(
    logits: Tensor, bias: Tensor, k_min: int, k_max: int, mass: float
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Weights (T, k_max) float32, zero where left out, and experts (T, k_max) int64. Shapes: logits (T, E), bias (E)."""
    rows, experts = logits.shape
    width = triton.next_power_of_2(experts)
    together = max(1, min(32, 2048 // width))
    weights = torch.empty((rows, k_max), dtype=torch.float32, device=logits.device)
    chosen = torch.empty((rows, k_max), dtype=torch.int64, device=logits.device)
    kernels.topk_gate[(triton.cdiv(rows, together),)](
        logits, bias, weights, chosen, rows, experts, mass, K_MIN=k_min, K_MAX=k_max,
        SLOTS=triton.next_power_of_2(k_max), WIDTH=width, ROWS=together, num_warps=4,
    )  # fmt: skip
    return weights, chosen


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, precision: str = "tf32") -> Tensor:
    """Attention with a mask of keys. Shapes: q, k, v (B, H, S, Dh), Dh a power of two from 16 on, mask (B, S) -> q's."""
    batch, heads, length, depth = q.shape
    half = q.dtype != torch.float32
    rows, across = (64 if half else 32), (64 if half else 32)
    out = torch.empty_like(q)
    kernels.attention[(triton.cdiv(length, rows), batch * heads)](
        q, k, v, mask, out, heads, length, depth**-0.5, PRECISION=precision,
        ROUND=_rounds(q, precision), DEPTH=depth, BM=rows, BN=across,
        num_warps=4, num_stages=2,
    )  # fmt: skip
    return out


def moe_experts(
    x: Tensor, weights: Tensor, experts: Tensor, w1: Tensor, w2: Tensor, activation: str = "silu",
    precision: str = "tf32", step: int = 0, early: bool = False,
) -> Tensor:  # fmt: skip
    """Each token's experts, mixed, as two grouped products over pairs sorted by expert; nothing is asked of the host.

    Shapes: x (T, D), weights (T, K) float32, experts (T, K) int64, w1 (E, F, D), w2 (E, D, F) -> (T, D). `step`: see
    `tile_for`; `early`: each kernel is launched before the one ahead has ended.
    """
    tokens, width = x.shape
    count, k = w1.size(0), experts.size(1)
    pairs = tokens * k
    counts = torch.zeros(count, dtype=torch.int32, device=x.device)
    members = torch.empty((count, pairs), dtype=torch.int32, device=x.device)
    moe.sort_pairs[(triton.cdiv(pairs, PAIRS_A_PROGRAM),)](
        weights,
        experts,
        counts,
        members,
        pairs,
        pairs,
        count,
        EARLY=early,
        BLOCK=PAIRS_A_PROGRAM,
        num_warps=4,
        **_early(early),
    )
    how = _How(counts, members, pairs, precision, tile_for(pairs / count, x.dtype, step), early)
    parts = _grouped(_grouped(x, w1, k, activation, how), w2, 1, "none", how)
    out = torch.empty_like(x)
    block = min(1024, triton.next_power_of_2(width))
    moe.mix[(tokens, triton.cdiv(width, block))](
        parts, weights, experts, out, width, count, K=k, EARLY=early, BLOCK=block, num_warps=max(1, min(4, block // 128)),
        **_early(early),
    )  # fmt: skip
    return out


@dataclass(frozen=True, slots=True)
class _How:
    """What both grouped products share: who is whose, and how to run."""

    counts: Tensor
    members: Tensor
    pairs: int
    precision: str
    tile: Tile
    early: bool


def _grouped(x: Tensor, w: Tensor, share: int, activation: str, how: _How) -> Tensor:
    experts, columns, depth = w.shape
    tile, pairs = how.tile, how.pairs
    blocks = min(pairs, pairs // tile.m + experts)  # the most that any spread of pairs over experts needs
    out = torch.empty((pairs, columns), dtype=x.dtype, device=x.device)
    moe.grouped_linear[(blocks * triton.cdiv(columns, tile.n),)](
        x, w, out, how.counts, how.members, pairs, experts, columns, depth, SHARE=share, KIND=ACTIVATIONS[activation],
        PRECISION=how.precision, ROUND=_rounds(x, how.precision) and activation != "none", EVEN=depth % tile.k == 0,
        WIDTH=max(256, triton.next_power_of_2(experts)), EARLY=how.early, BM=tile.m, BN=tile.n, BK=tile.k,
        num_warps=tile.warps, num_stages=tile.stages, **_early(how.early),
    )  # fmt: skip
    return out


def moe_few(
    x: Tensor, weights: Tensor, experts: Tensor, w1: Tensor, w2: Tensor, activation: str = "silu", early: bool = False
) -> Tensor:  # fmt: skip
    """As `moe_experts`, as vector products in float32: for a few tokens. Shapes as there."""
    tokens, width = x.shape
    count, hidden, k = w1.size(0), w1.size(1), experts.size(1)
    up = torch.empty((tokens * k, hidden), dtype=torch.float32, device=x.device)
    out = torch.empty_like(x)
    moe.few_up[(tokens * k, triton.cdiv(hidden, 8))](
        x, w1, weights, experts, up, count, hidden, width, K=k, KIND=ACTIVATIONS[activation], EARLY=early, BN=8,
        BK=min(512, triton.next_power_of_2(width)), num_warps=4, **_early(early),
    )  # fmt: skip
    moe.few_down[(tokens, triton.cdiv(width, 4))](
        up, w2, weights, experts, out, count, width, hidden, K=k, EARLY=early, BN=4,
        BK=min(1024, triton.next_power_of_2(hidden)), num_warps=4, **_early(early),
    )  # fmt: skip
    return out
