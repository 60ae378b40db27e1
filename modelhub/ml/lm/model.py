"""DeepSeek-V3 in plain torch, small enough to train on one core and to export with an explicit cache.

The parameters carry the names and shapes of transformers' `DeepseekV3ForCausalLM`, so one state dict fits
both; the tests hold the two to the same logits. Attention is written in its absorbed form (DeepSeek-V2,
arXiv:2405.04434, section 2.1): queries are carried into the latent space, so the cache holds the latents and
one rotary key per token, not a key and a value per head.

Shapes: B batch, S new tokens, T past and new tokens, H heads, D width, C latent, R rotary, E experts, k chosen.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modelhub.ml.lm.config import LmConfig


class LmOutput(NamedTuple):
    """What a forward pass gives: logits (B, S, V), the cache of each layer, the experts chosen per token."""

    logits: Tensor
    past: list[Tensor]
    experts: list[Tensor]


class RMSNorm(nn.Module):
    """Scale by the root mean square, computed in float32."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        x32 = x.float()
        return (self.weight * (x32 * torch.rsqrt(x32.pow(2).mean(-1, keepdim=True) + self.eps))).to(x.dtype)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn interleaved pairs (x0, x1), (x2, x3)… by the position's angles; halves come out side by side."""
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.cat([even * cos - odd * sin, odd * cos + even * sin], dim=-1)


class LatentAttention(nn.Module):
    """Multi-head latent attention with the up-projections absorbed into the query and the output."""

    def __init__(self, cfg: LmConfig) -> None:
        super().__init__()
        heads, nope, rope, value = (
            cfg.num_attention_heads,
            cfg.qk_nope_head_dim,
            cfg.qk_rope_head_dim,
            cfg.v_head_dim,
        )
        self.heads, self.nope, self.rope, self.value = heads, nope, rope, value
        self.latent = cfg.kv_lora_rank
        self.scale = (nope + rope) ** -0.5
        self.q_a_proj = nn.Linear(cfg.hidden_size, cfg.q_lora_rank, bias=False)
        self.q_a_layernorm = RMSNorm(cfg.q_lora_rank, cfg.rms_norm_eps)
        self.q_b_proj = nn.Linear(cfg.q_lora_rank, heads * (nope + rope), bias=False)
        self.kv_a_proj_with_mqa = nn.Linear(cfg.hidden_size, self.latent + rope, bias=False)
        self.kv_a_layernorm = RMSNorm(self.latent, cfg.rms_norm_eps)
        self.kv_b_proj = nn.Linear(self.latent, heads * (nope + value), bias=False)
        self.o_proj = nn.Linear(heads * value, cfg.hidden_size, bias=False)

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor, past: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """x (B, S, D), cos and sin (S, R/2), additive mask (S, T), past (B, T-S, C+R) -> (B, S, D), (B, T, C+R)."""
        batch, steps, _ = x.shape
        q = self.q_b_proj(self.q_a_layernorm(self.q_a_proj(x)))
        q = q.view(batch, steps, self.heads, self.nope + self.rope).transpose(1, 2)
        q_nope, q_rope = q.split([self.nope, self.rope], dim=-1)
        latent, k_rope = self.kv_a_proj_with_mqa(x).split([self.latent, self.rope], dim=-1)
        cache = torch.cat([self.kv_a_layernorm(latent), rotate(k_rope, cos, sin)], dim=-1)
        if past is not None:
            cache = torch.cat([past, cache], dim=1)
        up = self.kv_b_proj.weight.view(self.heads, self.nope + self.value, self.latent)
        up_key, up_value = up.split([self.nope, self.value], dim=1)
        query = torch.cat([q_nope @ up_key, rotate(q_rope, cos, sin)], dim=-1)  # (B, H, S, C+R)
        scores = query @ cache.transpose(1, 2).unsqueeze(1) * self.scale + mask
        weights = scores.float().softmax(-1).to(x.dtype)
        mixed = weights @ cache[..., : self.latent].unsqueeze(1)  # (B, H, S, C)
        out = (
            (mixed @ up_value.transpose(1, 2)).transpose(1, 2).reshape(batch, steps, self.heads * self.value)
        )
        return self.o_proj(out), cache


class MLP(nn.Module):
    """SwiGLU feed-forward."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(width, hidden, bias=False)
        self.up_proj = nn.Linear(width, hidden, bias=False)
        self.down_proj = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Gate(nn.Module):
    """Sigmoid scores choose k experts; the selection bias steers the choice and never the weights."""

    e_score_correction_bias: Tensor

    def __init__(self, cfg: LmConfig) -> None:
        super().__init__()
        self.top_k, self.scaling = cfg.num_experts_per_tok, cfg.routed_scaling_factor
        self.weight = nn.Parameter(torch.empty(cfg.n_routed_experts, cfg.hidden_size))
        self.register_buffer("e_score_correction_bias", torch.zeros(cfg.n_routed_experts))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x (N, D) -> weights (N, k) that sum to the scaling factor, experts (N, k) int64."""
        scores = F.linear(x.float(), self.weight.float()).sigmoid()
        experts = (scores + self.e_score_correction_bias).topk(self.top_k, dim=-1).indices
        weights = scores.gather(1, experts)
        return weights / (weights.sum(-1, keepdim=True) + 1e-20) * self.scaling, experts


class Experts(nn.Module):
    """Expert weights in one tensor each; tokens are sorted by expert and multiplied slice by slice."""

    def __init__(self, cfg: LmConfig) -> None:
        super().__init__()
        count, hidden = cfg.n_routed_experts, cfg.moe_intermediate_size
        self.count = count
        self.gate_up_proj = nn.Parameter(torch.empty(count, 2 * hidden, cfg.hidden_size))
        self.down_proj = nn.Parameter(torch.empty(count, cfg.hidden_size, hidden))

    def one(self, index: int, x: Tensor) -> Tensor:
        """One expert's answer: x (n, D) -> (n, D)."""
        gate, up = F.linear(x, self.gate_up_proj[index]).chunk(2, dim=-1)
        return F.linear(F.silu(gate) * up, self.down_proj[index])

    def forward(self, x: Tensor, weights: Tensor, experts: Tensor) -> Tensor:
        """x (N, D), weights (N, k), experts (N, k) -> (N, D)."""
        if torch.compiler.is_exporting():
            return self._unrolled(x, weights, experts)
        top_k = experts.size(1)
        order = experts.flatten().argsort(stable=True)
        rows = order // top_k
        sizes = experts.flatten().bincount(minlength=self.count).tolist()
        parts = [self.one(i, part) for i, part in enumerate(x[rows].split(sizes)) if sizes[i]]
        mixed = torch.cat(parts) * weights.flatten()[order].unsqueeze(1).to(x.dtype)
        return torch.zeros_like(x).index_add(0, rows, mixed.to(x.dtype))

    def _unrolled(self, x: Tensor, weights: Tensor, experts: Tensor) -> Tensor:
        """The same sum with one fixed block per expert, for a graph without a Python loop at run time."""
        out = torch.zeros_like(x)
        for index in range(self.count):
            share = torch.where(experts == index, weights, torch.zeros_like(weights)).sum(-1)
            rows = share.nonzero().squeeze(1)
            answer = self.one(index, x.index_select(0, rows)) * share.index_select(0, rows).unsqueeze(1)
            out = out.index_add(0, rows, answer)
        return out


class MoE(nn.Module):
    """Chosen experts plus the shared one."""

    def __init__(self, cfg: LmConfig) -> None:
        super().__init__()
        self.gate = Gate(cfg)
        self.experts = Experts(cfg)
        self.shared_experts = MLP(cfg.hidden_size, cfg.moe_intermediate_size * cfg.n_shared_experts)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        flat = x.reshape(-1, x.size(-1))
        weights, chosen = self.gate(flat)
        return self.experts(flat, weights, chosen).view_as(x) + self.shared_experts(x), chosen


class Layer(nn.Module):
    """Attention and feed-forward, each behind a norm and a residual."""

    def __init__(self, cfg: LmConfig, index: int) -> None:
        super().__init__()
        self.self_attn = LatentAttention(cfg)
        self.sparse = index >= cfg.first_k_dense_replace
        self.mlp = MoE(cfg) if self.sparse else MLP(cfg.hidden_size, cfg.intermediate_size)
        self.input_layernorm = RMSNorm(cfg.hidden_size, cfg.rms_norm_eps)
        self.post_attention_layernorm = RMSNorm(cfg.hidden_size, cfg.rms_norm_eps)

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor, past: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        attended, cache = self.self_attn(self.input_layernorm(x), cos, sin, mask, past)
        x = x + attended
        inner = self.post_attention_layernorm(x)
        if self.sparse:
            fed, chosen = self.mlp(inner)
            return x + fed, cache, chosen
        return x + self.mlp(inner), cache, None


class Decoder(nn.Module):
    """Embedding, layers and the last norm (transformers' `model.`)."""

    def __init__(self, cfg: LmConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(cfg.vocab_size, cfg.hidden_size)
        self.layers = nn.ModuleList([Layer(cfg, i) for i in range(cfg.num_hidden_layers)])
        self.norm = RMSNorm(cfg.hidden_size, cfg.rms_norm_eps)


class TinyDeepseek(nn.Module):
    """The demonstration model with tied embeddings; load weights with `load_state_dict(..., strict=True)`."""

    inv_freq: Tensor

    def __init__(self, cfg: LmConfig) -> None:
        super().__init__()
        self.cfg = cfg
        self.model = Decoder(cfg)
        exponents = torch.arange(0, cfg.qk_rope_head_dim, 2, dtype=torch.float32) / cfg.qk_rope_head_dim
        self.register_buffer("inv_freq", cfg.rope_theta**-exponents, persistent=False)
        self.initialise()

    def initialise(self) -> None:
        """Normal weights; projections back into the residual stream are scaled down by depth (GPT-2)."""
        back = self.cfg.initializer_range / (2 * self.cfg.num_hidden_layers) ** 0.5
        for name, parameter in self.named_parameters():
            if parameter.dim() >= 2:
                std = back if name.endswith(("o_proj.weight", "down_proj.weight", "down_proj")) else None
                nn.init.normal_(parameter, std=std or self.cfg.initializer_range)

    def forward(self, ids: Tensor, past: list[Tensor] | None = None, last_only: bool = False) -> LmOutput:
        """ids (B, S) int64, past: per layer (B, P, C+R) -> logits (B, S, V), or (B, 1, V) with `last_only`."""
        steps = ids.size(1)
        seen = 0 if past is None else past[0].size(1)
        positions = torch.arange(steps, device=ids.device) + seen
        angles = positions[:, None].float() * self.inv_freq
        keys = torch.arange(seen + steps, device=ids.device)
        mask = torch.where(keys[None, :] > positions[:, None], -1e30, 0.0)
        x = self.model.embed_tokens(ids)
        cos, sin, caches, experts = angles.cos(), angles.sin(), [], []
        for index, layer in enumerate(self.model.layers):
            x, cache, chosen = layer(x, cos, sin, mask, None if past is None else past[index])
            caches.append(cache)
            if chosen is not None:
                experts.append(chosen)
        x = self.model.norm(x[:, -1:] if last_only else x)
        return LmOutput(F.linear(x, self.model.embed_tokens.weight), caches, experts)


def count_parameters(cfg: LmConfig) -> dict[str, float | int]:
    """Parameters in all, without the embedding, touched per token, and the touched share of the non-embedding."""
    model = TinyDeepseek(cfg)
    total = sum(p.numel() for p in model.parameters())
    non_embedding = total - model.model.embed_tokens.weight.numel()
    sparse_layers = cfg.num_hidden_layers - cfg.first_k_dense_replace
    idle_experts = cfg.n_routed_experts - cfg.num_experts_per_tok
    idle = sparse_layers * idle_experts * 3 * cfg.hidden_size * cfg.moe_intermediate_size
    return {
        "total": total,
        "active": total - idle,
        "non_embedding": non_embedding,
        "active_share": round((non_embedding - idle) / non_embedding, 4),
    }
