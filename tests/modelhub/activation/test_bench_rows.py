"""Benchmark rows of the loop, of verticals and of pricing: figures with their controls, misses kept, nothing run said so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bench import business
from bench.common import Results
from bench.tools import data_loop, specialisation, verticals
from modelhub.ml.pricing import generator
from modelhub.ml.pricing.reprice import Event


def report(own: float, random: float) -> dict[str, Any]:
    def changes(gain: float) -> dict[str, Any]:
        change = {"median": gain, "low": gain - 1, "high": gain + 1, "by_seed": [gain - 1, gain, gain + 1]}
        return {"slices": change, "elsewhere": change, "overall": change}

    return {
        "config": {"extra": 720, "steps": 60, "seeds": [1, 2, 3]}, "trained": "heads", "rows": {"judged": 900, "on_slices": 90},
        "findings": [{"left_out": 3}], "changes": {"weak_rows": changes(own), "random_rows": changes(random)},
    }  # fmt: skip


@pytest.mark.parametrize(("own", "random", "met"), [(2.0, 0.5, True), (-1.0, 0.5, False)])
def test_the_loop_is_met_only_where_its_rows_beat_random_ones(
    monkeypatch, own: float, random: float, met: bool
):
    monkeypatch.setattr(data_loop, "loop_report", lambda: report(own, random))
    results = Results("models")
    data_loop.rows(results)
    found = {row.metric: row for row in results.rows}
    assert found["data_loop_slice_points"].met is met and found["data_loop_overall_points"].met is None
    controls = {row.metric: row.value for row in results.controls}
    assert controls["data_loop_slice_points_random_rows"] == random and found["data_loop_slice_points"].n == 3


def test_a_model_without_a_report_counts_as_not_run(monkeypatch):
    monkeypatch.setattr(data_loop, "loop_report", lambda: None)
    results = Results("models")
    data_loop.rows(results)
    assert [(row.value, row.met) for row in results.rows] == [(None, None)] * 2
    assert all("not run" in row.how for row in results.rows)


def taught(arm: str, seed: int, met: int) -> dict[str, Any]:
    row = {
        "own_points": 2.0,
        "others_points": 0.1,
        "own_nats": 0.2,
        "others_nats": 0.0,
        "random_own_points": [0.0, 0.4],
    }
    return {"arm": arm, "seed": seed, "met": met, "met_nats": 2, "accuracy": 0.9, "rows": 50, "mutual_information": [0.2, 0.4],
            "block_silenced_points": {"4": {"mail": 0.5, "notes": -0.5}}, "workloads": {"mail": row, "notes": row}}  # fmt: skip


def test_specialists_are_counted_by_arm_with_the_model_as_it_ships_as_control(monkeypatch):
    runs = [
        taught("shipped", 1, 0),
        *(taught("experts", seed, met) for seed, met in ((1, 2), (2, 2), (3, 1))),
    ]
    report = {
        "config": {"blocks": 2, "steps": 9, "batch": 8},
        "machine": {"cpu": "x"},
        "runs": runs,
        "whole": runs[0],
    }
    monkeypatch.setattr(specialisation, "specialisation_report", lambda: report)
    results = Results("models")
    specialisation.text_rows(results)
    found = {row.metric: row for row in results.rows}
    assert (found["specialised_workloads"].value, found["specialised_workloads"].met) == (0, False)
    own = found["taught_specialised_workloads_experts"]
    assert (own.value, own.low, own.n, own.met) == (2, 1, 3, True)
    controls = {row.metric: row.value for row in results.controls}
    assert controls["taught_specialised_workloads_shipped"] == 0
    assert controls["taught_random_pair_loss_points_experts"] == pytest.approx(0.2)
    assert controls["taught_mutual_information_experts"] == pytest.approx(0.3)
    assert controls["block_4_silenced_loss_points_shipped"] == 0.5


@pytest.mark.parametrize(("met", "word"), [(2, True), (1, False)])
def test_kinds_of_equipment_count_only_where_every_one_has_experts_of_its_own(met: int, word: bool):
    row = {"own_points": 12.0, "others_points": 3.0, "random_own_points": [1.0, 3.0]}
    found = {"kinds": {"press": row, "oven": row}, "met": met, "experts": 48}
    results = Results("models")
    specialisation.knowledge_report(results, found, 100)
    told = {row.metric: row for row in results.rows}
    assert told["specialised_kinds_code_kb"].met is word and told["specialised_times_code_kb"].value == 4.0
    assert {row.metric: row.value for row in results.controls}["random_pair_loss_points_code_kb"] == 2.0


def test_without_a_report_specialists_are_not_run(monkeypatch):
    monkeypatch.setattr(specialisation, "specialisation_report", lambda: None)
    results = Results("models")
    specialisation.text_rows(results)
    assert [row.met for row in results.rows] == [None] and "not run" in results.rows[0].how


def test_a_vertical_that_never_gets_there_costs_as_much_as_all(monkeypatch):
    curves = {1: [(1.0, 0.5), (2.0, 0.6)], 6: [(5.0, 0.7), (9.0, 0.9)]}
    monkeypatch.setattr(verticals, "curve_of", lambda train, val, seed, epochs: curves[len(train)])
    train, val = dict.fromkeys([verticals.VERTICAL, *"abcde"]), {verticals.VERTICAL: range(400)}
    found = verticals.cost_of_vertical(train, val, 1, 12)
    assert (found["reached"], found["own_s"], found["general_s"]) == (False, 2.0, 9.0)
    curves[1] = [(1.0, 0.5), (2.0, 0.895)]  # half a standard error short of 0.9 is as good
    found = verticals.cost_of_vertical(train, val, 1, 12)
    assert found["reached"] and found["own_s"] / found["general_s"] == pytest.approx(2 / 9)


def test_an_event_takes_a_thousand_prices_and_advice_misses_less_than_none():
    def ask(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{"prediction": generator.expected_units(**record)} for record in records]

    business_events = business.EVENTS
    try:
        business.EVENTS = 2
        results = Results("business")
        business.pricing(results, ask)
    finally:
        business.EVENTS = business_events
    (took,) = (row for row in results.rows if row.metric == "pricing_event_to_advice_p95_s")
    assert took.n == 2 and took.met and took.low <= took.value
    (advised,) = (row for row in results.rows if row.metric == "pricing_profit_regret")
    (alone,) = (row for row in results.controls if row.metric == "pricing_profit_regret_without_advice")
    assert advised.value < alone.value


def test_events_are_drawn_within_reason():
    rng = np.random.default_rng(0)
    for kind in ("cost", "stock"):
        event = business.drawn("avocado-organic", kind, rng)
        assert isinstance(event, Event) and event.kind == kind and event.value > 0
    assert len(business.shelf("avocado-organic", 1000)) == 1000
