"""The tiny model is DeepSeek-V3: transformers, given the same weights, gives the same logits."""

from __future__ import annotations

import pytest
import torch

from modelhub.ml.lm.config import SMOKE, LmConfig
from modelhub.ml.lm.loop import balance
from modelhub.ml.lm.model import Experts, Gate, TinyDeepseek, count_parameters


def build(seed: int = 0) -> TinyDeepseek:
    torch.manual_seed(seed)
    model = TinyDeepseek(SMOKE).eval()
    for layer in model.model.layers:
        if layer.sparse:  # a bias that changes which experts are chosen, so that a wrong use of it shows
            layer.mlp.gate.e_score_correction_bias.copy_(torch.tensor([0.3, -0.2, 0.0, 0.1]))
    return model


def test_logits_agree_with_transformers():
    from transformers import DeepseekV3ForCausalLM

    model = build()
    reference = DeepseekV3ForCausalLM(SMOKE.hugging_face()).eval()
    weights = dict(model.state_dict())
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"]
    assert reference.load_state_dict(weights, strict=True)
    ids = torch.randint(0, SMOKE.vocab_size, (2, 33), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted, found = reference(ids).logits, model(ids).logits
    assert (wanted - found).abs().max() < 1e-5
    assert wanted.std() > 0.01


def test_reading_in_pieces_with_the_cache_gives_what_reading_at_once_gives():
    model = build()
    ids = torch.randint(0, SMOKE.vocab_size, (1, 20), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        whole = model(ids).logits
        first = model(ids[:, :12])
        second = model(ids[:, 12:], past=first.past)
    assert torch.allclose(torch.cat([first.logits, second.logits], 1), whole, atol=1e-5)
    assert second.past[0].shape == (1, 20, SMOKE.kv_lora_rank + SMOKE.qk_rope_head_dim)


def test_the_unrolled_form_for_export_gives_what_the_sorted_form_gives():
    torch.manual_seed(3)
    gate, experts = Gate(SMOKE), Experts(SMOKE)
    for parameter in [*gate.parameters(), *experts.parameters()]:
        torch.nn.init.normal_(parameter, std=0.2)
    x = torch.randn(17, SMOKE.hidden_size)
    weights, chosen = gate(x)
    assert torch.allclose(experts(x, weights, chosen), experts._unrolled(x, weights, chosen), atol=1e-6)


def test_the_selection_bias_steers_the_choice_and_not_the_weights():
    torch.manual_seed(4)
    gate = Gate(SMOKE)
    torch.nn.init.normal_(gate.weight, std=0.2)
    x = torch.randn(9, SMOKE.hidden_size)
    gate.e_score_correction_bias[2] = 10.0
    weights, chosen = gate(x)
    assert (chosen == 2).any(dim=1).all()
    scores = (x @ gate.weight.T).sigmoid().gather(1, chosen)
    assert torch.allclose(weights, scores / scores.sum(1, keepdim=True), atol=1e-6)


def test_balancing_lowers_the_bias_of_a_crowded_expert():
    model = build()
    before = model.model.layers[1].mlp.gate.e_score_correction_bias.clone()
    balance(model, [torch.tensor([[0, 1], [0, 2], [0, 3]])])
    moved = model.model.layers[1].mlp.gate.e_score_correction_bias - before
    assert moved[0] < 0
    assert (moved[1:] > 0).all()


def test_the_shipped_shape_stays_under_five_million_and_counts_are_right():
    counts = count_parameters(LmConfig())
    assert counts["total"] < 5_000_000
    assert counts["total"] == sum(p.numel() for p in TinyDeepseek(LmConfig()).parameters())
    cfg = LmConfig()
    idle = (
        3 * 14 * 3 * cfg.hidden_size * cfg.moe_intermediate_size
    )  # 14 of 16 experts in 3 layers, 3 matrices
    assert counts["active"] == counts["total"] - idle


def test_an_unknown_field_of_a_configuration_is_refused():
    with pytest.raises(ValueError, match="n_group"):
        LmConfig.from_dict({**SMOKE.to_dict(), "n_group": 8})
