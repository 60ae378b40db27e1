"""The Dynamic Gating Network: how many experts, which, how mixed, and how balanced."""

import numpy as np
import pytest
import torch

from modelhub.ml import export, features
from modelhub.ml.moe import balance
from modelhub.ml.moe.experts import ExpertBank
from modelhub.ml.moe.gate import DynamicGate, RoutingNotFinite, SigmoidGate, route
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


def test_a_load_of_another_number_of_experts_is_refused():
    with pytest.raises(ValueError, match=r"\(3,\), the gate has 4 experts"):
        balance.move_selection_bias(DynamicGate(8, 4), torch.ones(3))


def test_steps_of_the_bias_even_out_a_lopsided_load():
    torch.manual_seed(0)
    gate = DynamicGate(16, 8)
    x = torch.randn(512, 16) + 2 * gate.keys.detach()[0]  # everybody would like the first expert
    loads = [balance.expert_load(gate(x), 8)]
    for _ in range(400):
        balance.move_selection_bias(gate, loads[-1])
        loads.append(balance.expert_load(gate(x), 8))
    assert float(loads[-1].std() / loads[-1].mean()) < 0.3 * float(loads[0].std() / loads[0].mean())


def test_equal_scores_go_to_the_lower_index():
    assert (
        route(torch.zeros(2, 40), torch.zeros(40), k_min=2, k_max=4, mass=0.4).experts.tolist()
        == [[0, 1, 2, 3]] * 2
    )


@pytest.mark.parametrize("make", [lambda: DynamicGate(16, 8), lambda: SigmoidGate(16, 8, top_k=2)])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_activations_that_are_not_numbers_are_refused_rather_than_routed_by_chance(make, bad):
    x = torch.randn(9, 16)
    x[[2, 7], 5] = bad
    with pytest.raises(RoutingNotFinite, match=r"2 of 9 tokens .*first rows \[2, 7\]"):
        make()(x)


def test_a_gate_whose_own_parameters_are_spoilt_is_refused():
    gate = DynamicGate(16, 8)
    gate.scale.data.fill_(float("nan"))
    with pytest.raises(RoutingNotFinite, match="9 of 9"):
        gate(torch.randn(9, 16))


@pytest.mark.parametrize("tokens", [0, 1, 10_000])
def test_no_token_is_left_without_experts_whatever_the_batch(tokens):
    torch.manual_seed(0)
    routing = DynamicGate(16, 8)(torch.randn(1, 16).repeat(tokens, 1))  # all want the same experts
    assert routing.experts.shape == (tokens, 4)
    assert bool((routing.chosen >= 2).all())
    assert torch.allclose(routing.weights.sum(-1), torch.ones(tokens))
    assert bool(routing.z_loss.isfinite())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k_min": 0}, "1 <= k_min"),
        ({"k_min": 3, "k_max": 2}, "k_min=3, k_max=2"),
        ({"k_max": 9}, "k_max <= 8"),
        ({"mass": 0.0}, "mass=0.0"),
        ({"mass": 1.5}, "mass=1.5"),
    ],
)
def test_a_k_or_a_mass_that_cannot_be_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        DynamicGate(16, 8, **options)
    with pytest.raises(ValueError, match=message):
        route(torch.zeros(1, 8), torch.zeros(8), **{"k_min": 2, "k_max": 4, "mass": 0.4} | options)


def test_the_z_loss_is_the_mean_squared_log_partition():
    routing = route(torch.tensor([[0.0, 0.0], [1.0, 3.0]]), torch.zeros(2), k_min=1, k_max=1, mass=0.4)
    expected = (np.log(2.0) ** 2 + np.log(np.exp(1.0) + np.exp(3.0)) ** 2) / 2
    assert float(routing.z_loss) == pytest.approx(expected, rel=1e-6)


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
