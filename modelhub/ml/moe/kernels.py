"""The expert operator in plain torch: one mathematical function, six ways to run it.

All take the same arguments and give the same answer up to rounding; which is fastest depends on tokens, experts
and widths, so the choice belongs to whoever measures (the operator registry) and `moe_experts` holds the default.

Shapes throughout: x (T, D); weights (T, K) float32, zero where a slot is unused; experts (T, K) int64; w1 (E, F, D), or
(E, 2F, D) holding [gate; up] for a gated activation; w2 (E, D, F). The layout is transformers', vLLM's (w13, w2) and that of
ONNX Runtime's `MoE`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F


def gelu_tanh(x: Tensor) -> Tensor:
    """The approximation of GELU that ONNX Runtime's expert operators compute; up to 5e-4 from the exact one."""
    return F.gelu(x, approximate="tanh")


PLAIN: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": F.silu, "gelu": F.gelu, "gelu_tanh": gelu_tanh, "relu": F.relu,
}  # fmt: skip
GATED: dict[str, Callable[[Tensor], Tensor]] = {"swiglu": F.silu, "geglu": F.gelu}
ACTIVATIONS = (*PLAIN, *GATED)
FEW_TOKENS = 2  # up to here sorting costs more than the products themselves


def is_gated(activation: str) -> bool:
    """Whether w1 holds a gate and an up projection. Raises ValueError for an unknown activation."""
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation={activation!r} is unknown: use one of {', '.join(ACTIVATIONS)}")
    return activation in GATED


def activate(inner: Tensor, activation: str) -> Tensor:
    """Apply the non-linearity. Shapes: inner (…, F) -> (…, F), or (…, 2F) [gate; up] -> (…, F) when it is gated."""
    if is_gated(activation):
        gate, up = inner.chunk(2, dim=-1)
        return GATED[activation](gate) * up
    return PLAIN[activation](inner)


def check_shapes(
    x: Tensor, weights: Tensor, experts: Tensor, w1: Tensor, w2: Tensor, activation: str
) -> None:
    """Hold the arguments of an expert operator against each other. Raises ValueError that names both sides."""
    rows = 2 if is_gated(activation) else 1
    count, width, hidden = w2.shape
    if tuple(w1.shape) != (count, rows * hidden, width):
        raise ValueError(
            f"w1 is {tuple(w1.shape)}, but w2 {tuple(w2.shape)} with {activation} asks for "
            f"{(count, rows * hidden, width)}"
        )
    if x.dim() != 2 or x.size(1) != width:
        raise ValueError(f"x is {tuple(x.shape)}, expected (T, {width})")
    if weights.shape != experts.shape or weights.dim() != 2 or weights.size(0) != x.size(0):
        raise ValueError(
            f"weights {tuple(weights.shape)} and experts {tuple(experts.shape)} must both be ({x.size(0)}, K)"
        )
    if not 1 <= weights.size(1) <= count:
        raise ValueError(f"k={weights.size(1)} must lie in 1..{count}, the number of experts")


def moe_experts_dense(
    x: Tensor, weights: Tensor, experts: Tensor, w1: Tensor, w2: Tensor, activation: str
) -> Tensor:
    """Run every expert on every token and mask: no data-dependent shape, so it suits tiny layers and graph capture."""
    share = weights.new_zeros(x.size(0), w1.size(0)).scatter_add(1, experts, weights)  # (T, E)
    inner = torch.einsum("td,efd->tef", x, w1)
    mixed = activate(inner, activation) * share.unsqueeze(-1).to(x.dtype)
    return torch.einsum("tef,edf->td", mixed, w2)


def moe_experts_tokens(
    x: Tensor, weights: Tensor, experts: Tensor, w1: Tensor, w2: Tensor, activation: str
) -> Tensor:
    """Take the tokens one by one: for a batch of one or two, where even a sort is more than the work itself."""
    rows = []
    # Two lists, fetched once: asking a tensor for single numbers costs more than a small product.
    for index, (mix, chosen) in enumerate(zip(weights.tolist(), experts.tolist(), strict=True)):
        token, total = x[index], torch.zeros_like(x[index])
        for slot, (weight, expert) in enumerate(zip(mix, chosen, strict=True)):
            if weight != 0.0:
                answer = torch.mv(w2[expert], activate(torch.mv(w1[expert], token), activation))
                total = torch.addcmul(total, answer, weights[index, slot].to(x.dtype))
        rows.append(total)
    return torch.stack(rows) if rows else torch.zeros_like(x)


def moe_experts_loop(
    x: Tensor, weights: Tensor, experts: Tensor, w1: Tensor, w2: Tensor, activation: str
) -> Tensor:
    """Visit the experts that somebody chose and look their tokens up: the readable reference."""
    out = torch.zeros_like(x)
    for expert in experts[weights != 0].unique().tolist():
        share = torch.where(experts == expert, weights, torch.zeros_like(weights)).sum(-1)
        token = share.nonzero().ravel()
        answer = F.linear(activate(F.linear(x[token], w1[expert]), activation), w2[expert])
        out = out.index_add(0, token, answer * share[token, None].to(x.dtype))
    return out


def by_expert(weights: Tensor, experts: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Pairs of token and expert that count, sorted by expert.

    Gives token (P,) int64, mix (P,) float32 and sizes (E,) int64, the pairs of each expert.
    """
    token, slot = torch.nonzero(weights, as_tuple=True)
    expert = experts[token, slot]
    order = expert.argsort(stable=True)
    token, slot = token[order], slot[order]
    return token, weights[token, slot], torch.bincount(expert, minlength=count)


def moe_experts_sorted(
    x: Tensor, weights: Tensor, experts: Tensor, w1: Tensor, w2: Tensor, activation: str
) -> Tensor:
    """Sort tokens by expert, slice, one product each. A pair of weight zero costs nothing: the training form."""
    token, mix, sizes = by_expert(weights, experts, w1.size(0))
    # unbind, not indexing: the gradient of indexing is a whole bank of zeros for every expert
    banks = zip(w1.unbind(0), w2.unbind(0), x[token].split(sizes.tolist()), strict=True)
    parts = [F.linear(activate(F.linear(group, a), activation), b) for a, b, group in banks if len(group)]
    if not parts:
        return torch.zeros_like(x) * x  # keeps the gradient's path, and a NaN, though no expert was asked
    return torch.zeros_like(x).index_add(0, token, torch.cat(parts) * mix[:, None].to(x.dtype))


def moe_experts_columns(
    x: Tensor, weights: Tensor, experts: Tensor, w1: Tensor, w2: Tensor, activation: str
) -> Tensor:
    """The sorted form with the tokens as columns: weight · tokens instead of tokens · weight.

    With a handful of tokens per expert the weights are nearly all there is to read, and as the left factor the matrix
    library need not repack them first: measured faster from widths of 1024 at 64 tokens, slower where groups are long.
    """
    token, mix, sizes = by_expert(weights, experts, w1.size(0))
    banks = zip(w1.unbind(0), w2.unbind(0), x[token].split(sizes.tolist()), strict=True)
    parts = []
    for a, b, group in banks:
        if len(group):
            inner = activate((a @ group.T.contiguous()).T, activation)
            parts.append((b @ inner.T).T)
    if not parts:
        return torch.zeros_like(x) * x
    return torch.zeros_like(x).index_add(0, token, torch.cat(parts) * mix[:, None].to(x.dtype))


def can_group(device: torch.device | str, dtype: torch.dtype, width: int, hidden: int) -> bool:
    """Whether torch's grouped matrix product takes these sizes here.

    CPU builds from 2.9 and CUDA from compute capability 8.0; rows must be multiples of 16 bytes.
    """
    device = torch.device(device)
    kind = torch.bfloat16 if device.type == "cuda" else dtype
    if not hasattr(F, "grouped_mm") or kind not in (torch.float32, torch.bfloat16, torch.float16):
        return False
    if device.type == "cuda" and torch.cuda.get_device_capability(device) < (8, 0):
        return False
    return (
        device.type in ("cpu", "cuda") and (width * kind.itemsize) % 16 == (hidden * kind.itemsize) % 16 == 0
    )


def moe_experts_grouped(
    x: Tensor, weights: Tensor, experts: Tensor, w1: Tensor, w2: Tensor, activation: str
) -> Tensor:
    """Two grouped products over the sorted pairs, and nothing that waits for the device: the form for CUDA in bfloat16.

    Unused slots stay in (their count is data, and asking for it would stop the queue) and are mixed with weight zero.
    On CUDA other types than bfloat16 run in bfloat16 and come back in theirs. Raises ValueError unless `can_group`.
    """
    if not can_group(x.device, x.dtype, w2.size(1), w2.size(2)):
        raise ValueError(
            f"no grouped product for {x.dtype} {tuple(w2.shape)} on {x.device}: use the sorted form"
        )
    if not len(x):
        return torch.zeros_like(x)
    top_k, kind = experts.size(1), torch.bfloat16 if x.is_cuda else x.dtype
    order = experts.flatten().argsort(stable=True)
    # Where each expert's pairs end, found in the sorted list: bincount would wait for the device.
    chosen = experts.flatten()[order]
    ends = torch.searchsorted(chosen, torch.arange(w1.size(0), device=x.device), right=True).int()
    group = x[order // top_k].to(kind)
    inner = activate(F.grouped_mm(group, w1.to(kind).transpose(1, 2), offs=ends), activation)
    outer = F.grouped_mm(inner, w2.to(kind).transpose(1, 2), offs=ends)
    mixed = outer.to(weights.dtype) * weights.flatten()[order, None]
    # Back to the order of the tokens and a plain sum: index_add is not reproducible on CUDA.
    back = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=x.device))
    return mixed[back].view(x.size(0), top_k, -1).sum(1).to(x.dtype)


FORMS: dict[str, Callable[..., Tensor]] = {
    "sorted": moe_experts_sorted,
    "columns": moe_experts_columns,
    "grouped": moe_experts_grouped,
    "loop": moe_experts_loop,
    "tokens": moe_experts_tokens,
    "dense": moe_experts_dense,
}


def default_form(x: Tensor, width: int, hidden: int) -> str:
    """The form that is rarely far from the best, without measuring."""
    if x.is_cuda and x.dtype == torch.bfloat16 and can_group(x.device, x.dtype, width, hidden):
        return "grouped"
    return "tokens" if len(x) <= FEW_TOKENS and not x.is_cuda else "sorted"


def moe_experts(
    x: Tensor,
    weights: Tensor,
    experts: Tensor,
    w1: Tensor,
    w2: Tensor,
    activation: str,
    form: str | None = None,
) -> Tensor:
    """Mix each token's chosen experts: sum over k of weights[t, k] · expert[experts[t, k]](x[t]).

    No expert has a capacity, so no token is ever dropped. `form` names one of FORMS; None takes the default.
    Shapes: as at the top of this file -> (T, D). Raises ValueError for shapes that don't fit, KeyError for a form.
    """
    check_shapes(x, weights, experts, w1, w2, activation)
    return FORMS[form or default_form(x, w2.size(1), w2.size(2))](x, weights, experts, w1, w2, activation)
