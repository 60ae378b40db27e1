"""Fault-code knowledge: facts that can't be inferred, and a score that says how many are held."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from modelhub.ml.kb import specialists  # noqa: E402
from modelhub.ml.kb.facts import ATTRIBUTES, EQUIPMENT, generate  # noqa: E402
from modelhub.ml.kb.model import KnowledgeConfig, KnowledgeNet, count_parameters  # noqa: E402
from modelhub.ml.kb.train import learn, recall_loss, recalled, variants  # noqa: E402

torch.set_num_threads(1)
TINY = KnowledgeConfig(width=32, layers=1, experts=4, hidden=32)


def test_the_same_seed_gives_the_same_facts_and_no_code_twice_on_one_kind():
    facts, again = generate(codes=50), generate(codes=50)
    assert np.array_equal(facts.answers, again.answers)
    for kind in range(len(EQUIPMENT)):
        own = facts.code[facts.equipment == kind]
        assert len(np.unique(own, axis=0)) == 50
    assert not np.array_equal(facts.answers, generate(codes=50, seed=2).answers)


def test_one_code_means_something_else_on_another_kind():
    facts = generate(codes=4096, equipment=2)
    first, second = (facts.answers[facts.equipment == kind] for kind in (0, 1))
    order = [np.lexsort(facts.code[facts.equipment == kind].T) for kind in (0, 1)]
    same = (first[order[0]] == second[order[1]]).mean()
    assert abs(same - 1 / 24) < 0.01


def test_a_few_facts_are_learnt_by_heart_and_are_gone_without_experts():
    facts = generate(codes=30, equipment=6)
    model, _ = learn(TINY, facts, steps=300, batch=60, rate=1e-2, seed=1, device="cpu")
    share, chosen = recalled(model, facts, "cpu")
    assert share > 0.95
    assert 2.0 <= chosen <= 4.0
    model.silence(True)
    assert recalled(model, facts, "cpu")[0] < 0.6


def test_the_loss_of_even_odds_is_the_mean_entropy():
    logits, answers = (
        torch.zeros(3, sum(ATTRIBUTES.values())),
        torch.zeros(3, len(ATTRIBUTES), dtype=torch.long),
    )
    wanted = float(np.mean([np.log(size) for size in ATTRIBUTES.values()]))
    assert float(recall_loss(logits, answers)) == pytest.approx(wanted, rel=1e-6)


def test_dense_neighbours_have_the_size_they_are_named_after():
    made = {name: KnowledgeNet(config) for name, config in variants(KnowledgeConfig()).items()}
    sparse = count_parameters(made["sparse"], 3.0)
    assert abs(count_parameters(made["dense_total"], 0)["total"] / sparse["total"] - 1) < 0.02
    assert abs(count_parameters(made["dense_active"], 0)["total"] / sparse["active"] - 1) < 0.05


def test_a_pair_that_only_one_kind_of_equipment_uses_is_its_own():
    """A network by hand: kind 0's facts pass experts 0 and 1, all others pass 2 and 3; only experts answer."""
    config = KnowledgeConfig(width=8, layers=1, experts=4, hidden=2, shared=0, k_max=2)
    torch.manual_seed(0)
    model = KnowledgeNet(config).eval()
    facts = generate(codes=6)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        block = model.blocks[0]
        block.norm.weight.fill_(1.0)
        model.norm.weight.fill_(1.0)
        model.equipment.weight[:, 0] = -4.0
        model.equipment.weight[0, 0] = 4.0
        block.gate.scale.fill_(10.0)
        block.gate.keys[:2, 0], block.gate.keys[2:, 0] = 1.0, -1.0
        block.gate.selection_bias.copy_(torch.tensor([0.1, 0.0, 0.1, 0.0]))
        block.bank.w1[:2, 0, 0], block.bank.w1[2:, 0, 0] = 1.0, -1.0  # each pair hears its own side alone
        block.bank.w2[:, 1, 0] = 8.0
        model.head.weight[:, 1] = 0.0
        for place in (1, 25, 49, 73):  # the second answer of each attribute, where an expert spoke
            model.head.weight[place, 1] = 1.0
        model.head.bias[[0, 24, 48, 72]] = 0.1  # the first one, where none did
    facts.answers[:] = 1
    found = specialists.measure(model, facts)
    assert found["recalled"] == 1.0
    own = found["kinds"]["feed pump"]
    assert {tuple(place) for place in own["experts"]} == {(0, 0), (0, 1)}
    assert own["own_points"] == pytest.approx(100) and own["others_points"] == pytest.approx(0) and own["met"]
    other = found["kinds"]["welder"]
    assert other["own_points"] == pytest.approx(100) and other["others_points"] > 90 and not other["met"]
    assert torch.equal(block.gate.selection_bias, torch.tensor([0.1, 0.0, 0.1, 0.0]))
