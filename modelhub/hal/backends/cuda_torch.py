"""The operators on CUDA through torch's own kernels (cuBLAS, cuBLASLt, CUTLASS, fused attention), and as chains of single steps.

The chains, `*_steps`, are what fusion is compared with. Nothing here needs Triton, and everything but the 8-bit product also
runs on a CPU tensor, which is how the tests reach it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import functional as F

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"gelu": F.gelu, "silu": F.silu, "relu": F.relu}


@contextmanager
def products_in(precision: str) -> Iterator[None]:
    """float32 products in "ieee" or "tf32" for as long as the block lasts."""
    knob = torch.backends.cuda.matmul
    before = knob.fp32_precision
    knob.fp32_precision = precision
    try:
        yield
    finally:
        knob.fp32_precision = before


def round_tf32(x: Tensor) -> Tensor:
    """float32 rounded to TF32's 10 bits of fraction, kept as float32."""
    return ((x.contiguous().view(torch.int32) + 0x1000) & -0x2000).view(torch.float32)


# --- dense --------------------------------------------------------------------------------------------------------------


def matmul(a: Tensor, b: Tensor) -> Tensor:
    """Shapes: a (M, K), b (K, N) -> (M, N)."""
    return a @ b


def ffn_steps(x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
    """Five kernels: product, bias, GELU, product, bias. Shapes: x (T, D), w1 (F, D), w2 (D, F) -> (T, D)."""
    return F.gelu(x @ w1.T + b1) @ w2.T + b2


def ffn_eager(x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
    """Three kernels: torch's linear layers add their bias inside the product. Shapes as `ffn_steps`."""
    return F.linear(F.gelu(F.linear(x, w1, b1)), w2, b2)


def ffn_lt(x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
    """Two kernels: cuBLASLt applies bias and GELU in the product. Its GELU is the tanh curve, up to 5e-4 from the exact one,
    so this form is no float32 form. Shapes as `ffn_steps`."""
    return F.linear(torch._addmm_activation(b1, x, w1.T, use_gelu=True), w2, b2)


def layernorm_steps(x: Tensor, residual: Tensor, gain: Tensor, bias: Tensor, eps: float) -> Tensor:
    """The sum, its mean, its spread, scaling and shift as single kernels. Shapes: (T, D) -> (T, D)."""
    total = (x + residual).float()
    centred = total - total.mean(-1, keepdim=True)
    normal = centred * torch.rsqrt(centred.square().mean(-1, keepdim=True) + eps)
    return (normal * gain.float() + bias.float()).to(x.dtype)


def layernorm_eager(x: Tensor, residual: Tensor, gain: Tensor, bias: Tensor, eps: float) -> Tensor:
    """Two kernels: the sum, then torch's layer norm. Shapes: (T, D) -> (T, D)."""
    return F.layer_norm(x + residual, x.shape[-1:], gain, bias, eps)


# --- attention ----------------------------------------------------------------------------------------------------------


def attention_steps(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """Scores, scale, mask, softmax, product. Shapes: q, k, v (B, H, S, Dh), mask (B, S) -> (B, H, S, Dh)."""
    scores = (q @ k.transpose(-1, -2)) * q.size(-1) ** -0.5
    scores = scores.masked_fill(mask[:, None, None, :] <= 0, float("-inf"))
    return scores.softmax(-1) @ v


def attention_fused(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """torch's fused attention, whichever kernel it picks for a mask of keys. Shapes as `attention_steps`."""
    return F.scaled_dot_product_attention(q, k, v, attn_mask=(mask > 0)[:, None, None, :])


# --- gate ---------------------------------------------------------------------------------------------------------------


def gate_steps(logits: Tensor, bias: Tensor, k_min: int, k_max: int, mass: float) -> tuple[Tensor, Tensor]:
    """The gate as torch writes it. Shapes: logits (T, E), bias (E) -> weights (T, k_max) float32, experts (T, k_max) int64."""
    share = logits.float().softmax(-1)
    experts = (share + bias).topk(k_max, dim=-1).indices
    weights = share.gather(-1, experts)
    before = weights.cumsum(-1) - weights
    place = torch.arange(k_max, device=logits.device)
    weights = weights * ((place < k_min) | (before < mass))
    return weights / weights.sum(-1, keepdim=True), experts


# --- experts ------------------------------------------------------------------------------------------------------------


def moe_loop(
    x: Tensor, weights: Tensor, experts: Tensor, w1: Tensor, w2: Tensor, activation: str = "silu"
) -> Tensor:
    """One expert after the other, as a model is usually written: the host asks the device for each expert's tokens.

    Shapes: x (T, D), weights and experts (T, K), w1 (E, F, D), w2 (E, D, F) -> (T, D).
    """
    act = ACTIVATIONS[activation]
    out = torch.zeros_like(x)
    for expert in range(w1.size(0)):
        token, slot = torch.nonzero((experts == expert) & (weights != 0), as_tuple=True)
        if len(token):
            part = act(x[token] @ w1[expert].T) @ w2[expert].T
            out.index_add_(0, token, part * weights[token, slot, None].to(x.dtype))
    return out


def moe_gathered(
    x: Tensor, weights: Tensor, experts: Tensor, w1: Tensor, w2: Tensor, activation: str = "silu"
) -> Tensor:
    """Every pair's weights gathered, then batched products: moves K times the weights, so only for very few tokens. Shapes as
    `moe_loop`."""
    hidden = ACTIVATIONS[activation](torch.einsum("td,tkfd->tkf", x, w1[experts]))
    parts = torch.einsum("tkf,tkdf->tkd", hidden, w2[experts])
    return (parts * weights[..., None].to(x.dtype)).sum(1)


def moe_grouped(
    x: Tensor, weights: Tensor, experts: Tensor, w1: Tensor, w2: Tensor, activation: str = "silu"
) -> Tensor:
    """Pairs sorted by expert, one grouped product a side (torch's, CUTLASS on Hopper; bf16), mixed by index_add.

    Nothing is asked of the host. Pairs of weight zero are sorted behind the last expert and left out. Shapes as `moe_loop`.
    """
    count, k = w1.size(0), experts.size(1)
    mix = weights.reshape(-1)
    key = torch.where(mix != 0, experts.reshape(-1), count)
    order = key.argsort()
    sizes = torch.zeros(count + 1, dtype=torch.int32, device=x.device)
    sizes.scatter_add_(0, key, torch.ones_like(key, dtype=torch.int32))
    ends = sizes[:count].cumsum(0, dtype=torch.int32)
    token = order // k
    hidden = ACTIVATIONS[activation](_grouped_mm(x[token], w1.transpose(1, 2), ends))
    parts = _grouped_mm(hidden, w2.transpose(1, 2), ends)
    share = mix[order, None]
    parts = torch.where(share != 0, parts.float() * share, 0.0)
    return torch.zeros(x.shape, dtype=torch.float32, device=x.device).index_add_(0, token, parts).to(x.dtype)


def _grouped_mm(rows: Tensor, banks: Tensor, ends: Tensor) -> Tensor:
    """Shapes: rows (P, D), banks (E, D, F), ends (E) int32 -> (P, F)."""
    public = getattr(F, "grouped_mm", None)  # torch 2.10 and later
    return public(rows, banks, offs=ends) if public else torch._grouped_mm(rows, banks, offs=ends)


# --- 8-bit weights ------------------------------------------------------------------------------------------------------


def int8_steps(x: Tensor, w: Tensor, scale: Tensor) -> Tensor:
    """Weights made float first, then a product. Shapes: x (T, K), w (K, N) int8, scale (N) -> (T, N)."""
    return (x @ w.to(x.dtype)) * scale.to(x.dtype)


def int8_product(x: Tensor, w_columns: Tensor, scale: Tensor) -> Tensor:
    """Rows rounded to 8 bits as they come, whole-number products (cuBLASLt), both scales applied after.

    Shapes: x (T, K) with T > 16, w_columns (N, K) int8 (a weight's transpose, dense), scale (N) float32 -> (T, N) as x.
    """
    wide = x.float()
    step = wide.abs().amax(1, keepdim=True).clamp_min(1e-12) / 127.0
    whole = torch.round(wide / step).to(torch.int8)
    return (torch._int_mm(whole, w_columns.T).float() * step * scale).to(x.dtype)
