"""Figures of the planners: lines that cross where the report says, targets dashed, the cheapest device on top."""

from __future__ import annotations

from typing import Any

import pytest

from costs.charts import planning as figures
from costs.charts.style import EXTERNAL, IDLE, PRIVATE

ROW: dict[str, Any] = {
    "private_fixed_nusd_per_day": 2_040_000_000, "private_nusd_per_1000": 264_440, "external_nusd_per_1000": 1_400_000,
    "answers_per_day": 80.0, "break_even_per_day": 2_040_000_000 / 1400, "low": 1_300_000.0, "high": 1_600_000.0,
    "capacity_per_day": 2_040_000_000 / 264.44,
}  # fmt: skip


def test_the_private_bill_is_flat_up_to_what_is_paid_for_and_climbs_beyond() -> None:
    points = figures.bills(ROW)
    flat = [p for p in points if p["volume"] < ROW["capacity_per_day"] * 0.999]
    assert {p["private_nusd"] for p in flat} == {2_040_000_000}
    last = points[-1]
    assert last["private_nusd"] == pytest.approx(264.44 * last["volume"])
    assert all(p["external_nusd"] == pytest.approx(1400 * p["volume"]) for p in points)


def test_the_bills_meet_at_the_break_even_and_both_marks_lie_on_the_external_line() -> None:
    private, external, crossing, today = figures.break_even(ROW)["data"]
    assert (private["line"]["color"], external["line"]["color"]) == (PRIVATE, EXTERNAL)
    index = external["x"].index(ROW["break_even_per_day"])
    assert private["y"][index] == pytest.approx(external["y"][index]) == pytest.approx(crossing["y"][0])
    assert today["y"][0] == pytest.approx(external["y"][external["x"].index(80.0)])
    (band,) = figures.break_even(ROW)["layout"]["shapes"]
    assert (band["x0"], band["x1"]) == (1_300_000, 1_600_000)


def test_without_one_of_the_lines_nothing_is_drawn() -> None:
    for name in ("external_nusd_per_1000", "private_fixed_nusd_per_day", "private_nusd_per_1000"):
        assert figures.bills(ROW | {name: None}) == []


def test_a_load_is_a_line_and_what_cannot_be_carried_is_hollow() -> None:
    rows = [
        {"factor": f, "servers": n, "stable": n >= f, "response_p95_ms": 100.0 / n, "utilisation": f / n, "over_target": 0.0}
        for f in (1.0, 2.0)
        for n in (2, 1)
    ]  # fmt: skip
    one, two, target = figures.response_by_servers(rows, 50)["data"]
    assert one["x"] == [1, 2] and one["y"] == [100, 50]
    assert two["marker"]["symbol"] == ["circle-open", "circle"]
    assert target["y"] == [50, 50] and target["line"]["dash"] == "dash"


def _device(name: str, correct: int | None, simulated: bool = True) -> dict[str, Any]:
    known = None if correct is None else correct * 2
    return {
        "name": name, "simulated": simulated, "nusd_per_correct": correct, "low": correct, "high": known,
        "nusd_per_1000": 10_000_000_000 if name != "slow" else None,
    }  # fmt: skip


def test_the_cheapest_device_is_on_top_and_those_that_cannot_do_it_are_left_out() -> None:
    rows = [_device("own", 2_000_000, False), _device("dear", 9_000_000), _device("slow", None)]
    (trace,) = figures.devices(rows)["data"]
    assert trace["y"] == ["dear", "own"], "Plotly draws from below"
    assert trace["x"] == [9.0, 2.0] and trace["error_x"]["array"] == [9.0, 2.0]
    assert trace["marker"]["color"][0] == IDLE != trace["marker"]["color"][1]


def test_where_nobody_judged_answers_stand_for_correct_ones() -> None:
    figure = figures.devices([_device("own", None, False)])
    assert figure["data"][0]["x"] == [10.0] and "1,000 answers" in figure["layout"]["xaxis"]["title"]["text"]
