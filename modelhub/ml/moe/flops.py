"""What a sparse network touches and computes per token, counted by formula: the active share and the FLOPs.

A multiplication and an addition are two FLOPs; only matrix products count, as in torch's `FlopCounterMode`, to which the
tests hold these formulas. Norms, activations and the choice of experts are a fraction of a percent beside them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelhub.ml.moe.kernels import is_gated

if TYPE_CHECKING:
    from modelhub.ml.kb.model import KnowledgeConfig
    from modelhub.ml.lm.config import LmConfig
    from modelhub.ml.moe.model import GatingClassifier, GatingConfig


def active_share(ffn_share: float, experts: int, shared: int, chosen: float) -> float:
    """Parameters touched over all of them: (1 − s) + s · (k + n) / (E + n).

    s: the share that feed-forward networks have in all parameters; n: shared experts; k: chosen ones.
    Raises ValueError for a share outside 0..1 or more chosen than there are.
    """
    if not 0.0 <= ffn_share <= 1.0:
        raise ValueError(f"ffn_share={ffn_share} must lie in 0..1")
    if not 0.0 <= chosen <= experts:
        raise ValueError(f"chosen={chosen} must lie in 0..{experts}, the number of experts")
    return (1.0 - ffn_share) + ffn_share * (chosen + shared) / (experts + shared)


def expert_parameters(width: int, hidden: int, activation: str) -> int:
    """Weights of one expert: two matrices, or three where the activation is gated."""
    return (3 if is_gated(activation) else 2) * width * hidden


@dataclass(frozen=True, slots=True)
class Flops:
    """FLOPs per token of a network's parts; `total` is what one token costs."""

    gate: float
    experts: float
    shared: float
    head: float

    @property
    def total(self) -> float:
        return self.gate + self.experts + self.shared + self.head


def layer_flops(
    *, width: int, hidden: int, experts: int, shared: int, chosen: float, activation: str = "silu"
) -> Flops:
    """One block's FLOPs per token when it uses `chosen` experts. The gate looks at all keys, whatever it chooses."""
    one = 2.0 * expert_parameters(width, hidden, activation)
    return Flops(gate=2.0 * width * experts, experts=chosen * one, shared=shared * one, head=0.0)


def network_flops(config: GatingConfig, head_size: int, chosen: float) -> Flops:
    """A classifier's FLOPs per token, without the trunk, with one head of `head_size` labels."""
    one = layer_flops(
        width=config.width, hidden=config.hidden, experts=config.experts, shared=config.shared,
        chosen=chosen, activation=config.activation,
    )  # fmt: skip
    n = config.layers
    return Flops(n * one.gate, n * one.experts, n * one.shared, 2.0 * config.width * head_size)


def dense_total_flops(config: GatingConfig, head_size: int) -> float:
    """The same network with every expert on and no gate: a dense one of equal total parameters, FLOPs per token."""
    every = network_flops(config, head_size, float(config.experts))
    return every.total - every.gate


def knowledge_flops(config: KnowledgeConfig, answers: int, chosen: float) -> float:
    """FLOPs of one fact of `code-kb`, all its answers side by side; `chosen` equal to all experts is the dense network, less its
    gate."""
    one = layer_flops(
        width=config.width, hidden=config.hidden, experts=config.experts, shared=config.shared, chosen=chosen
    )
    return config.layers * one.total + 2.0 * config.width * answers


def language_flops(cfg: LmConfig, context: int, chosen: float | None = None) -> float:
    """FLOPs of one token of a DeepSeek-V3 decoder that looks at `context` tokens, latent attention in its absorbed form, the
    vocabulary's head included. `chosen`: experts of a token, the configuration's own if not said."""
    d, heads, latent, rope = cfg.hidden_size, cfg.num_attention_heads, cfg.kv_lora_rank, cfg.qk_rope_head_dim
    nope, value = cfg.qk_nope_head_dim, cfg.v_head_dim
    query = d * cfg.q_lora_rank + cfg.q_lora_rank * heads * (nope + rope)
    absorbed = d * (latent + rope) + heads * latent * (nope + value)
    looks = heads * context * (2 * latent + rope)
    attention = 2.0 * (query + absorbed + looks + heads * value * d)
    sparse_layers = cfg.num_hidden_layers - cfg.first_k_dense_replace
    sparse = layer_flops(
        width=d, hidden=cfg.moe_intermediate_size, experts=cfg.n_routed_experts, shared=cfg.n_shared_experts,
        chosen=cfg.num_experts_per_tok if chosen is None else chosen, activation="swiglu",
    )  # fmt: skip
    dense = 2.0 * expert_parameters(d, cfg.intermediate_size, "swiglu")
    fed = sparse_layers * sparse.total + cfg.first_k_dense_replace * dense
    return cfg.num_hidden_layers * attention + fed + 2.0 * d * cfg.vocab_size


def card_figures(model: GatingClassifier, mean_chosen: float) -> dict[str, Any]:
    """What a model card says of the sparse network: parameters, active share, FLOPs per token, without the trunk.

    `mean_chosen`: the mean number of experts a token really used (`mean_experts_used`); the largest head is counted.
    """
    from modelhub.ml.moe.model import active_parameters

    head = max(model.head_sizes.values(), default=0)
    sparse, dense = network_flops(model.config, head, mean_chosen), dense_total_flops(model.config, head)
    counted = active_parameters(model, mean_chosen)
    return {
        "parameters": counted["total"],
        "active_parameters": counted["active"],
        "active_share": round(counted["active_share"], 4),
        "mean_experts_used": round(mean_chosen, 3),
        "flops_per_token": round(sparse.total),
        "flops_per_token_dense_total": round(dense),
        "flops_share": round(sparse.total / dense, 4),
        "flops_by_part": {
            part: round(getattr(sparse, part)) for part in ("gate", "experts", "shared", "head")
        },
    }
