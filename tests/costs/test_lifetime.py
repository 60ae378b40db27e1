"""Lifetime cost: worked by hand where an accountant can follow it, and sums that always hold."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costs import ledger
from costs.labels import Labelled, charge
from costs.lifetime import (
    MONTH_S,
    PARTS,
    Lifetime,
    amortised,
    lifetime_row,
    month_share,
    monthly,
    shared_cost,
)
from costs.models import LedgerEntry, SpendDay, SpendHour, WorkloadPlan
from costs.reports.lifetime import lifetime_cost
from costs.rollups import refresh_days
from switchyard.core.money import usd_to_nusd
from switchyard.tenancy.querysets import Scope
from tests import factories as make

START = datetime(2026, 10, 1, tzinfo=UTC)
MONTH = timedelta(seconds=MONTH_S)  # 30 days and 10.5 hours
# Twelve equal months make a year of 365.25 days; the period is two of them, in whole hours.
END = START + 2 * MONTH


def usd(text: str) -> int:
    return usd_to_nusd(text)


def scope_of(organisation: Any) -> Scope:
    return Scope(organisation.pk, None, None, frozenset({"viewer"}))


def spend(model: Any, organisation: Any, at: datetime, **figures: Any) -> None:
    names = {"lob": "legal", "workload": "triage", "deployment": "d", "model": "m", "side": "private"}
    model.objects.create(organisation_id=organisation.pk, start=at, **names | figures)
    if model is SpendHour:
        refresh_days(at, at + timedelta(hours=1))


# --- the example ---------------------------------------------------------------------------------------------------


@pytest.fixture
def legal(db: None) -> Any:
    """Legal's triage over two months, in dollars.

    answers     40,000, metered 30.00, idle time of the machine 6.00 → loaded 36.00; judge calls 4.00 → inference 40.00
    labels      9 rows + 1 review at 12.00 = 120.00; data bought for 600.00, life 12 months: 600 × 2/12 = 100.00
                → data and labels 220.00
    training    fine-tune 5 months ago 90.00, its evaluation 18.00, both within the life of 12: 108 × 2/12 = 18.00;
                one 13 months before the end is written off
    people      361.00 a month × 2 = 722.00
    whole       220 + 18 + 40 + 722 = 1,000.00 → ÷ 40 = 25.00 per 1,000 answers; shares 22 %, 1.8 %, 4 %, 72.2 %
    """
    lob = make.make_lob(slug="legal", label_price_nusd=usd("12"))
    organisation = lob.organisation
    WorkloadPlan.objects.create(
        organisation=organisation, lob=lob, workload="triage", model_life_months=12, data_usd="600.00",
        people_usd_per_month="361.00", source="assumption: half a person",
    )  # fmt: skip
    noon = START + timedelta(days=3, hours=12)
    spend(SpendHour, organisation, noon, answers=25_000, cost_nusd=usd("20"), variance_nusd=usd("6"))
    spend(SpendHour, organisation, noon + timedelta(hours=1), answers=15_000, cost_nusd=usd("10"))
    spend(SpendHour, organisation, noon, purpose="judge", answers=7, cost_nusd=usd("4"))
    spend(SpendHour, organisation, START - timedelta(hours=1), answers=999, cost_nusd=usd("99"))  # before
    for purpose, months_before_end, cost, variance in (
        ("fine_tune", 5, "80", "10"), ("evaluation", 5, "18", "0"), ("compress", 13, "7777", "0"),
    ):  # fmt: skip
        day = (END - months_before_end * MONTH).replace(hour=0, minute=0, second=0)
        figures = {
            "purpose": purpose,
            "cost_nusd": usd(cost),
            "variance_nusd": usd(variance),
            "deployment": "job",
        }
        spend(SpendDay, organisation, day, **figures)
        spend(SpendHour, organisation, day, **figures)
    charge([labelled(lob, f"label:{n}", "label", noon) for n in range(9)])
    charge(
        [
            labelled(lob, "review:1", "review", noon),
            labelled(lob, "review:0", "review", START - timedelta(hours=1)),
        ]
    )
    return lob


def labelled(lob: Any, event_id: str, purpose: str, at: datetime) -> Labelled:
    return Labelled(event_id, lob.organisation_id, lob.slug, "triage", purpose, at)


def ask(of: Any, **changes: Any) -> Any:
    return lifetime_cost(**{"scope": scope_of(of.organisation), "start": START, "end": END} | changes)


def test_a_workloads_lifetime_cost_is_what_an_accountant_works_out_by_hand(legal: Any):
    report = ask(legal)
    assert len(report.rows) == 1
    row = report.rows[0]
    assert {name: row[name] for name in ("key", "workload", "lob", "answers", "model_life_months")} == {
        "key": "triage", "workload": "triage", "lob": "legal", "answers": 40_000, "model_life_months": 12,
    }  # fmt: skip
    assert (row["booked_labels_nusd"], row["data_nusd"], row["labels_nusd"]) == (
        usd("120"),
        usd("100"),
        usd("220"),
    )
    assert (row["spent_on_training_nusd"], row["training_nusd"]) == (usd("108"), usd("18"))
    assert (row["metered_nusd"], row["variance_nusd"], row["inference_nusd"]) == (
        usd("34"),
        usd("6"),
        usd("40"),
    )
    assert row["people_nusd"] == usd("722")
    assert (row["total_nusd"], row["nusd_per_1000"]) == (usd("1000"), usd("25"))
    assert [row[f"{part}_share"] for part in PARTS] == [0.22, 0.018, 0.04, 0.722]
    assert [row[f"{part}_nusd_per_1000"] for part in PARTS] == [
        usd("5.50"),
        usd("0.45"),
        usd("1"),
        usd("18.05"),
    ]
    assert row["note"] == "Life, people and bought data are planned, not measured: assumption: half a person."
    assert {name: report.totals[name] for name in ("total_nusd", "nusd_per_1000", "answers")} == {
        "total_nusd": usd("1000"), "nusd_per_1000": usd("25"), "answers": 40_000,
    }  # fmt: skip


def test_each_cost_of_training_is_carried_whole_by_the_periods_of_one_life(legal: Any):
    WorkloadPlan.objects.update(model_life_months=6)
    first = (END - 5 * MONTH).replace(hour=0, minute=0, second=0)
    ends = [first + number * 2 * MONTH for number in range(1, 6)]  # ten months from that day on
    carried = [ask(legal, start=end - 2 * MONTH, end=end).rows[0]["training_nusd"] for end in ends]
    # 7,777 was spent eight months earlier and is written off
    assert carried == [usd("36"), usd("36"), usd("36"), 0, 0] and sum(carried) == usd("108")


def test_without_a_plan_the_usual_life_is_assumed_and_said(legal: Any):
    WorkloadPlan.objects.all().delete()
    row = ask(legal).rows[0]
    assert (row["people_nusd"], row["data_nusd"], row["model_life_months"]) == (0, 0, 12)
    assert row["training_nusd"] == usd("18")
    assert row["note"].startswith("No plan: a life of 12 months is assumed")


def test_a_label_that_was_reversed_costs_nothing_again(legal: Any):
    ledger.reverse(LedgerEntry.objects.get(event_id="label:3"), memo="labelled wrongly")
    assert ask(legal).rows[0]["booked_labels_nusd"] == usd("108")


def test_a_workload_with_a_plan_and_no_answers_has_a_cost_and_no_price_per_answer(legal: Any):
    WorkloadPlan.objects.create(
        organisation=legal.organisation, lob=legal, workload="quiet", people_usd_per_month="10"
    )
    quiet = next(r for r in ask(legal).rows if r["workload"] == "quiet")
    assert quiet["nusd_per_1000"] is None and quiet["total_nusd"] == usd("20")
    assert quiet["note"].endswith("no source is named. No answers in this period.")


def test_lines_of_business_are_told_apart(legal: Any):
    plant = make.make_lob(legal.organisation, "plant")
    spend(SpendHour, legal.organisation, START, lob="plant", workload="faults", answers=10, cost_nusd=50)
    WorkloadPlan.objects.create(organisation=legal.organisation, lob=plant, workload="faults")
    assert [r["lob"] for r in ask(legal).rows] == ["plant", "legal"]
    assert [r["lob"] for r in ask(legal, lob="plant").rows] == ["plant"]
    bob = Scope(legal.organisation_id, frozenset({plant.pk}), frozenset({"plant"}), frozenset({"viewer"}))
    assert [r["lob"] for r in ask(legal, scope=bob).rows] == ["plant"]
    assert ask(legal, scope=bob, lob="legal").rows == []


def test_what_is_no_grouping_and_no_time_zone_is_refused(legal: Any):
    with pytest.raises(ValueError, match="no grouping"):
        ask(legal, group="colour")
    with pytest.raises(ValueError, match="time zone"):
        ask(legal, tz="Mars/Base")


def test_the_report_asks_as_often_however_much_there_is(legal: Any, django_assert_num_queries: Any):
    for number in range(30):
        spend(
            SpendHour, legal.organisation, START + timedelta(hours=number), workload=f"w{number}", answers=1
        )
    with django_assert_num_queries(6):
        assert len(ask(legal).rows) == 31


# --- the pure parts ------------------------------------------------------------------------------------------------

money = st.integers(min_value=0, max_value=10**15)
costs = st.builds(
    Lifetime, answers=st.integers(0, 10**9), booked_labels_nusd=money, data_nusd=money, training_nusd=money,
    metered_nusd=money, variance_nusd=st.integers(0, 10**12), people_nusd=money,
)  # fmt: skip


@given(st.lists(costs, max_size=6))
def test_parts_sum_to_the_whole_and_rows_to_the_totals(found: list[Lifetime]):
    total = sum(found, Lifetime())
    for row in map(lifetime_row, [*found, total]):
        assert sum(row[f"{part}_nusd"] for part in PARTS) == row["total_nusd"]
        if row["total_nusd"]:
            assert sum(row[f"{part}_share"] for part in PARTS) == pytest.approx(1, abs=1e-12)
        if row["answers"]:
            exact = Fraction(row["total_nusd"] * 1000, row["answers"])
            assert abs(row["nusd_per_1000"] - exact) <= Fraction(1, 2)
    assert lifetime_row(total)["total_nusd"] == sum(row["total_nusd"] for row in map(lifetime_row, found))


@given(st.integers(0, 10**15), st.integers(1, 600), st.lists(st.integers(1, 10_000), min_size=1, max_size=40))
def test_a_life_cut_into_periods_carries_the_cost_once(nusd: int, months: int, weights: list[int]):
    """Periods that fill one life exactly: the rounding of each is at most half a nano-dollar."""
    seconds = [months * MONTH_S * w // sum(weights) for w in weights]
    seconds[-1] += months * MONTH_S - sum(seconds)
    assert abs(sum(amortised(nusd, s, months) for s in seconds) - nusd) <= len(seconds) / 2


def test_no_period_carries_more_than_the_whole_and_a_life_has_a_month():
    assert amortised(1_000, 100 * MONTH_S, 12) == 1_000
    assert monthly(1_000, 100 * MONTH_S) == 100_000
    with pytest.raises(ValueError, match="at least 1"):
        month_share(1, 0)


@given(st.integers(-(10**15), 10**15), st.lists(st.integers(0, 10**6), max_size=8))
def test_a_cost_shared_over_kinds_of_event_is_shared_exactly(nusd: int, counts: list[int]):
    shares = shared_cost(nusd, counts)
    assert len(shares) == len(counts)
    assert sum(shares) == (nusd if any(counts) else 0)
