"""Operators in torch for the CPU: makers take weights and give a function of activations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from modelhub.ml.moe import kernels as moe

Held = Mapping[str, Tensor]
Attributes = Mapping[str, Any]
Step = Callable[..., Any]
Maker = Callable[[Held, Attributes, Mapping[str, int]], Step]


def matmul(held: Held, attributes: Attributes, dims: Mapping[str, int]) -> Step:
    b = held["b"]
    return lambda a: (a.to(b.dtype) @ b).float()


def ffn_gelu(held: Held, attributes: Attributes, dims: Mapping[str, int]) -> Step:
    """Two kernels: product, bias and GELU in one, then product and bias. Weights are laid out along the product once."""
    w1, w2 = held["w1"].T.contiguous(), held["w2"].T.contiguous()
    b1, b2 = held["b1"], held["b2"]
    return lambda x: torch.addmm(b2, torch._addmm_activation(b1, x, w1, use_gelu=True), w2)


def ffn_gelu_narrow(held: Held, attributes: Attributes, dims: Mapping[str, int]) -> Step:
    """Two library calls: oneDNN keeps bfloat16 sums in float32 through bias and product."""
    w1, b1, w2, b2 = (held[name] for name in ("w1", "b1", "w2", "b2"))
    return lambda x: F.linear(F.gelu(F.linear(x.to(w1.dtype), w1, b1)), w2, b2).float()


def ffn_gelu_steps(held: Held, attributes: Attributes, dims: Mapping[str, int]) -> Step:
    """One kernel for every arithmetic step, as a graph is that nobody fused."""
    w1, b1, w2, b2 = held["w1"].T, held["b1"], held["w2"].T, held["b2"]

    def step(x: Tensor) -> Tensor:
        inner = x @ w1 + b1
        inner = inner * 0.5 * (1.0 + torch.erf(inner / 2**0.5))
        return inner @ w2 + b2

    return step


def ffn_gelu_library(held: Held, attributes: Attributes, dims: Mapping[str, int]) -> Step:
    """As a torch module runs it: linear, GELU, linear."""
    w1, b1, w2, b2 = (held[name] for name in ("w1", "b1", "w2", "b2"))
    return lambda x: F.linear(F.gelu(F.linear(x, w1, b1)), w2, b2)


def layernorm_residual(held: Held, attributes: Attributes, dims: Mapping[str, int]) -> Step:
    """Two kernels: sum, norm. Statistics are float32 whatever the dtype."""
    gain, bias, eps, kind = (
        held["gain"].float(),
        held["bias"].float(),
        float(attributes["eps"]),
        held["gain"].dtype,
    )

    def step(x: Tensor, residual: Tensor) -> Tensor:
        total = x + residual if kind == torch.float32 else x.to(kind).float() + residual.to(kind).float()
        return F.layer_norm(total, gain.shape, gain, bias, eps)

    return step


def layernorm_residual_steps(held: Held, attributes: Attributes, dims: Mapping[str, int]) -> Step:
    gain, bias, eps = held["gain"], held["bias"], float(attributes["eps"])

    def step(x: Tensor, residual: Tensor) -> Tensor:
        total = x + residual
        centred = total - total.mean(-1, keepdim=True)
        spread = (centred * centred).mean(-1, keepdim=True)
        return centred / torch.sqrt(spread + eps) * gain + bias

    return step


def attention(kind: torch.dtype) -> Maker:
    def make(held: Held, attributes: Attributes, dims: Mapping[str, int]) -> Step:
        def step(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
            allowed = (mask > 0)[:, None, None, :]
            wide = F.scaled_dot_product_attention(q.to(kind), k.to(kind), v.to(kind), attn_mask=allowed)
            return wide.float()

        return step

    return make


def attention_steps(held: Held, attributes: Attributes, dims: Mapping[str, int]) -> Step:
    def step(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
        scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
        scores = scores.masked_fill((mask <= 0)[:, None, None, :], float("-inf"))
        shifted = torch.exp(scores - scores.amax(-1, keepdim=True))
        return shifted / shifted.sum(-1, keepdim=True) @ v

    return step


def moe_experts(form: str) -> Maker:
    def make(held: Held, attributes: Attributes, dims: Mapping[str, int]) -> Step:
        w1, w2, run = held["w1"], held["w2"], moe.FORMS[form]

        def step(x: Tensor, weights: Tensor, experts: Tensor) -> Tensor:
            return run(x.to(w1.dtype), weights, experts, w1, w2, attributes["activation"]).float()

        return step

    return make


def topk_gate(held: Held, attributes: Attributes, dims: Mapping[str, int]) -> Step:
    """The gate's arithmetic is float32, whatever the rest of a model is."""
    bias, k_min, k_max, mass = held["bias"], attributes["k_min"], attributes["k_max"], attributes["mass"]
    place = torch.arange(k_max)

    def step(logits: Tensor) -> tuple[Tensor, Tensor]:
        probabilities = logits.softmax(-1)
        experts = (probabilities + bias).topk(k_max, dim=-1).indices
        weights = probabilities.gather(-1, experts)
        before = weights.cumsum(-1) - weights
        weights = weights * ((place < k_min) | (before < mass)).long().cumprod(-1)
        return weights / weights.sum(-1, keepdim=True), experts

    return step


def int8_matmul_wide(held: Held, attributes: Attributes, dims: Mapping[str, int]) -> Step:
    weights = held["w"].float() * held["scale"]
    return lambda x: x @ weights


def int8_matmul(held: Held, attributes: Attributes, dims: Mapping[str, int]) -> Step:
    """Activations take eight bits row by row; whole-number products, then both scales."""
    weights, scale = held["w"], held["scale"]

    def step(x: Tensor) -> Tensor:
        row = x.abs().amax(-1, keepdim=True).clamp_min(1e-12) / 127.0
        whole = torch.round(x / row).to(torch.int8)
        return torch._int_mm(whole, weights).float() * row * scale

    return step


def maker(name: str, form: str, dtype: str) -> Maker:
    """The maker of an operator's form: "" is the fused one, `steps` and `library` are what it is compared with."""
    kind = torch.bfloat16 if dtype == "bfloat16" else torch.float32
    found: dict[tuple[str, str], Maker] = {
        ("matmul", ""): matmul, ("ffn_gelu", "steps"): ffn_gelu_steps, ("ffn_gelu", "library"): ffn_gelu_library,
        ("ffn_gelu", ""): ffn_gelu if dtype == "float32" else ffn_gelu_narrow,
        ("layernorm_residual", ""): layernorm_residual, ("layernorm_residual", "steps"): layernorm_residual_steps,
        ("attention", ""): attention(kind),
        ("attention", "steps"): attention_steps, ("topk_gate", ""): topk_gate,
        ("int8_matmul", ""): int8_matmul if dtype == "int8" else int8_matmul_wide,
    }  # fmt: skip
    return moe_experts(form) if name == "moe_experts" else found[name, form]
