"""Loads, redundancy, placement, sampling and cards, against hand-worked numbers."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelhub.ml.activation import cards, load, placement, redundancy, sampling
from modelhub.ml.activation.describe import describe


def test_hot_is_over_twice_the_mean_and_cold_under_a_tenth():
    (layer,) = load.layer_loads(np.array([[50, 24, 25, 1]]))  # mean 25: hot over 50, cold under 2.5
    assert layer.hot == () and layer.cold == (3,)
    (layer,) = load.layer_loads(np.array([[51, 24, 24, 1]]))
    assert layer.hot == (0,) and layer.imbalance == pytest.approx(51 / 25)


def test_an_even_load_is_as_many_effective_experts_as_there_are():
    (layer,) = load.layer_loads(np.full((1, 8), 5))
    assert layer.effective == pytest.approx(8) and layer.imbalance == 1
    (one,) = load.layer_loads(np.array([[9, 0, 0]]))
    assert one.effective == pytest.approx(1)


def test_a_layer_that_saw_nothing_has_neither_hot_nor_cold_experts():
    (layer,) = load.layer_loads(np.zeros((1, 4)))
    assert layer.hot == layer.cold == ()


def test_the_hottest_are_found_over_all_layers():
    assert load.hottest(np.array([[1, 1, 8], [5, 4, 1]]), 2) == [(0, 2), (1, 0)]


def test_lift_is_the_parts_share_over_the_wholes():
    found = load.lift(np.array([[8, 2]]), np.array([[50, 50]]))
    assert found.tolist() == [[1.6, 0.4]]


def test_loads_without_a_common_expert_diverge_by_one_bit():
    assert load.divergence(np.array([[4, 0]]), np.array([[0, 9]])) == pytest.approx(1)
    assert load.divergence(np.array([[4, 4]]), np.array([[9, 9]])) == pytest.approx(0)
    assert np.isnan(load.divergence(np.zeros((1, 2)), np.ones((1, 2))))


def test_experts_chosen_together_by_chance_have_a_lift_of_one():
    rows = np.array([[1, 1], [1, 0], [0, 1], [0, 0]])
    assert redundancy.coactivation(rows)[0, 1] == pytest.approx(1)  # both 1/4, each 1/2
    always = np.array([[1, 1], [0, 0]])
    assert redundancy.coactivation(always)[0, 1] == pytest.approx(2)


def test_a_copied_expert_is_found_by_its_outputs():
    generator = np.random.default_rng(0)
    w1, w2 = generator.normal(size=(4, 6, 5)), generator.normal(size=(4, 5, 6))
    w1[3], w2[3] = w1[1], w2[1] * 2  # the same direction, twice as long
    x = generator.normal(size=(32, 5))
    alike = redundancy.output_similarity(redundancy.expert_outputs(x, w1, w2))
    assert alike[1, 3] == pytest.approx(1) and abs(alike[0, 1]) < 0.6
    (merge,) = redundancy.suggest(0, np.array([10, 10, 10, 30]), alike)
    assert merge.kind == "merge" and merge.experts == (1, 3) and merge.lost_share == pytest.approx(10 / 60)


def test_expert_outputs_are_the_banks_own():
    torch = pytest.importorskip("torch")
    from modelhub.ml.moe.experts import ExpertBank

    torch.manual_seed(0)
    bank = ExpertBank(3, 4, 6)
    x = torch.randn(5, 4)
    mine = redundancy.expert_outputs(x.numpy(), bank.w1.detach().numpy(), bank.w2.detach().numpy())
    for expert in range(3):
        theirs = bank(x, torch.ones(5, 1), torch.full((5, 1), expert))
        np.testing.assert_allclose(mine[expert], theirs.detach().numpy(), atol=1e-6)


def test_a_cold_expert_is_pruned_but_two_always_stay():
    found = redundancy.suggest(0, np.array([100, 0, 0, 100]))
    assert [s.experts for s in found] == [(1,), (2,)] and all(s.kind == "prune" for s in found)
    assert len(redundancy.suggest(0, np.array([100, 0, 0]), least=2)) == 1


def test_a_hot_expert_gets_the_replica_and_the_devices_even_out():
    plan = placement.plan_layer(0, np.array([60, 10, 10, 10, 5, 5]), devices=2, redundant=2)
    assert plan.replicas == (3, 1, 1, 1, 1, 1)
    assert plan.imbalance_before == pytest.approx(80 / 50)
    assert plan.imbalance_after < 1.25


@given(
    st.lists(st.integers(0, 1000), min_size=8, max_size=8),
    st.sampled_from([(2, 0), (4, 0), (2, 2), (4, 4), (8, 8)]),
)
@settings(max_examples=60, deadline=None)
def test_every_expert_has_a_place_and_every_device_equally_many(counts, shape):
    devices, redundant = shape
    plan = placement.plan_layer(0, np.array(counts), devices=devices, redundant=redundant)
    assert {len(d) for d in plan.devices} == {(8 + redundant) // devices}
    held = [e for d in plan.devices for e in d]
    assert tuple(held.count(e) for e in range(8)) == plan.replicas


def test_slots_that_cannot_be_shared_evenly_are_refused_with_a_way_out():
    with pytest.raises(ValueError, match="multiple of 4"):
        placement.plan_layer(0, np.ones(6), devices=4)


def test_vllm_is_told_how_many_replicas_pay():
    plan = placement.plan_layer(0, np.array([9, 1, 1, 1]), devices=2, redundant=2)
    found = placement.vllm_settings([plan])
    assert found["eplb_config"]["num_redundant_experts"] == 2
    assert sorted(set(found["expert_map"]["physical_to_logical_map"][0])) == [0, 1, 2, 3]


def test_calibration_rows_wake_rare_experts_that_a_random_draw_misses():
    rows = np.zeros((100, 10), int)
    rows[:91, 0] = 1
    for expert in range(1, 10):
        rows[90 + expert, expert] = 1
    chosen = sampling.calibration_rows(rows, 10)
    assert sampling.coverage(rows[chosen]) == 1.0
    assert sampling.coverage(rows[np.random.default_rng(0).permutation(100)[:10]]) < 1.0
    with pytest.raises(ValueError, match=r"1\.\.100"):
        sampling.calibration_rows(rows, 101)


def some_rows() -> cards.Rows:
    """Expert 0 serves long clauses, expert 1 short greetings, and expert 1 is wrong half of the time."""
    counts = np.zeros((80, 1, 2), int)
    counts[:40, 0, 0] = 5
    counts[40:, 0, 1] = 5
    labels = ["clause"] * 40 + ["greeting"] * 20 + ["thanks"] * 20
    correct = np.array([True] * 40 + [True] * 18 + [False] * 2 + [False] * 18 + [True] * 2)
    return cards.Rows(counts, labels, np.array([100] * 40 + [5] * 40), correct)


def test_a_card_says_in_words_what_an_expert_serves():
    first, second = cards.expert_cards(some_rows())
    assert first.title == "long, clause" and first.labels[0].lift == pytest.approx(2)
    assert second.title == "short, greeting, thanks"


def test_the_weakest_busy_expert_is_named_with_its_worst_slice():
    weak = cards.weakest_busy(some_rows(), 1)[0]
    assert (weak.expert, weak.rows, weak.accuracy) == (1, 40, 0.5)
    assert weak.slices[0] == ("thanks", 0.1, 20)


def test_a_manifest_names_cards_look_alikes_and_the_weakest():
    rows = some_rows()
    heads = ["legal"] * 40 + ["chat"] * 40
    alike = np.array([[1.0, 0.95], [0.95, 1.0]])
    found = describe(rows.counts, heads, rows.labels, rows.tokens, correct=rows.correct, alike=[alike])
    assert found["texts"] == 80 and json.loads(json.dumps(found)) == found
    assert found["cards"][0]["labels"][0] == {"head": "legal", "label": "clause", "share": 1.0, "lift": 2.0}
    assert found["similar"] == [{"layer": 0, "first": 0, "second": 1, "together": 0.0, "alike": 0.95}]
    assert found["weakest"][0]["slices"][0] == {
        "head": "chat",
        "label": "thanks",
        "accuracy": 0.1,
        "rows": 20,
    }
