"""What the machines did and what it cost: metered beside loaded, purposes and idle on lines of their own, tied to the bill."""

from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from costs import rollups
from costs.charts import nodes as charts
from costs.contracts import NodeRate
from costs.metering import record_job_cost
from costs.models import LedgerEntry, NodeInterval
from costs.nodes.changes import change_carrying, change_cost
from costs.reports.catalogue import CATALOGUE
from costs.reports.nodes import node_bill, node_costs, node_hours
from costs.reports.true_cost import true_cost
from costs.rollups import HOUR
from switchyard.tenancy.querysets import NOBODY, Scope
from tests.costs.events import NOON
from tests.costs.nodes.company import START, close, make_node, work

pytestmark = pytest.mark.django_db
SPAN = {"start": NOON - 4 * HOUR, "end": NOON + 4 * HOUR}


def everybody(node):
    return Scope(node.organisation_id, None, None, frozenset({"admin"}))


def legal_only(node):
    return Scope(node.organisation_id, frozenset({1}), frozenset({"legal"}), frozenset({"viewer"}))


def by_key(report):
    return {row["key"]: row for row in report.rows}


@pytest.fixture
def node(time_machine):
    """Of the hour of noon at $0.05: a quarter legal's answers, an eighth customer-service's, a fifth a fine-tune of legal's."""
    time_machine.move_to(NOON - 2 * HOUR)
    node = make_node()
    time_machine.move_to(NOON + 3 * HOUR)
    work(node, 900, lob="legal", cost_nusd=12_000_000)
    work(node, 450, cost_nusd=6_000_000)
    record_job_cost(
        job_id="job_1", kind="fine_tune", organisation_id=node.organisation_id, lob="legal",
        rate=NodeRate("node:1@x", node.name, 50_000_000, 1_000_000), accelerator_ns=720 * 10**9, at=NOON,
    )  # fmt: skip
    rollups.refresh(NOON, NOON)
    close(node)
    return node


def test_metered_and_loaded_stand_side_by_side_and_training_on_its_own_line(node):
    rows = by_key(true_cost(scope=everybody(node), **SPAN, group="purpose"))
    answers, tuning = rows["answer"], rows["fine_tune"]
    assert (answers["metered_nusd"], answers["loaded_nusd"], answers["variance_nusd"]) == (
        18_000_000,
        18_750_000,
        750_000,
    )
    assert answers["loaded_nusd_per_1000"] == 18_750_000 * 1000 / 2
    assert (tuning["metered_nusd"], tuning["loaded_nusd"], tuning["accelerator_s"]) == (
        10_000_000,
        10_000_000,
        720,
    )
    assert tuning["answers"] == 0 and tuning["loaded_nusd_per_1000"] is None
    assert LedgerEntry.objects.get(job_id="job_1").purpose == "fine_tune"


def test_the_rows_and_idle_time_are_the_nodes_bill_to_the_nano_dollar(node):
    for group in ("lob", "workload", "deployment", "purpose", "node", "hour", "lob,purpose"):
        report = true_cost(scope=everybody(node), **SPAN, group=group)
        assert (
            report.totals["loaded_nusd"] - report.totals["open_nusd"]
            == report.totals["bill_nusd"]
            == 250_000_000
        )
        assert by_key(report)["idle: nobody"]["loaded_nusd"] == report.totals["idle_nusd"] == 221_250_000


def test_an_hour_that_is_open_is_loaded_as_metered_and_said_to_be(node, time_machine):
    work(node, 60, at=NOON + 3 * HOUR, cost_nusd=800_000)
    report = true_cost(scope=everybody(node), **SPAN)
    assert report.totals["open_nusd"] == 800_000
    assert report.totals["loaded_nusd"] - 800_000 == report.totals["bill_nusd"]


def test_pools_and_unused_hours_have_lines_by_who_carries_them(node, time_machine):
    change_carrying(node=node, pool="gpus", idle_rule="pool", actor=None)
    time_machine.move_to(NOON + 4 * HOUR)
    close(node, hours=4)
    change_carrying(
        node=node, idle_rule="lob_share", idle_shares={"legal": 3, "customer-service": 1}, actor=None
    )
    time_machine.move_to(NOON + 5 * HOUR)
    close(node, hours=5)
    report = true_cost(scope=everybody(node), start=NOON - 4 * HOUR, end=NOON + 6 * HOUR)
    idle = {key: row["loaded_nusd"] for key, row in by_key(report).items() if row["kind"] == "idle"}
    # 15 h and 16 h close under `pool` (set at 15:15), 16 h under `lob_share` (set at 16:15).
    assert idle == {
        "idle: nobody": 221_250_000, "idle: pool gpus": 50_000_000, "idle: legal": 37_500_000,
        "idle: customer-service": 12_500_000,
    }  # fmt: skip
    assert report.totals["loaded_nusd"] == report.totals["bill_nusd"] == 7 * 50_000_000


def test_a_neighbour_sees_the_work_of_its_own_and_nothing_of_the_machines(node):
    change_carrying(
        node=node, idle_rule="lob_share", idle_shares={"legal": 1, "customer-service": 1}, actor=None
    )
    NodeInterval.objects.filter(accelerator_ns=0, current=True).delete()
    report = true_cost(scope=legal_only(node), **SPAN)
    assert list(by_key(report)) == ["legal"]
    assert report.totals["bill_nusd"] == 0
    for one in (node_bill, node_costs, node_hours):
        kept = one(scope=legal_only(node), **SPAN, **({"group": "day"} if one is node_hours else {}))
        assert kept.rows == [] and set(kept.totals.values()) <= {0}
    for entry in ("true-cost", "node-bill", "node-costs", "node-hours"):
        assert CATALOGUE[entry].function(scope=NOBODY, **SPAN, group=CATALOGUE[entry].group).rows == []


def test_the_node_bill_tells_pool_rule_and_what_lines_of_business_carry(node):
    assert node_bill(scope=everybody(node), **SPAN).rows == [
        {
            "key": "node-cpu-1", "bill_nusd": 250_000_000, "used_nusd": 28_750_000, "idle_nusd": 221_250_000,
            "utilisation": 2070 / (5 * 3600), "hours": 5.0, "carried_nusd": 0, "pool": "", "idle_rule": "nobody",
        }
    ]  # fmt: skip


def test_a_nodes_hour_is_told_by_its_parts(node):
    change_cost(node=node, values={"people_usd_per_month": "73.05", "planned_utilisation": "0.5"}, actor=None)
    [row] = node_costs(scope=everybody(node), **SPAN).rows
    assert (row["cloud_nusd"], row["people_nusd"], row["hourly_nusd"]) == (
        50_000_000,
        100_000_000,
        150_000_000,
    )
    assert row["standard_nusd"] == 300_000_000
    figure = charts.node_costs([row], {"cloud": "Cloud", "people": "People", "power": "Power"})
    assert [trace["name"] for trace in figure["data"]] == ["Cloud", "People"]


def test_hours_add_up_by_day_and_by_machine(node):
    [day] = node_hours(scope=everybody(node), **SPAN, group="day").rows
    assert (day["key"], day["bill_nusd"], day["hours"]) == ("2026-11-03", 250_000_000, 5)
    keys = [row["key"] for row in node_hours(scope=everybody(node), **SPAN, group="node,hour").rows]
    assert keys[0] == "node-cpu-1|2026-11-03T10:00" and len(keys) == 5
    with pytest.raises(ValueError, match="grouped by node"):
        node_hours(scope=everybody(node), **SPAN, group="lob")


def test_a_figure_of_what_moved_puts_the_largest_rise_on_top():
    figure = charts.moved({"legal": -5_000_000, "idle": 20_000_000})
    assert figure["data"][0]["y"] == ["legal", "idle"] and figure["data"][0]["x"] == [-0.5, 2.0]


uses = st.lists(
    st.tuples(st.sampled_from(["legal", "customer-service"]), st.integers(-2, 2), st.integers(0, 5000), st.integers(0, 10**8)),
    max_size=6,
)  # fmt: skip


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(uses, st.sampled_from(["nobody", "pool", "lob_share"]), st.decimals(0, 3, places=6), st.booleans())
def test_whatever_was_done_the_report_ties_to_the_bill(
    time_machine, transactional_rows, done, rule, rate, restated
):
    with transactional_rows():
        time_machine.move_to(NOON - 2 * HOUR)
        node = make_node(idle_rule=rule, pool="p", idle_shares={"legal": 2}, usd_per_hour=rate)
        time_machine.move_to(NOON + 3 * HOUR)
        for lob, hour, seconds, cost in done:
            work(node, seconds, at=NOON + hour * HOUR, lob=lob, cost_nusd=cost)
        close(node)
        if restated:
            change_cost(
                node=node,
                values={"usd_per_hour": Decimal("0.123456789")},
                valid_from=START,
                reason="test",
                actor=None,
            )
        totals = true_cost(scope=everybody(node), **SPAN).totals
        assert totals["loaded_nusd"] == totals["bill_nusd"] and totals["open_nusd"] == 0
        bills = NodeInterval.objects.filter(
            node=node.name, organisation_id=node.organisation_id, current=True
        )
        assert sum(r.bill_nusd for r in bills) == totals["bill_nusd"]


@pytest.fixture
def transactional_rows():
    """Each example starts from the same rows: a savepoint that is rolled back."""
    from contextlib import contextmanager

    from django.db import transaction

    @contextmanager
    def rows():
        point = transaction.savepoint()
        try:
            yield
        finally:
            transaction.savepoint_rollback(point)

    return rows
