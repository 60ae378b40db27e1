"""Fewer experts from many: neurons in another order are the same expert, twins are found, and the plan for large models."""

import json

import numpy as np
import pytest

from modelhub.ml.compress import two_hundred
from modelhub.ml.compress.merge import Experts, align, clusters, leave_out, reduce
from modelhub.ml.compress.plan import Device, LargeModel, Work, memory_bytes, plan

RNG = np.random.default_rng(0)
E, F, D, N = 6, 8, 10, 64


def bank(twins=True):
    """Six experts; the last two are the first two with their neurons in another order."""
    w1, w2 = RNG.standard_normal((E, F, D)).astype("f4"), RNG.standard_normal((E, D, F)).astype("f4")
    if twins:
        for original, copy in ((0, 4), (1, 5)):
            order = RNG.permutation(F)
            w1[copy], w2[copy] = w1[original][order], w2[original][:, order]
    return Experts(w1, w2, RNG.standard_normal((E, D)).astype("f4"))


def test_alignment_finds_the_order_that_was_shuffled():
    experts = bank(twins=False)
    order = RNG.permutation(F)
    found = align(experts.w1[0][order], experts.w2[0][:, order], experts.w1[0], experts.w2[0])
    np.testing.assert_array_equal(experts.w1[0][order][found], experts.w1[0])
    with pytest.raises(ValueError, match="gated experts can't be aligned"):
        align(np.zeros((2 * F, D)), np.zeros((D, F)), np.zeros((2 * F, D)), np.zeros((D, F)))


def test_twins_are_clustered_by_what_they_say_and_merging_them_loses_nothing():
    experts, x = bank(), RNG.standard_normal((N, D)).astype("f4")
    said = experts.said(x)
    groups = clusters(said)
    assert groups.tolist() == [0, 1, 2, 3, 0, 1]
    assert clusters(said, alike=None, count=4).tolist() == groups.tolist()
    load = np.array([5, 1, 1, 1, 20, 3])
    merged = reduce(experts, groups, load, x)
    assert len(merged.experts) == 4 and merged.report["merged"] == 4
    np.testing.assert_allclose(merged.experts.said(x), said[[0, 1, 2, 3]], rtol=1e-3, atol=1e-3)
    wanted = (5 * experts.keys[0] + 20 * experts.keys[4]) / 25
    np.testing.assert_allclose(merged.experts.keys[0], wanted, rtol=1e-5)
    assert (
        reduce(experts, groups, load, x, "prune").experts.keys[0].tolist() == experts.keys[4].tolist()
    )  # the busier


def test_without_alignment_the_same_merge_would_ruin_both():
    experts, x = bank(), RNG.standard_normal((N, D)).astype("f4")
    plain = (experts.w1[0] + experts.w1[4]) / 2, (experts.w2[0] + experts.w2[4]) / 2
    ruined = Experts(plain[0][None], plain[1][None], experts.keys[:1]).said(x)[0]
    aligned = reduce(experts, clusters(experts.said(x)), np.ones(E), x).experts.said(x)[0]
    wanted = experts.said(x)[0]
    assert np.abs(aligned - wanted).mean() < 0.01 * np.abs(ruined - wanted).mean()


def test_who_is_chosen_together_is_a_second_voice():
    outputs = RNG.standard_normal((4, N, D))
    log = np.zeros((100, 4))
    log[:50, :2] = 1
    log[50:, 2:] = 1
    assert clusters(outputs, alike=None, count=2, log=log, log_weight=0.9).tolist() == [0, 0, 1, 1]
    with pytest.raises(ValueError, match="either how alike"):
        clusters(outputs, alike=0.5, count=2)


def test_idle_experts_are_left_out_and_one_always_stays():
    experts = bank(twins=False)
    found = leave_out(experts, np.array([100, 90, 80, 1, 0, 70]), 0.1)
    assert found.home.tolist() == [0, 1, 2, -1, -1, 3] and found.report["left_out"] == [3, 4]
    assert found.report["load_that_moves"] == pytest.approx(1 / 341, abs=1e-4)
    assert len(leave_out(experts, np.ones(E), 99.0).experts) == 1


def test_the_run_with_many_experts_finds_the_planted_pairs_and_chance_does_not():
    found = two_hundred.run(
        two_hundred.TwoHundred(experts=24, width=16, hidden=12, twins=6, steps=150, batch=512)
    )
    assert found["planted_pairs_found"] >= 5 / 6
    assert found["error"] < 0.2 and found["error_merged"] < found["error_merged_by_chance"] / 2
    assert found["groups"] < 24


H100 = Device("H100", 80e9, 756e3)


def test_memory_is_what_the_arithmetic_says():
    model = LargeModel(experts=200, expert_parameters=0.5e9, shared_parameters=0)
    assert memory_bytes(model, "bfloat16") == 200e9
    assert memory_bytes(model, "int8") == 100e9 * (1 + 4 / 64)
    found = plan(model, [H100] * 4)
    assert found.memory_gib["float32"] == round(400e9 / 2**30, 1)
    assert found.devices_needed == {"float32": 6, "bfloat16": 3, "float16": 3, "int8": 2, "int4": 1}


def test_a_plan_places_every_expert_evens_out_the_load_and_says_that_it_is_simulated():
    load = np.concatenate([np.full(20, 50.0), np.ones(180)])
    found = plan(LargeModel(), [H100] * 4, load=load).as_dict()
    assert found["simulated"] is True
    placed = [expert for device in found["placement"]["devices"] for expert in device]
    assert set(placed) == set(range(200)) and len(placed) % 4 == 0
    assert found["placement"]["imbalance_after"] < 1.1 < found["placement"]["imbalance_before"]
    distil = next(stage for stage in found["stages"] if stage["stage"].startswith("distil"))
    flops = (2 * (4 * 0.5e9 + 2e9) + 6 * 1e9) * 2e9
    assert distil["flops"] == pytest.approx(flops, rel=0.01)
    assert distil["seconds"] == pytest.approx(flops / (4 * 756e12 * 0.4), rel=0.01)
    assert any("Nothing of this was run" in note for note in found["notes"])
    fast = plan(LargeModel(), [H100] * 8, work=Work(distil_tokens=1e9)).as_dict()
    assert fast["stages"][4]["seconds"] == pytest.approx(distil["seconds"] / 4, rel=0.01)


def test_what_doesnt_fit_is_refused_with_how_much_it_takes(tmp_path):
    with pytest.raises(ValueError, match="at least one device"):
        plan(LargeModel(), [])
    with pytest.raises(ValueError, match=r"even in 4 bits: \d+ are needed"):
        plan(LargeModel(experts=2000), [H100])
    (tmp_path / "odd.json").write_text(json.dumps({"name": "odd", "tflops": {}}))
    with pytest.raises(ValueError, match="neither memory nor speed"):
        Device.recorded(tmp_path / "odd.json")
