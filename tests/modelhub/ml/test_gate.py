"""The Dynamic Gating Network: how many experts, which, how mixed, and how balanced."""

import numpy as np
import pytest
import torch

from modelhub.ml import export, features
from modelhub.ml.moe import balance
from modelhub.ml.moe.experts import ExpertBank
from modelhub.ml.moe.gate import DynamicGate, route
from modelhub.ml.moe.model import GatingConfig, SharePromiseBroken, active_parameters, build
from modelhub.ml.text import graphs


def logits_of(*probabilities: float) -> torch.Tensor:
    return torch.tensor([probabilities]).log()


def test_two_experts_are_enough_when_they_carry_the_mass():
    routing = route(logits_of(0.3, 0.3, 0.2, 0.1, 0.1), torch.zeros(5), k_min=2, k_max=4, mass=0.4)
    assert routing.chosen.tolist() == [2]
    assert routing.weights[0].tolist() == pytest.approx([0.5, 0.5, 0.0, 0.0])


def test_a_third_expert_joins_when_two_fall_short_of_the_mass():
    routing = route(logits_of(0.19, 0.18, 0.17, 0.16, 0.15, 0.15), torch.zeros(6), k_min=2, k_max=4, mass=0.4)
    assert routing.chosen.tolist() == [3]
    assert routing.experts[0, :3].tolist() == [0, 1, 2]
    assert float(routing.weights.sum()) == pytest.approx(1.0)


def test_never_more_than_four_experts():
    routing = route(torch.zeros(1, 40), torch.zeros(40), k_min=2, k_max=4, mass=0.9)
    assert routing.chosen.tolist() == [4]


def test_the_selection_bias_changes_who_is_chosen_but_not_the_weights():
    logits = logits_of(0.4, 0.3, 0.2, 0.1)
    bias = torch.tensor([0.0, 0.0, 0.0, 1.0])
    routing = route(logits, bias, k_min=2, k_max=2, mass=0.4)
    assert routing.experts[0].tolist() == [3, 0]
    assert routing.weights[0].tolist() == pytest.approx([0.1 / 0.5, 0.4 / 0.5])


def test_the_bias_moves_by_a_thousandth_towards_even_load():
    gate = DynamicGate(8, 4)
    balance.move_selection_bias(gate, torch.tensor([10.0, 0.0, 4.0, 2.0]))
    assert gate.selection_bias.tolist() == pytest.approx([-0.001, 0.001, 0.0, 0.001])


def test_experts_over_twice_the_mean_load_are_hot():
    assert balance.hot_experts(torch.tensor([1.0, 9.0, 1.0, 1.0])) == [1]


def test_the_gate_computes_in_float32_for_half_precision_inputs():
    gate = DynamicGate(16, 8).bfloat16()
    routing = gate(torch.randn(3, 16, dtype=torch.bfloat16))
    assert routing.weights.dtype == torch.float32


def test_grouped_experts_agree_with_a_loop_over_tokens():
    torch.manual_seed(0)
    bank = ExpertBank(6, 8, 5).double()
    x = torch.randn(7, 8, dtype=torch.float64)
    routing = route(torch.randn(7, 6), torch.zeros(6), k_min=2, k_max=4, mass=0.5)
    expected = torch.zeros_like(x)
    for token in range(7):
        for weight, expert in zip(routing.weights[token], routing.experts[token], strict=True):
            hidden = bank.w1[expert] @ x[token]
            expected[token] += weight.double() * (bank.w2[expert] @ (hidden * hidden.sigmoid()))
    assert torch.allclose(bank(x, routing.weights, routing.experts), expected, atol=1e-7)


def test_the_builder_refuses_a_configuration_that_breaks_its_promise():
    with pytest.raises(SharePromiseBroken, match="declared"):
        build(GatingConfig(width=32, experts=4, hidden=16, declared_share=0.3), {"a": 3})


def test_the_active_share_equals_a_count_by_hand():
    model = build(GatingConfig(width=32, layers=1, experts=32, hidden=16), {"a": 3, "b": 5})
    expert, norm = 2 * 32 * 16, 2 * 32
    gate, head_a, head_b = 32 * 32 + 1, 33 * 3, 33 * 5
    total = 33 * expert + 2 * norm + gate + head_a + head_b
    found = active_parameters(model, mean_chosen=3.0)
    assert found["total"] == total
    assert found["active"] == 4 * expert + 2 * norm + gate + head_b
    assert found["active_share"] == pytest.approx(found["active"] / total)


def test_the_random_router_ignores_its_input_and_the_learned_one_does_not():
    torch.manual_seed(0)
    x = torch.randn(1, 16).repeat(64, 1)
    learned, random = DynamicGate(16, 32), DynamicGate(16, 32, random_router=True)
    assert len(set(learned(x).experts[:, 0].tolist())) == 1
    assert len(set(random(x).experts[:, 0].tolist())) > 8


def test_the_exported_body_agrees_with_the_network(tmp_path):
    torch.manual_seed(0)
    model = build(GatingConfig(width=32, experts=32, hidden=16), {"a": 3}).eval()
    for layer in model.layers:
        layer.gate.selection_bias.normal_(0, 0.01)
        layer.bank.w2.data *= 10
    export.round_to_half(model)
    pooled = torch.randn(40, 32)
    with torch.no_grad():
        expected, routings = model.features(pooled)
    assert {2, 3, 4} & set(torch.cat([r.chosen for r in routings]).tolist())
    path = tmp_path / "body.onnx"
    graphs.write_gating_body(export.state_arrays(model), path, layers=2, mass=model.config.mass)
    assert export.check_parity(path, {"pooled": pooled.numpy()}, expected.numpy(), tolerance=1e-4) < 1e-4
    with pytest.raises(export.ParityBroken):
        export.check_parity(path, {"pooled": pooled.numpy()}, expected.numpy() + 0.1)
    assert features.open_session(path).run(None, {"pooled": pooled.numpy()[:1]})[0].shape == (1, 32)


def test_leaving_the_experts_out_changes_the_answers():
    torch.manual_seed(0)
    model = build(GatingConfig(width=32, experts=32, hidden=16), {"a": 3}).eval()
    x = torch.randn(4, 32)
    with_experts = model(x, "a")
    for layer in model.layers:
        layer.silent = True
    assert not np.allclose(with_experts.detach(), model(x, "a").detach())
