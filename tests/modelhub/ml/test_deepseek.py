"""Beside transformers: the DeepSeek-V3 variant on the same weights, and our operator inside its models."""

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    DeepseekV3Config,
    GptOssConfig,
    LlamaConfig,
    OlmoeConfig,
    Qwen2MoeConfig,
    Qwen3MoeConfig,
)
from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3MoE

from modelhub.ml.moe import transformers_experts
from modelhub.ml.moe.gate import RoutingNotFinite
from modelhub.ml.moe.layer import SharedExpertMoE

SMALL = {
    "vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2,
    "intermediate_size": 48, "moe_intermediate_size": 16, "max_position_embeddings": 32, "num_experts_per_tok": 3,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
CONFIGS = {
    "qwen2": lambda: Qwen2MoeConfig(**SMALL, num_experts=8, shared_expert_intermediate_size=16),
    "qwen3": lambda: Qwen3MoeConfig(**SMALL, num_experts=8, head_dim=16),
    "olmoe": lambda: OlmoeConfig(**SMALL | {"intermediate_size": 16}, num_experts=8),
    "deepseek": lambda: DeepseekV3Config(
        **SMALL, n_routed_experts=8, n_group=2, topk_group=1, first_k_dense_replace=1, q_lora_rank=16, kv_lora_rank=8,
        qk_rope_head_dim=8, qk_nope_head_dim=8, v_head_dim=8,
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    "options",
    [
        {"n_group": 1, "topk_group": 1, "norm_topk_prob": True, "routed_scaling_factor": 1.0},
        {"n_group": 4, "topk_group": 2, "norm_topk_prob": True, "routed_scaling_factor": 2.5},
        {"n_group": 2, "topk_group": 1, "norm_topk_prob": False, "routed_scaling_factor": 1.0},
    ],
)
def test_our_variant_agrees_with_transformers_module_on_the_same_weights(options):
    torch.manual_seed(0)
    config = DeepseekV3Config(**SMALL, n_routed_experts=16, n_shared_experts=2, **options)
    config._experts_implementation = "eager"
    theirs = DeepseekV3MoE(config)
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    theirs.gate.e_score_correction_bias.normal_(0, 0.2)
    ours = SharedExpertMoE(32, experts=16, hidden=16, top_k=3, shared=2, **options)
    with torch.no_grad():
        ours.gate.weight.copy_(theirs.gate.weight)
        ours.gate.selection_bias.copy_(theirs.gate.e_score_correction_bias)
        ours.bank.w1.copy_(theirs.experts.gate_up_proj)
        ours.bank.w2.copy_(theirs.experts.down_proj)
        shared = theirs.shared_experts
        ours.shared[0].weight.copy_(torch.cat([shared.gate_proj.weight, shared.up_proj.weight]))
        ours.shared[2].weight.copy_(shared.down_proj.weight)
        x = torch.randn(4, 25, 32)
        found, routing = ours(x)
        _, weights, experts = theirs.gate(x)
        assert torch.allclose(found, theirs(x), atol=1e-5)
    rows = torch.arange(100)[:, None]
    spread = torch.zeros(2, 100, 16)
    spread[0, rows, experts], spread[1, rows, routing.experts] = weights, routing.weights
    assert torch.allclose(spread[0], spread[1], atol=1e-6)
    assert routing.chosen.tolist() == [3] * 100


def test_the_sigmoid_gate_refuses_activations_that_are_not_numbers():
    layer = SharedExpertMoE(32, experts=16, hidden=16, top_k=3)
    x = torch.randn(5, 32)
    x[3, 1] = float("nan")
    with pytest.raises(RoutingNotFinite, match=r"1 of 5 tokens.*first rows \[3\]"):
        layer(x)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top_k": 17}, r"1\.\.16"),
        ({"top_k": 0}, r"1\.\.16"),
        ({"top_k": 2, "n_group": 3}, "divide 16 experts"),
        ({"top_k": 2, "n_group": 16}, "two or more"),
        ({"top_k": 2, "n_group": 4, "topk_group": 5}, r"1\.\.4"),
        ({"top_k": 5, "n_group": 4, "topk_group": 1}, r"1\.\.4, the experts that compete"),
    ],
)
def test_a_choice_that_cannot_be_made_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SharedExpertMoE(32, experts=16, hidden=16, **options)


def tiny(name: str):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(CONFIGS[name](), experts_implementation="eager").eval()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.2)
    return model


@pytest.mark.parametrize("name", CONFIGS)
@torch.no_grad()
def test_our_operator_gives_transformers_models_the_same_logits(name):
    model, ids = tiny(name), torch.randint(3, 64, (2, 11))
    expected = model(ids).logits
    transformers_experts.use(model)
    assert model.config._experts_implementation == transformers_experts.NAME
    found = model(ids).logits
    assert torch.allclose(found, expected, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("name", CONFIGS)
def test_our_operator_gives_transformers_models_the_same_gradients(name):
    model, ids = tiny(name), torch.randint(3, 64, (2, 11))

    def gradients() -> dict[str, torch.Tensor]:
        model.zero_grad()
        model(ids, labels=ids).loss.backward()
        return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}

    expected = gradients()
    transformers_experts.use(model)
    found = gradients()
    assert found.keys() == expected.keys() and any("experts" in n for n in found)
    for n, wanted in expected.items():
        assert torch.allclose(found[n], wanted, atol=1e-4 * float(wanted.abs().max().clamp_min(1e-3))), n


@pytest.mark.parametrize("name", CONFIGS)
@torch.no_grad()
def test_a_hook_on_the_gate_tells_which_experts_were_used(name):
    model, ids = tiny(name), torch.randint(3, 64, (2, 11))
    with transformers_experts.watch_gates(model) as log:
        model(ids)
    sparse = 1 if name == "deepseek" else 2  # DeepSeek's first layer is dense here
    assert log.counts.shape == (sparse, 8)
    assert log.counts.sum(1).tolist() == [3 * 22] * sparse
    assert log.tokens == 22
    before = log.counts.clone()
    model(ids)
    assert torch.equal(log.counts, before)  # the hooks are gone


@torch.no_grad()
def test_a_fixed_k_becomes_a_varying_one_by_mass():
    model, ids = tiny("olmoe"), torch.randint(3, 64, (2, 11))
    expected = model(ids).logits
    everything = transformers_experts.use(model, mass=1.0, k_min=3)(ids).logits
    assert torch.allclose(everything, expected, atol=1e-4)
    fewer = transformers_experts.use(model, mass=0.4, k_min=1)(ids).logits
    assert not torch.allclose(fewer, expected, atol=1e-2)
    assert bool(fewer.isfinite().all())


def test_experts_of_another_layout_are_refused_by_name():
    config = GptOssConfig(
        vocab_size=64, hidden_size=32, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, head_dim=16, num_local_experts=4, num_experts_per_tok=2, pad_token_id=0,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config, experts_implementation="eager")
    with pytest.raises(transformers_experts.LayoutUnsupported, match=r"layers\.0\.mlp\.experts: expected"):
        transformers_experts.use(model)
    assert model.config._experts_implementation == "eager"
    dense = AutoModelForCausalLM.from_config(
        LlamaConfig(
            vocab_size=64, hidden_size=32, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2
        )
    )
    with pytest.raises(transformers_experts.LayoutUnsupported, match="no experts"):
        transformers_experts.use(dense)
    with (
        pytest.raises(transformers_experts.LayoutUnsupported, match="no gate"),
        transformers_experts.watch_gates(dense),
    ):
        pass
