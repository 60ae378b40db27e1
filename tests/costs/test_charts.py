"""Figures: the right numbers in the right unit, one colour a side, intervals as distances."""

from __future__ import annotations

import json

import pytest
from django.utils import translation

from costs import charts

SPEND = [
    {"key": "legal|private", "cost_nusd": 2_000_000_000},
    {"key": "sales|private", "cost_nusd": 1_000_000_000},
    {"key": "sales|external", "cost_nusd": 3_000_000_000},
]
RATES = [
    {"key": "legal", "rate": 0.9, "low": 0.85, "high": 0.93, "judged": 200},
    {"key": "sales", "rate": 0.7, "low": 0.6, "high": 0.78, "judged": 90},
    {"key": "quiet", "rate": None, "low": None, "high": None, "judged": 0},
]


@pytest.mark.parametrize(
    ("largest", "size", "name"),
    [
        (2_500_000_000, 1_000_000_000, "US dollars"),
        (3_000_000, 10_000_000, "US cents"),
        (900, 1_000, "micro-dollars"),
        (0, 1_000, "micro-dollars"),
    ],
)
def test_money_is_shown_in_the_unit_that_reads_best(largest: int, size: int, name: str) -> None:
    assert charts.money_unit(largest) == (size, name)


def test_a_side_has_the_same_colour_in_every_figure() -> None:
    by_lob = charts.cost_by_side(SPEND)
    over_time = charts.cost_over_time(
        [{"key": "2026-11-01|external", "cost_nusd": 5}, {"key": "2026-11-01|private", "cost_nusd": 5}]
    )
    shares = charts.shares([{"key": "legal", "private": 3, "external": 1}])
    for figure in (by_lob, over_time, shares):
        colours = {trace["name"]: trace["marker"]["color"] for trace in figure["data"]}
        assert colours == {"private": charts.PRIVATE, "external": charts.EXTERNAL}


def test_cost_by_side_stacks_dollars_with_the_dearest_on_top() -> None:
    private, external = charts.cost_by_side(SPEND)["data"]
    assert private["y"] == external["y"] == ["legal", "sales"], "Plotly draws from below: the last is on top"
    assert (private["x"], external["x"]) == ([2.0, 1.0], [0, 3.0])


@pytest.mark.parametrize(
    ("labels", "off"),
    [(1_000_000_000_000, ["labels"]), (3_000_000_000, []), (0, [])],
    ids=["dwarfing", "alike", "none"],
)
def test_labels_that_would_hide_the_calls_start_switched_off(labels: int, off: list[str]) -> None:
    rows = [*SPEND, {"key": "legal|labels", "cost_nusd": labels}]
    for figure in (charts.cost_by_side(rows, aside="labels"), charts.cost_over_time(rows, aside="labels")):
        assert charts.switched_off(figure) == off
    by_side = charts.cost_by_side(rows, aside="labels")
    assert by_side["layout"]["xaxis"]["title"]["text"] == "US dollars"
    assert by_side["data"][0]["y"][-1] == ("sales" if off or not labels else "legal"), (
        "sorted by what is drawn"
    )


def test_labels_alone_are_drawn() -> None:
    assert (
        charts.switched_off(charts.cost_by_side([{"key": "legal|labels", "cost_nusd": 5}], aside="labels"))
        == []
    )


def test_time_runs_forward_whatever_the_order_of_the_rows() -> None:
    rows = [
        {"key": "2026-11-02|private", "cost_nusd": 2_000},
        {"key": "2026-11-01|private", "cost_nusd": 1_000},
    ]
    (trace,) = charts.cost_over_time(rows)["data"]
    assert (trace["x"], trace["y"]) == (["2026-11-01", "2026-11-02"], [1.0, 2.0])


def test_intervals_are_error_bars_and_rows_without_a_rate_are_left_out() -> None:
    (trace,) = charts.rate_with_interval(RATES, labels={"legal": "label equals"})["data"]
    assert trace["y"] == ["sales", "legal"] and trace["x"] == [0.7, 0.9]
    assert trace["error_x"]["array"] == pytest.approx([0.08, 0.03])
    assert trace["error_x"]["arrayminus"] == pytest.approx([0.1, 0.05])
    assert trace["customdata"][1] == [200, 0.85, 0.93, "label equals"]


def test_shares_leave_out_who_asked_nothing() -> None:
    private, external = charts.shares(
        [{"key": "legal", "private": 3, "external": 1}, {"key": "quiet", "private": 0, "external": 0}]
    )["data"]
    assert (private["y"], private["x"], external["x"]) == (["legal"], [0.75], [0.25])


def test_cost_per_correct_answer_is_per_thousand_and_logarithmic_over_decades() -> None:
    near = [
        {"key": "a", "nusd_per_correct": 1_000_000, "low": 900_000, "high": 1_200_000},
        {"key": "b", "nusd_per_correct": None},
    ]
    (trace,) = charts.cost_per_correct(near)["data"]
    assert trace["y"] == ["a"] and trace["x"] == [1.0], (
        "1,000 answers at a millionth of a thousand dollars: one dollar"
    )
    assert trace["error_x"]["array"] == pytest.approx([0.2])
    far = charts.cost_per_correct([*near, {"key": "c", "nusd_per_correct": 100, "low": None, "high": None}])
    assert far["layout"]["xaxis"]["type"] == "log"


def test_used_and_idle_make_up_the_bill() -> None:
    used, idle = charts.node_bill(
        [{"key": "n", "bill_nusd": 3_000_000_000, "used_nusd": 1_000_000_000, "idle_nusd": 2_000_000_000}]
    )["data"]
    assert used["x"][0] + idle["x"][0] == 3.0 and idle["marker"]["color"] == charts.IDLE


def test_a_budget_past_its_warning_changes_colour() -> None:
    rows = [
        {"key": "calm", "spent_nusd": 10, "limit_nusd": 100, "warn_pct": 80},
        {"key": "late", "spent_nusd": 90, "limit_nusd": 100, "warn_pct": 80},
    ]
    bar, _tick = charts.budget_use(rows)["data"]
    assert bar["x"] == [0.1, 0.9] and bar["marker"]["color"] == [charts.PRIVATE, charts.EXTERNAL]


def test_a_burn_down_dashes_what_is_expected_from_the_last_known_point_and_marks_when_it_ends() -> None:
    rows = [
        {"key": "2026-11-01 00:00", "left_nusd": 4_000_000_000, "expected": False},
        {"key": "2026-11-02 00:00", "left_nusd": 3_000_000_000, "expected": False},
        {
            "key": "2026-11-05 00:00",
            "left_nusd": 0,
            "expected": True,
            "low": "2026-11-04 06:00",
            "high": None,
        },
    ]
    known, ahead, ends = charts.burn_down(rows, 4_000_000_000)["data"]
    assert known["y"] == [4.0, 3.0] and ahead["line"]["dash"] == "dash"
    assert (ahead["x"], ahead["y"]) == (["2026-11-02 00:00", "2026-11-05 00:00"], [3.0, 0.0])
    assert ends["x"] == ["2026-11-04 06:00"] and ends["y"] == [0]


def test_the_counterfactual_puts_what_was_beside_both_alternatives() -> None:
    totals = {
        "actual_nusd": 2_000_000_000,
        "all_private_nusd": 5_000_000_000,
        "all_external_nusd": 3_000_000_000,
    }
    (trace,) = charts.counterfactual(totals)["data"]
    assert dict(zip(trace["y"], trace["x"], strict=True)) == {
        "as it was": 2.0,
        "all private": 5.0,
        "all external": 3.0,
    }


@pytest.mark.parametrize(
    "figure",
    [
        charts.cost_by_side([]),
        charts.cost_over_time([]),
        charts.rate_with_interval([]),
        charts.rate_over_time([]),
        charts.shares([]),
        charts.cost_per_correct([]),
        charts.node_bill([]),
        charts.budget_use([]),
        charts.burn_down([], 10),
        charts.learning_curve([]),
        charts.rate_over_time(
            [{"key": f"2026-11-01|{r['key']}", **{k: v for k, v in r.items() if k != "key"}} for r in RATES]
        ),
    ],
)
def test_every_figure_is_plain_json_even_without_rows(figure: charts.Figure) -> None:
    assert json.loads(json.dumps(figure)) == figure


def test_words_of_figures_are_the_readers_while_the_figures_stay() -> None:
    """Axes and legends in Chinese, the same numbers; nothing keeps the language of who asked first."""
    rows = [{"key": "legal", "used_nusd": 3 * 10**9, "idle_nusd": 10**9, "bill_nusd": 4 * 10**9}]
    english = charts.node_bill(rows)
    with translation.override("zh-hans"):
        chinese = charts.node_bill(rows)
    assert [trace["x"] for trace in english["data"]] == [trace["x"] for trace in chinese["data"]]
    assert [trace["name"] for trace in english["data"]] == ["used", "idle"]
    assert {trace["name"] for trace in chinese["data"]}.isdisjoint({"used", "idle"})
    assert (
        english["layout"]["xaxis"]["title"]["text"]
        == "US dollars"
        != chinese["layout"]["xaxis"]["title"]["text"]
    )
    assert charts.node_bill(rows) == english
