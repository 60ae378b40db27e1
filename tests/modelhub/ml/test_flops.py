"""What a sparse network touches and computes: formulas, held to hand-worked numbers and to torch's own counter."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from modelhub.ml.kb.facts import ATTRIBUTES
from modelhub.ml.kb.model import KnowledgeConfig, KnowledgeNet
from modelhub.ml.lm.config import SMOKE
from modelhub.ml.lm.model import TinyDeepseek
from modelhub.ml.moe import flops
from modelhub.ml.moe.model import (
    GatingConfig,
    SharePromiseBroken,
    active_parameters,
    build,
    mean_experts_used,
)


def test_the_active_share_of_known_shapes_is_as_worked_by_hand():
    # d=256, 3 layers, attention 4·256² a layer, one shared expert, k=3, in units of 256²: with E=16, f=256 that is
    # (4 + 4·2) of (4 + 17·2); with E=32, f=128 it is (4 + 4·1) of (4 + 33·1).
    attention = 3 * 4 * 256 * 256
    for experts, hidden, expected in ((16, 256, 12 / 38), (32, 128, 8 / 37)):
        ffn = 3 * (experts + 1) * 2 * 256 * hidden
        share = flops.active_share(ffn / (ffn + attention), experts, 1, 3)
        assert share == pytest.approx(expected)


def test_the_builders_share_is_the_formulas_share():
    model = build(GatingConfig(width=32, layers=2, experts=32, hidden=16), {"a": 3})
    total = sum(p.numel() for p in model.parameters())
    ffn = sum(
        p.numel() for block in model.blocks for p in [*block.bank.parameters(), *block.shared.parameters()]
    )
    expected = flops.active_share(ffn / total, 32, 1, 3.0)
    assert active_parameters(model, 3.0)["active_share"] == pytest.approx(expected)


@pytest.mark.parametrize("activation", ["silu", "swiglu"])
@pytest.mark.parametrize("shared", [0, 1, 2])
def test_flops_by_formula_are_torchs_count_within_five_percent(activation, shared):
    torch.manual_seed(0)
    config = GatingConfig(
        width=64, layers=2, experts=32, hidden=32, shared=shared, activation=activation, declared_share=0.6
    )
    model = build(config, {"a": 3, "b": 11}).eval()
    pooled = torch.randn(50, 64)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(pooled, "b")
    chosen = mean_experts_used(model, pooled)
    assert 2.0 <= chosen <= 4.0
    formula = flops.network_flops(config, 11, chosen).total
    assert formula == pytest.approx(counter.get_total_flops() / 50, rel=0.05)


def test_a_facts_flops_are_torchs_count():
    torch.manual_seed(0)
    config = KnowledgeConfig(width=32, experts=8, hidden=16)
    model = KnowledgeNet(config).eval()
    equipment, code = torch.arange(20) % 24, torch.arange(60).view(20, 3) % 16
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        _, routings = model(equipment, code)
    chosen = float(torch.stack([r.chosen.float().mean() for r in routings]).mean())
    formula = flops.knowledge_flops(config, sum(ATTRIBUTES.values()), chosen)
    assert formula == pytest.approx(counter.get_total_flops() / 20, rel=0.01)


def test_a_written_tokens_flops_are_torchs_count():
    torch.manual_seed(0)
    model = TinyDeepseek(SMOKE).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.randint(3, 600, (2, 24)))
    assert flops.language_flops(SMOKE, 24) == pytest.approx(counter.get_total_flops() / 48, rel=0.01)


def test_the_dense_network_of_equal_total_is_every_expert_without_a_gate():
    config = GatingConfig(width=64, layers=1, experts=32, hidden=32, shared=1)
    assert flops.dense_total_flops(config, 0) == 33 * 2 * 2 * 64 * 32


def test_a_card_tells_share_and_flops():
    model = build(GatingConfig(width=64, layers=2, experts=32, hidden=32), {"a": 3, "b": 5})
    card = flops.card_figures(model, 2.5)
    one = 2 * 2 * 64 * 32
    assert card["flops_by_part"] == {
        "gate": 2 * 2 * 64 * 32, "experts": 2 * 2.5 * one, "shared": 2 * one, "head": 2 * 64 * 5,
    }  # fmt: skip
    assert card["flops_per_token"] == sum(card["flops_by_part"].values())
    assert card["flops_share"] == pytest.approx(card["flops_per_token"] / (2 * 33 * one + 640), abs=1e-4)
    assert card["active_share"] == pytest.approx(active_parameters(model, 2.5)["active_share"], abs=1e-4)


def test_sixteen_wide_experts_miss_a_promise_that_thirty_two_narrow_ones_keep():
    with pytest.raises(SharePromiseBroken, match="use more or smaller experts"):
        build(GatingConfig(width=64, experts=8, hidden=64), {"a": 3}, mean_chosen=3.0)
    build(GatingConfig(width=64, experts=32, hidden=16), {"a": 3}, mean_chosen=3.0)


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match=r"mean_chosen=5.* 2\.\.4"):
        build(GatingConfig(width=64, experts=32, hidden=16), {"a": 3}, mean_chosen=5.0)
    with pytest.raises(ValueError, match=r"0\.\.16"):
        flops.active_share(0.5, 16, 1, 17)
    with pytest.raises(ValueError, match=r"0\.\.1"):
        flops.active_share(1.5, 16, 1, 3)
    with pytest.raises(ValueError, match="k_max=9"):
        build(GatingConfig(width=64, experts=8, hidden=16, k_max=9), {"a": 3})
    with pytest.raises(ValueError, match="unknown"):
        build(GatingConfig(width=64, experts=32, hidden=16, activation="tanh"), {"a": 3})
