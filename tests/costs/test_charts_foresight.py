"""Figures of savings, forecasts and anomalies: steps that land on the actual cost, a fan that starts where spending is."""

from __future__ import annotations

import json

import pytest

from costs import charts
from costs.reports.savings import PARTS

LABELS = {part: part for part in (*PARTS, "list", "actual")}
TOTALS = {
    "list_nusd": 10_000_000_000, "private_nusd": 4_000_000_000, "compression_nusd": None, "routing_nusd": -1_000_000_000,
    "cache_nusd": 0, "batch_nusd": 500_000_000, "retries_nusd": -100_000_000,
    "other_purposes_nusd": -200_000_000, "actual_nusd": 6_800_000_000,
}  # fmt: skip
POINTS = [
    {"day": "2026-11-01", "actual_nusd": 1_000_000_000, "nusd": None, "low_nusd": None, "high_nusd": None},
    {"day": "2026-11-02", "actual_nusd": None, "nusd": 2_000_000_000, "low_nusd": 1_500_000_000, "high_nusd": 3_000_000_000},
]  # fmt: skip


def test_every_step_hangs_where_the_one_before_ended_and_the_last_lands_on_what_was_paid() -> None:
    [trace] = charts.savings_waterfall(TOTALS, PARTS, LABELS)["data"]
    assert trace["x"] == [
        "list",
        "private",
        "routing",
        "cache",
        "batch",
        "retries",
        "other_purposes",
        "actual",
    ], "unknown is no step"
    tops = [base + height for base, height in zip(trace["base"], trace["y"], strict=True)]
    assert tops == pytest.approx([10, 10, 7, 7, 7, 6.6, 6.8, 6.8])
    assert trace["base"] == pytest.approx([0, 6, 6, 7, 6.5, 6.5, 6.6, 0])
    assert trace["customdata"][2] == "cost more" and trace["customdata"][1] == "saved"


def test_the_foreseen_part_starts_where_spending_is() -> None:
    low, high, foreseen, spent = charts.forecast(POINTS)["data"]
    assert spent["y"] == [1.0] and foreseen["y"] == [1.0, 2.0]
    assert (low["y"][-1], high["y"][-1], high["fill"]) == (1.5, 3.0, "tonexty")
    assert foreseen["x"] == ["2026-11-01", "2026-11-02"]


def test_parts_of_an_anomaly_are_stacked_by_what_moved() -> None:
    rows = [
        {
            "key": "faq",
            "day": "2026-11-03",
            "parts_nusd": {"requests": 3_000_000_000, "price": -1_000_000_000},
        }
    ]
    data = {trace["name"]: trace["x"] for trace in charts.anomaly_parts(rows)["data"]}
    assert data == {"requests": [3.0], "price": [-1.0], "tokens": [0.0], "mix": [0.0]}


def test_the_policy_of_before_is_a_bar_of_its_own_where_it_is_known() -> None:
    totals = {
        "actual_nusd": 2_000_000_000,
        "all_private_nusd": 5_000_000_000,
        "all_external_nusd": 3_000_000_000,
    }
    [trace] = charts.counterfactual(totals | {"last_policy_nusd": 2_500_000_000})["data"]
    assert dict(zip(trace["y"], trace["x"], strict=True))["as before"] == 2.5
    [trace] = charts.counterfactual(totals | {"last_policy_nusd": None})["data"]
    assert len(trace["y"]) == len(trace["marker"]["color"]) == 3


@pytest.mark.parametrize(
    "figure", [charts.forecast([]), charts.anomaly_parts([]), charts.savings_waterfall({}, PARTS, LABELS)]
)
def test_every_figure_is_plain_json_even_without_rows(figure: charts.Figure) -> None:
    assert json.loads(json.dumps(figure)) == figure
