"""Experts taught to be specialists: the term's value, what moves, who counts as a specialist, and runs that go on where cut."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

from modelhub.ml.activation import served_encoder, specialise, specialised  # noqa: E402
from modelhub.ml.activation.specialise import Config, Ground  # noqa: E402
from modelhub.ml.text.encoder import SparseEncoder  # noqa: E402
from modelhub.ml.train.encoder_loop import HeadMap  # noqa: E402
from tests.modelhub.activation.small import CONFIG, LABELS, embeddings, rows  # noqa: E402

SMALL = Config(seeds=(1, 2), blocks=1, steps=40, batch=8, width=16, weight=3.0, focus=1.0, gate_rate=1e-1)


@pytest.fixture(scope="module")
def ground() -> Ground:
    torch.manual_seed(1)
    model = SparseEncoder(CONFIG, {name: len(own) for name, own in LABELS.items()}).eval()
    train, val = rows(120, 1), rows(80, 2)
    states = [served_encoder.lower(model, embeddings(), part, 2, width=16)[0] for part in (train, val)]
    features, _ = served_encoder.upper_all(model, 2, states[0], 16)
    with torch.no_grad():
        logits = HeadMap(model, "cpu").logits(
            model, torch.from_numpy(features), torch.from_numpy(train.workload)
        )
    return Ground(model, 2, train, val, states[0], states[1], logits.softmax(dim=1).half())


def test_the_term_is_the_mutual_information_where_both_weigh_alike():
    owner = torch.tensor([0, 0, 1, -1])
    apart = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])  # the last is filling
    assert float(specialise.informed(apart, owner, 2, 1.0, 1.0)) == pytest.approx(math.log(2), abs=1e-5)
    alike = torch.full((4, 2), 0.5)
    assert float(specialise.informed(alike, owner, 2, 1.0, 1.0)) == pytest.approx(0, abs=1e-5)
    assert float(specialise.informed(alike, owner, 2, 1.0, 2.0)) == pytest.approx(-math.log(2), abs=1e-5)


def test_loads_tell_as_much_as_their_experts_are_apart():
    apart = np.array([[[8, 0], [4, 4]], [[0, 2], [1, 1]]])  # two workloads, two layers
    assert specialised.mutual_information(apart) == pytest.approx([math.log(2), 0.0], abs=1e-6)


def test_what_is_taught_parts_workloads_and_moves_nothing_below(ground):
    before = specialised.judge(ground.model, 2, ground.val, ground.val_states, 16, seed=1)
    assert before["block_silenced_points"].keys() == {"2"} and not ground.model.blocks[2].experts.silent
    model = specialise.trained(ground, "gates", SMALL, seed=1)
    after = specialised.judge(model, 2, ground.val, ground.val_states, 16, seed=1)
    assert after["mutual_information"][0] > before["mutual_information"][0] + 0.04
    old = dict(ground.model.named_parameters())
    moved = {name for name, value in model.named_parameters() if not torch.equal(value, old[name])}
    assert moved == {"layers.2.experts.gate.keys", "layers.2.experts.gate.scale"}
    plain = specialise.trained(ground, "unspecialised", SMALL, seed=1)
    moved = {name for name, value in plain.named_parameters() if not torch.equal(value, old[name])}
    assert {"layers.2.experts.w1", "heads.mail.weight", "norm.weight"} <= moved
    assert all(name.startswith(("layers.2.experts.", "norm.", "heads.")) for name in moved)
    assert specialise.trained(ground, "shipped", SMALL, seed=1) is ground.model
    with pytest.raises(ValueError, match="none of shipped"):
        specialise.trained(ground, "all", SMALL, seed=1)


def test_an_expert_that_is_switched_off_sees_nobody_and_comes_back(ground):
    counts = served_encoder.upper_all(ground.model, 2, ground.val_states, 16)[1]
    pair = specialised.hottest(specialised.loads_of(counts, ground.val), 0)
    bias = ground.model.blocks[2].experts.gate.selection_bias.clone()
    with specialised.switched_off([ground.model.blocks[2].experts.gate], pair):
        without = served_encoder.upper_all(ground.model, 2, ground.val_states, 16)[1]
    gone = [expert for _, expert in pair]
    assert counts[:, 0, gone].sum() > 0 and without[:, 0, gone].sum() == 0
    assert torch.equal(ground.model.blocks[2].experts.gate.selection_bias, bias)


def costs(own: float, low: float, others: float) -> dict[str, dict[str, float]]:
    nothing = {"nats": 0.0, "nats_low": 0.0}
    theirs = {"points": others, "points_low": 0.0}
    return {"mine": {"points": own, "points_low": low} | nothing, "theirs": theirs | nothing}


@pytest.mark.parametrize(
    ("own", "low", "others", "met"),
    [
        (6.0, 2.0, 2.0, True),
        (6.0, 2.0, 2.1, False),  # under three times
        (6.0, 2.0, -1.0, True),  # the others even gain: the pair is its workload's alone
        (1.0, -0.2, 0.0, False),  # within chance
        (0.0, 0.0, 0.0, False),  # nobody loses anything
    ],
)
def test_a_pair_is_a_workloads_own_beyond_chance_and_three_times(own, low, others, met):
    assert specialised.verdict(costs(own, low, others), "mine")["met"] is met


def test_runs_go_on_where_they_were_cut_and_the_shipped_model_is_judged_once(ground, tmp_path, monkeypatch):
    config = replace(SMALL, steps=2, arms=("shipped", "experts"))
    found = specialise.run_all(ground, config, tmp_path)
    assert [(run["arm"], run["seed"]) for run in found] == [("shipped", 1), ("experts", 1), ("experts", 2)]
    (tmp_path / "experts-2.json").unlink()
    ran = []
    real = specialise.run_once
    monkeypatch.setattr(
        specialise, "run_once", lambda ground, arm, config, seed: ran.append((arm, seed)) or real(ground, arm, config, seed)
    )  # fmt: skip
    again = specialise.run_all(ground, config, tmp_path)
    assert ran == [("experts", 2)]
    assert [run["by_workload"] for run in again] == [run["by_workload"] for run in found]
