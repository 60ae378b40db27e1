"""The shape of the demonstration model, in the names transformers uses for DeepSeek-V3."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass(frozen=True)
class LmConfig:
    """A DeepSeek-V3 decoder: latent attention, one dense layer, then sigmoid-gated experts with a shared one.

    Field names are those of `transformers.DeepseekV3Config`, so `hugging_face()` is a plain copy. The
    expert groups of the large model (`n_group`) are one group here: with 16 experts there is nothing to split.
    """

    vocab_size: int = 4096
    hidden_size: int = 192
    intermediate_size: int = 512
    moe_intermediate_size: int = 96
    num_hidden_layers: int = 4
    first_k_dense_replace: int = 1
    num_attention_heads: int = 4
    n_routed_experts: int = 16
    n_shared_experts: int = 1
    num_experts_per_tok: int = 2
    routed_scaling_factor: float = 1.0
    q_lora_rank: int = 96
    kv_lora_rank: int = 64
    qk_nope_head_dim: int = 32
    qk_rope_head_dim: int = 16
    v_head_dim: int = 48
    max_position_embeddings: int = 2048
    rope_theta: float = 10_000.0
    rms_norm_eps: float = 1e-6
    initializer_range: float = 0.02

    def to_dict(self) -> dict[str, Any]:
        """Every field as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> LmConfig:
        """The inverse of `to_dict`; raises ValueError on a field this version does not know."""
        known = {field.name for field in fields(cls)}
        if unknown := set(values) - known:
            raise ValueError(f"unknown fields in the model's configuration: {sorted(unknown)}")
        return cls(**values)

    def hugging_face(self) -> Any:
        """The same shape as a `transformers.DeepseekV3Config`, with tied embeddings and no extra predictor."""
        from transformers import DeepseekV3Config

        values = self.to_dict()
        theta = values.pop("rope_theta")
        return DeepseekV3Config(
            **values,
            num_key_value_heads=self.num_attention_heads,
            n_group=1,
            topk_group=1,
            norm_topk_prob=True,
            tie_word_embeddings=True,
            num_mtp_layers=0,
            rope_parameters={"rope_type": "default", "rope_theta": theta},
            rope_interleave=True,
        )


SMOKE = LmConfig(
    vocab_size=600,
    hidden_size=32,
    intermediate_size=48,
    moe_intermediate_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    n_routed_experts=4,
    q_lora_rank=16,
    kv_lora_rank=16,
    qk_nope_head_dim=8,
    qk_rope_head_dim=8,
    v_head_dim=16,
    max_position_embeddings=256,
)
