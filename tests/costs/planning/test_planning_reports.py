"""Break-even, capacity and purchase advice as reports: figures by hand, the neighbour's side, nothing to say said clearly."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from io import StringIO
from typing import Any

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from costs.models import Node, SpendHour, WorkloadPlan
from costs.planning.queueing import waits_s
from costs.reports.arrivals import private_arrivals
from costs.reports.break_even import break_even
from costs.reports.capacity import PARAMETERS, capacity
from costs.reports.purchase import PARAMETERS as PURCHASE
from costs.reports.purchase import purchase_advice
from switchyard.tenancy.querysets import NOBODY
from tests import factories as make
from tests.costs.planning.company import Planned, add_answers, bill_hours, plan_company

pytestmark = pytest.mark.django_db
A_DAY = 24 * 100_000_000  # the machine's bill: ten cents an hour


def by_key(report: Any) -> dict[str, dict[str, Any]]:
    return {row["key"]: row for row in report.rows}


def test_arrivals_are_read_once_while_the_roll_up_says_the_same_of_their_hours(company: Planned):
    span = company.span()
    first = private_arrivals(company.everybody, **span)
    with CaptureQueriesContext(connection) as asked:
        again = private_arrivals(company.everybody, **span)
    assert not [q for q in asked.captured_queries if "costs_attempt" in q["sql"]]
    assert again.rows == first.rows and np.array_equal(again.trace.services_s, first.trace.services_s)
    add_answers(company, "legal", "private", 1)
    days = (company.end - company.start).days
    assert private_arrivals(company.everybody, **span).rows == first.rows + days


@pytest.fixture
def company() -> Planned:
    planned = plan_company()
    bill_hours(planned)
    return planned


def test_a_workload_carries_its_share_of_the_machine_by_use(company: Planned) -> None:
    """Both workloads use the machine alike, so each carries half its bill; 5 ms at ten cents an hour, half used, are 277.8
    nano-dollars; outside an answer costs 1,400."""
    rows = by_key(break_even(scope=company.everybody, **company.span()))
    row = rows["support-intent"]
    assert row["private_fixed_nusd_per_day"] == pytest.approx(A_DAY / 2, rel=0.01) and row["basis"] == "share"
    assert row["private_nusd_per_answer"] == 278 and row["external_nusd_per_answer"] == 1400
    assert (
        row["break_even_per_day"]
        == pytest.approx(A_DAY / 2 / 1400, rel=0.01)
        == pytest.approx(857_143, rel=0.01)
    )
    assert row["answers_per_day"] == pytest.approx(80, abs=0.5) and row["verdict"] == "external"
    assert row["capacity_per_day"] == pytest.approx(A_DAY / 2 / 277.8, rel=0.01)
    assert row["low"] < row["break_even_per_day"] < row["high"]
    assert re.search(r"above 8[56]\d,000 answers a day \(8\d\d,000 to 9\d\d,000\)", row["sentence"])
    assert "you are at 80" in row["sentence"]


def test_work_that_may_not_leave_is_said_to_be_bound(company: Planned) -> None:
    row = by_key(break_even(scope=company.everybody, **company.span()))["contract-clauses"]
    assert (row["verdict"], row["break_even_per_day"], row["action"]) == ("bound", None, "keep")
    assert "Residency" in row["sentence"]


def test_the_organisations_only_machine_stays_for_bound_work_and_the_rest_rides_along(
    company: Planned,
) -> None:
    row = break_even(scope=company.everybody, **company.span()).rows[0]
    assert row["key"] == "organisation" and row["machines"] == row["machines_bound"] == 1
    assert (row["verdict"], row["machines_off"]) == ("always", 0)
    assert "1 machine must stay" in row["sentence"] and "$2.40 a day is due either way" in row["sentence"]
    assert row["machines_nusd_per_day"] == A_DAY and "and nothing more at home" in row["sentence"]
    own = by_key(break_even(scope=company.everybody, **company.span()))["support-intent"]
    assert (own["verdict"], own["action"]) == ("external", "ride_along") and "have room for this" in own[
        "sentence"
    ]


def test_a_machine_that_nothing_binds_could_be_switched_off(company: Planned) -> None:
    make.make_node(company.organisation, "node-2", usd_per_hour="0.10")
    bill_hours(company, "node-2")
    row = break_even(scope=company.everybody, **company.span()).rows[0]
    assert (row["machines"], row["machines_bound"], row["machines_off"]) == (2, 1, 1)
    assert row["private_fixed_nusd_per_day"] == A_DAY
    saved = (A_DAY - 1400 * 80) * 365.25 / 12
    assert row["saving_nusd_per_month"] == pytest.approx(saved, rel=0.001)
    assert "1 of 2 machines could be switched off" in row["sentence"] and "$73.0" in row["sentence"]


def test_a_reader_of_one_line_of_business_sees_its_work_on_a_machine_of_its_own(company: Planned) -> None:
    before = break_even(scope=company.service_only, **company.span())
    assert list(by_key(before)) == ["support-intent"]
    row = before.rows[0]
    assert (row["basis"], row["private_fixed_nusd_per_day"]) == ("whole", A_DAY)
    assert before.totals["machines"] is None
    add_answers(company, "legal", "private", 400)
    after = break_even(scope=company.service_only, **company.span())
    assert after.rows == before.rows, "the neighbour's work moves nothing that this reader sees"
    assert break_even(scope=NOBODY, **company.span()).rows == []


def test_six_days_say_not_enough_data() -> None:
    company = plan_company(days=6)
    row = by_key(break_even(scope=company.everybody, **company.span()))["support-intent"]
    assert (row["verdict"], row["days"], row["action"]) == ("not_enough_data", 6, "wait")
    assert "at least 7" in row["sentence"]


def test_without_prices_or_machines_it_says_what_to_add(company: Planned) -> None:
    SpendHour.objects.all().delete()
    from costs.models import SpendDay

    SpendDay.objects.filter(side="external").delete()
    SpendDay.objects.update(other_side_known=0, other_side_cost_nusd=0)
    row = by_key(break_even(scope=company.everybody, **company.span()))["support-intent"]
    assert row["verdict"] == "no_external_price" and "add a price" in row["sentence"]


def test_without_a_machine_that_has_a_cost_nothing_is_said_of_the_private_side() -> None:
    company = plan_company()
    Node.objects.all().delete()
    row = by_key(break_even(scope=company.everybody, **company.span()))["support-intent"]
    assert row["verdict"] == "no_private_price" and "give a node its cost" in row["sentence"]
    empty = break_even(scope=company.everybody, start=company.end, end=company.end)
    assert empty.rows == [] and "whole day" in empty.totals["sentence"]


def test_today_is_not_a_whole_day_and_does_not_count(company: Planned) -> None:
    longer = break_even(scope=company.everybody, start=company.start, end=company.end + timedelta(hours=30))
    assert longer.totals["days"] == 14


def test_capacity_replays_the_private_sides_own_arrivals(company: Planned) -> None:
    report = capacity(scope=company.everybody, **company.span())
    row = by_key(report)["1x|1"]
    found = private_arrivals(company.everybody, **company.span())
    waits = waits_s(found.trace.arrivals_s, found.trace.services_s, 1)
    assert row["response_p95_ms"] == pytest.approx(float(np.percentile(waits * 1000 + 5, 95)))
    assert report.totals["sample_rows"] == 1120 and report.totals["sample_whole"]
    # 1,120 answers of 5 ms in 14 days keep a machine busy for 4.6 millionths: the loads shown go on to where it is full
    assert report.totals["factors"] == [1, 110_000, 170_000, 200_000]
    busy = [by_key(report)[f"{factor:.0f}x|1"]["utilisation"] for factor in report.totals["factors"][1:]]
    assert busy == pytest.approx([0.5, 0.8, 0.95], rel=0.05)
    asked = capacity(scope=company.everybody, **company.span(), factor=(0.5, 1, 2, 5)).totals["needed"]
    assert asked == {"0.5": 1, "1": 1, "2": 1, "5": 1}
    assert (report.totals["machines"], report.totals["change"]) == (1, 0)
    assert "keep it" in report.totals["sentence"]


def test_capacity_says_what_can_be_switched_off_and_what_must_be_bought(company: Planned) -> None:
    make.make_node(company.organisation, "node-2", usd_per_hour="0.30")
    idle = capacity(scope=company.everybody, **company.span()).totals
    assert (idle["fewest"], idle["change"]) == (1, -1)
    assert idle["change_nusd_per_month"] == pytest.approx(-0.2e9 * 730.5)
    assert "1 can be switched off, about $146.10 a month saved" in idle["sentence"]
    add_answers(company, "customer-service", "private", 30, service_ns=4_000_000_000_000)  # over an hour each
    busy = capacity(scope=company.everybody, **company.span(), target_ms=3_600_000 * 1.5).totals
    assert busy["change"] is not None and busy["change"] > 0
    assert f"buy {busy['change']} more" in busy["sentence"]


def test_the_target_is_that_of_the_strictest_plan(company: Planned) -> None:
    for slug, target in (("customer-service", 300), ("legal", 80)):
        WorkloadPlan.objects.create(
            organisation=company.organisation, lob=company.lobs[slug], workload=slug, latency_target_ms=target
        )
    assert capacity(scope=company.everybody, **company.span()).totals["target_ms"] == 80
    assert capacity(scope=company.service_only, **company.span()).totals["target_ms"] == 300
    tight = capacity(scope=company.everybody, **company.span(), target_ms=1.0)
    assert tight.totals["fewest"] is None and "No number of machines" in tight.totals["sentence"]


def test_a_reader_of_one_line_of_business_plans_their_own_work_alone(company: Planned) -> None:
    before = capacity(scope=company.service_only, **company.span())
    assert before.totals["machines"] is None and before.totals["sample_rows"] == 560
    assert "machines of its own" in before.totals["sentence"]
    add_answers(company, "legal", "private", 200)
    assert capacity(scope=company.service_only, **company.span()).rows == before.rows
    with pytest.raises(ValueError, match="whole organisation"):
        capacity(scope=company.service_only, **company.span(), pool="gpu")
    assert capacity(scope=NOBODY, **company.span()).rows == []


def test_long_periods_are_sampled_around_their_busiest_hour_without_thinning(company: Planned) -> None:
    found = private_arrivals(company.everybody, **company.span(), most=60)
    hours = SpendHour.objects.filter(side="private").values_list("start", "requests")
    by_hour: dict[Any, int] = {}
    for start, requests in hours:
        by_hour[start] = by_hour.get(start, 0) + requests
    busiest = max(by_hour, key=lambda h: (by_hour[h], h))
    assert found.start <= busiest < found.end and not found.whole and found.rows <= 60
    inside = sum(n for hour, n in by_hour.items() if found.start <= hour < found.end)
    assert found.rows == inside, "every arrival of those hours, none left out"


def test_purchase_advice_compares_every_device_and_lists_each_assumption(company: Planned) -> None:
    report = purchase_advice(scope=company.everybody, **company.span())
    rows = by_key(report)
    assert set(rows) == {
        "cpu-2vcpu", "nvidia-l4", "nvidia-a100-80gb", "nvidia-h100-pcie", "amd-mi250x", "ascend-910b",
    }  # fmt: skip
    own = report.rows[0]
    assert (own["key"], own["simulated"], own["servers"]) == ("cpu-2vcpu", False, 1)
    assert own["nusd_per_month"] == round(100_000_000 * 730.5), (
        "what the company's own node costs, not the list price"
    )
    assert own["nusd_per_correct"] is None and "Nobody judged" in report.totals["sentence"]
    assert rows["amd-mi250x"]["missing"] == "moe_experts" and rows["nvidia-l4"]["simulated"]
    assert report.totals["movable_share"] == 0.5
    listed = {row["parameter"]: row for row in report.totals["assumptions"]}
    assert set(PURCHASE) - {"price_usd", "cloud_usd", "watts"} <= set(listed)
    assert listed["price_usd.nvidia-l4"]["origin"] == "assumption" and listed["efficiency"]["value"] == "0.3"
    assert listed["cloud_usd.cpu-2vcpu"]["origin"] == "measured"


def test_an_assumption_that_was_changed_is_marked_and_moves_the_rows(company: Planned) -> None:
    dear = purchase_advice(
        scope=company.everybody, **company.span(), usd_per_kwh=PURCHASE["usd_per_kwh"]("0.60"),
        price_usd=PURCHASE["price_usd"]("nvidia-l4:100,amd-mi250x:200"), host_usd=PURCHASE["host_usd"]("0"),
    )  # fmt: skip
    plain = purchase_advice(scope=company.everybody, **company.span())
    assert by_key(dear)["nvidia-l4"]["once_nusd"] == 100 * 10**9
    assert (
        by_key(dear)["ascend-910b"]["running_nusd_per_month"]
        > by_key(plain)["ascend-910b"]["running_nusd_per_month"]
    )
    marked = {r["parameter"] for r in dear.totals["assumptions"] if r["origin"] == "changed"}
    assert marked == {"usd_per_kwh", "host_usd", "price_usd.nvidia-l4", "price_usd.amd-mi250x"}


def test_judged_answers_price_a_correct_one(company: Planned) -> None:
    SpendHour.objects.filter(side="private").update(judged=10, correct=8)
    row = purchase_advice(scope=company.everybody, **company.span()).rows[0]
    answers = 80 * 365.25 / 12
    assert row["nusd_per_correct"] == pytest.approx(0.1e9 * 730.5 / answers / 0.8, rel=0.01)
    assert row["low"] < row["nusd_per_correct"] < row["high"]


def test_purchases_are_for_those_who_see_the_whole_organisation(company: Planned) -> None:
    report = purchase_advice(scope=company.service_only, **company.span())
    assert report.rows == [] and "whole organisation" in report.totals["sentence"]
    assert set(report.totals) == {"sentence"}


def test_a_period_without_traffic_has_nothing_to_queue(company: Planned) -> None:
    empty = {"start": company.start - timedelta(days=9), "end": company.start - timedelta(days=2)}
    for report in (
        capacity(scope=company.everybody, **empty),
        purchase_advice(scope=company.everybody, **empty),
    ):
        assert report.rows == [] and "Nothing to queue" in report.totals["sentence"]


@pytest.mark.parametrize(
    ("reader", "text", "says"),
    [
        (PARAMETERS["factor"], "1e9", "between 0.01 and 10,000,000"), (PARAMETERS["factor"], "-1", "between"),
        (PARAMETERS["factor"], "nan", "between"), (PARAMETERS["factor"], "two", "a number"),
        (PARAMETERS["factor"], "1,2,3,4,5,6,7", "at most 6"), (PARAMETERS["percentile"], "100", "99.9"),
        (PARAMETERS["target_ms"], "0", "between"), (PURCHASE["life_months"], "1.5", "whole number"),
        (PURCHASE["precision"], "fp4", "one of fp32"), (PURCHASE["price_usd"], "nvidia-l4", "device:amount"),
        (PURCHASE["price_usd"], "abacus:5", "devices are"), (PURCHASE["price_usd"], "nvidia-l4:free", "in dollars"),
        (PURCHASE["usd_per_kwh"], "Infinity", "between"), (PURCHASE["utilisation"], "1.01", "between"),
    ],
)  # fmt: skip
def test_absurd_assumptions_are_refused_with_what_was_expected(reader: Any, text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        reader(text)


def test_the_command_line_gives_the_same_figures(company: Planned) -> None:
    out = StringIO()
    span = ["--from", company.start.isoformat(), "--to", company.end.isoformat()]
    call_command("report", "capacity", *span, "--set", "factor=2", "--set", "target_ms=50", stdout=out)
    body = json.loads(out.getvalue())
    assert {row["factor"] for row in body["rows"]} == {2.0} and body["totals"]["target_ms"] == 50
    out = StringIO()
    call_command("report", "break-even", *span, stdout=out)
    row = next(r for r in json.loads(out.getvalue())["rows"] if r["key"] == "support-intent")
    assert row["external_usd_per_1000"] == "0.0014" and row["verdict"] == "external"
    out = StringIO()
    call_command("report", "purchase-advice", *span, "--set", "price_usd=nvidia-l4:1", "--csv", stdout=out)
    assert out.getvalue().count("\n") == 7
    with pytest.raises(CommandError, match="between 0.01 and 10,000,000"):
        call_command("report", "capacity", *span, "--set", "factor=1e9")


def test_a_pool_is_planned_by_itself(company: Planned) -> None:
    Node.objects.filter(name="node-1").update(pool="text")
    make.make_node(company.organisation, "node-2", pool="gpu")
    report = capacity(scope=company.everybody, **company.span(), pool="text")
    assert (report.totals["machines"], report.totals["sample_rows"]) == (1, 1120)
    with pytest.raises(ValueError, match="no machine in a pool"):
        capacity(scope=company.everybody, **company.span(), pool="attic")
