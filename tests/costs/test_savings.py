"""Savings: hand-worked ways from list price to what was paid, negative ones kept, and parts that always sum."""

from datetime import timedelta
from importlib import import_module
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costs import rollups
from costs.metering import record_events
from costs.reports.counterfactual import Replayed, counterfactual, read_flag
from costs.reports.savings import PARTS, _parts, savings
from costs.reports.spend import spend
from switchyard.tenancy.querysets import Scope
from switchyard.tenancy.services import bump_config
from tests.costs.events import NOON, make_attempt, make_event, private_attempt

counterfactual_module = import_module("costs.reports.counterfactual")
savings_module = import_module("costs.reports.savings")
EVERYBODY = Scope(1, None, None, frozenset({"admin"}))
LEGAL_ONLY = Scope(1, frozenset({2}), frozenset({"legal"}), frozenset({"viewer"}))
SPAN = {"start": NOON.replace(minute=0), "end": NOON.replace(minute=0) + timedelta(hours=1)}


def ask(report=savings, scope=EVERYBODY, **changes):
    return report(scope=scope, **SPAN | changes)


@pytest.fixture
def company(db):
    record_events(
        [
            # At home for 900 where out would have been 1,400; out for 1,000 where home would have been 1,300.
            make_event(private_attempt(), other_side_cost_nusd=1_400),
            make_event(make_attempt(cost_nusd=1_000), other_side_cost_nusd=1_300),
            # Out with cache and batch prices, dearer than home would have been; after a try that gave nothing.
            make_event(
                make_attempt(status="error", cost_nusd=40),
                make_attempt(cost_nusd=2_000, saved={"cache": 300, "batch": 500}),
                other_side_cost_nusd=1_500,
            ),
            # May not leave.
            make_event(private_attempt(cost_nusd=700), lob="legal", workload="contract-clauses"),
        ]
    )
    rollups.refresh(NOON, NOON)


def test_the_way_from_list_price_to_what_was_paid(company, monkeypatch):
    monkeypatch.setattr(savings_module, "_teachers", None)
    rows = {row["key"]: row for row in ask().rows}
    assert rows["support-intent"] == {
        "key": "support-intent", "lob": "customer-service",
        "list_nusd": 1_400 + 1_000 + 2_000 + 800,
        "routing_nusd": (1_300 - 1_000) + (1_500 - 2_000),
        "private_nusd": 500 + 200, "compression_nusd": 0, "cache_nusd": 300, "batch_nusd": 500, "retries_nusd": -40,
        "other_purposes_nusd": 0, "actual_nusd": 3_940, "saving_nusd": 1_260, "kept_home_nusd": 500, "requests": 3,
    }  # fmt: skip
    bound = rows["contract-clauses"]
    assert (bound["list_nusd"], bound["actual_nusd"], bound["saving_nusd"]) == (700, 700, 0)
    assert ask().totals["saving_nusd"] == 1_260
    assert [row["key"] for row in ask(scope=LEGAL_ONLY).rows] == ["contract-clauses"]


def test_the_products_own_work_is_a_step_of_its_own_and_no_second_try(company, monkeypatch):
    monkeypatch.setattr(savings_module, "_teachers", lambda pk: {("private-sparse", "support-intent"): 1_250})
    before = next(row for row in ask().rows if row["key"] == "support-intent")
    record_events(
        [
            make_event(
                make_attempt(cost_nusd=300, saved={"cache": 70}), purpose="shadow", other_side_cost_nusd=90
            ),
            make_event(make_attempt(status="error", cost_nusd=5), purpose="judge"),
            make_event(private_attempt(cost_nusd=2_000), purpose="evaluation", other_side_cost_nusd=9_000),
        ]
    )
    rollups.refresh(NOON, NOON)
    report = ask()
    after = next(row for row in report.rows if row["key"] == "support-intent")
    assert after == before | {
        "other_purposes_nusd": -2_305, "actual_nusd": 3_940 + 2_305, "saving_nusd": 1_260 - 2_305,
    }  # fmt: skip
    assert report.totals["actual_nusd"] == ask(spend).totals["cost_nusd"] == 3_940 + 700 + 2_305
    steps = sum(report.totals[f"{part}_nusd"] for part in PARTS)
    assert report.totals["list_nusd"] - steps == report.totals["actual_nusd"]


def test_a_compressed_model_is_held_against_its_teacher(company, monkeypatch):
    monkeypatch.setattr(savings_module, "_teachers", lambda pk: {("private-sparse", "support-intent"): 1_250})
    row = next(r for r in ask().rows if r["key"] == "support-intent")
    assert row["compression_nusd"] == 1_250 - 900
    assert row["private_nusd"] + row["compression_nusd"] + row["routing_nusd"] == row["kept_home_nusd"]


def test_a_teacher_that_nobody_measured_leaves_compression_unknown_not_zero(company, monkeypatch):
    monkeypatch.setattr(savings_module, "_teachers", lambda pk: {("private-sparse", "support-intent"): None})
    report = ask()
    row = next(r for r in report.rows if r["key"] == "support-intent")
    assert row["compression_nusd"] is None and report.totals["compression_unknown"] == 1
    assert row["list_nusd"] - sum(row[f"{p}_nusd"] or 0 for p in PARTS) == row["actual_nusd"]


sums = st.fixed_dictionaries(
    {
        n: st.integers(0, 10**15)
        for n in (
            "cost_nusd",
            "answered_cost_nusd",
            "other_side_cost_nusd",
            "other_side_own_cost_nusd",
            "other_purposes_nusd",
            "requests",
        )
    }
    | {n: st.integers(-(10**12), 10**15) for n in ("saved_cache_nusd", "saved_batch_nusd")}
)


@given(private=sums, external=sums, compression=st.tuples(st.integers(-(10**12), 10**15), st.booleans()))
def test_list_price_less_every_part_is_what_was_paid_to_the_nano_dollar(private, external, compression):
    row = _parts({"private": private, "external": external}, compression)
    assert row["list_nusd"] - sum(row[f"{part}_nusd"] or 0 for part in PARTS) == row["actual_nusd"]
    assert row["saving_nusd"] == row["list_nusd"] - row["actual_nusd"]


def test_last_periods_mix_of_sides_moves_only_what_may_move(db):
    before = NOON - timedelta(hours=1)
    record_events(
        [make_event(at=before, other_side_cost_nusd=900) for _ in range(3)]
        + [make_event(private_attempt(), at=before, other_side_cost_nusd=1_400)]
        + [make_event(private_attempt(), other_side_cost_nusd=1_400) for _ in range(2)]
        + [make_event(private_attempt(cost_nusd=100)) for _ in range(2)]
    )
    rollups.refresh(before, NOON)
    [row] = ask(counterfactual).rows
    # Three of four went out; now all four are at home, and two of them may leave at 500 more each.
    assert (row["actual_nusd"], row["last_policy_nusd"]) == (2_000, 3_000)
    assert (row["last_policy_version"], row["last_policy_n"]) == ("mix of the period before", 4)
    assert ask(counterfactual).totals["last_policy_nusd"] == 3_000


def test_a_replay_counts_beside_what_gave_no_answer_and_says_what_it_does_not_know(company, monkeypatch):
    def replay(*, scope, start, end, lob, sample):
        assert (scope, sample) == (EVERYBODY, 5_000)
        return {
            ("support-intent", "customer-service"): Replayed("org@1", 2, 3, 4_500, 1, 0),
            ("contract-clauses", "legal"): Replayed("", 0, 1, 0, 0, 0, "no policy was live"),
        }

    monkeypatch.setattr(counterfactual_module, "_replay", replay)
    report = ask(counterfactual, replay=True)
    rows = {row["key"]: row for row in report.rows}
    assert rows["support-intent"]["last_policy_nusd"] == 4_540
    assert (rows["support-intent"]["last_policy_version"], rows["support-intent"]["last_policy_moved"]) == (
        "org@1",
        1,
    )
    assert rows["contract-clauses"]["last_policy_nusd"] is None
    assert rows["contract-clauses"]["last_policy_version"] == "no policy was live"
    assert report.totals["last_policy_nusd"] == 4_540 + 700 and report.totals["last_policy_unknown_rows"] == 1


def test_decisions_are_taken_again_only_when_work_policies_or_deployments_changed(company, monkeypatch):
    asked: list[Any] = []

    def replay(**of):
        asked.append(of)
        return {}

    monkeypatch.setattr(counterfactual_module, "_replay", replay)
    for _ in range(3):
        ask(counterfactual, replay=True)
    assert len(asked) == 1
    bump_config()
    ask(counterfactual, replay=True)
    assert len(asked) == 2
    record_events([make_event()])
    rollups.refresh(NOON, NOON)
    ask(counterfactual, replay=True)
    assert len(asked) == 3


def test_a_flag_is_a_yes_or_a_no():
    assert read_flag("1") and not read_flag("no")
    with pytest.raises(ValueError, match="expected 1 or 0"):
        read_flag("perhaps")
