"""Nodes over REST: dated costs with preview, hours and their revisions, restatements; and nothing of it for a neighbour."""

from __future__ import annotations

from datetime import timedelta

import pytest

from costs import rollups
from costs.metering import record_events
from costs.models import Node, NodeInterval
from costs.nodes.intervals import close_intervals
from costs.rollups import HOUR, hour_of
from switchyard.core.clock import now
from tests.costs.events import make_event, private_attempt
from tests.switchyard.api.company import Company

BOUGHT = {
    "name": "gpu-1", "pool": "gpus", "capex_usd": "24000", "salvage_usd": "2000", "life_months": 48, "watts": 700, "pue": "1.4",
    "usd_per_kwh": "0.30", "tariff": [{"from": 22, "to": 6, "usd_per_kwh": "0.10"}], "tariff_timezone": "Europe/Berlin",
    "planned_utilisation": "0.6",
}  # fmt: skip


@pytest.fixture
def closed(company: Company) -> Node:
    """A machine at $0.10 an hour, set up five hours ago; legal used half an hour of the third."""
    company.alice.post("nodes", {"name": "cpu-1", "usd_per_hour": "0.10"})
    node = Node.objects.get(name="cpu-1")
    start = hour_of(now()) - 5 * HOUR
    Node.objects.update(created_at=start)
    node.costs.update(valid_from=start)
    at = start + 2 * HOUR
    attempt = private_attempt(accelerator_ns=1800 * 10**9, node="cpu-1")
    record_events([make_event(attempt, at=at, organisation_id=node.organisation_id, lob="legal")])
    rollups.refresh(at, at)
    close_intervals(node.organisation_id, start, now())
    node.refresh_from_db()
    return node


def test_a_bought_machine_is_told_whole_and_its_versions_are_listed(company: Company):
    made = company.alice.post("nodes", BOUGHT)
    assert made["tariff"] == BOUGHT["tariff"] and made["salvage_usd"] == "2000.00"
    [version] = company.alice.get("nodes/gpu-1/costs")["results"]
    assert (
        version["capex_usd"] == "24000.00" and version["valid_to"] is None and version["reason"] == "set up"
    )


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"salvage_usd": "25000"}, "salvage_usd"),
        (
            {"tariff": [{"from": 1, "to": 9, "usd_per_kwh": 1}, {"from": 8, "to": 10, "usd_per_kwh": 1}]},
            "tariff",
        ),
        ({"tariff": [{"from": 1, "to": 30, "usd_per_kwh": 1}]}, "tariff"),
        ({"tariff": "cheap at night"}, "tariff"),
        ({"tariff_timezone": "Mars"}, "tariff_timezone"),
        ({"pue": "0.5"}, "pue"),
        ({"idle_rule": "lob_share", "idle_shares": {"sales": 1}}, "idle_shares"),
        ({"idle_rule": "nobody at all"}, "idle_rule"),
        ({"idle_rule": "pool", "pool": ""}, "pool"),
        ({"usd_per_hour": "1"}, "capex_usd"),
        ({"commitment_months": 12}, "commitment_months"),
        ({"watts": -1}, "watts"),
    ],
)
def test_a_machine_that_cannot_be_is_refused_at_its_field(company: Company, change: dict, path: str):
    problem = company.alice.post("nodes", BOUGHT | change, expect=400)
    assert path in {error["path"] for error in problem["errors"]} and all(
        e["message"] for e in problem["errors"]
    )
    company.alice.post("nodes", BOUGHT)
    company.alice.patch("nodes/gpu-1", change, expect=400)


def test_a_change_of_the_past_is_previewed_made_and_told(company: Company, closed: Node):
    alice, start = company.alice, closed.created_at + 2 * HOUR
    body = {"usd_per_hour": "0.20", "valid_from": start.isoformat(), "reason": "the invoice"}
    seen = alice.post("nodes/cpu-1/costs", body | {"preview": True}, expect=200)
    assert seen["restatement"]["moved_usd"]["legal"] == "0.05"
    assert (
        len(alice.get("nodes/cpu-1/costs")["results"]) == 1
        and alice.get("nodes/cpu-1/restatements")["results"] == []
    )
    made = alice.post("nodes/cpu-1/costs", body)
    assert made["restatement"] | {"id": 0, "at": ""} == seen["restatement"] | {
        "id": 0, "at": "", "by": "alice", "new_version": made["version"]["version"],
    }  # fmt: skip
    [kept] = alice.get("nodes/cpu-1/restatements")["results"]
    assert (kept["hours"], kept["before_usd"], kept["after_usd"], kept["reason"]) == (
        kept["hours"], f"{0.1 * kept['hours']:.2f}", f"{0.2 * kept['hours']:.2f}", "the invoice",
    )  # fmt: skip
    assert kept["hours"] >= 2
    assert alice.get("nodes/cpu-1")["usd_per_hour"] == "0.200000000"


def test_a_patch_dates_its_change_as_well(company: Company, closed: Node):
    start = (closed.created_at + 2 * HOUR).isoformat()
    assert company.alice.patch("nodes/cpu-1", {"usd_per_hour": "0.20", "valid_from": start}, expect=400)["errors"][0][
        "path"
    ] == "reason"  # fmt: skip
    company.alice.patch("nodes/cpu-1", {"usd_per_hour": "0.20", "valid_from": start, "reason": "invoice"})
    assert len(company.alice.get("nodes/cpu-1/restatements")["results"]) == 1
    later = (now() + timedelta(days=3)).isoformat()
    shown = company.alice.patch("nodes/cpu-1", {"usd_per_hour": "0.30", "valid_from": later})
    assert shown["usd_per_hour"] == "0.200000000"


def test_hours_are_listed_with_their_revisions_and_restated_on_request(company: Company, closed: Node):
    alice = company.alice
    hours = alice.get("nodes/cpu-1/intervals")["results"]
    used = next(hour for hour in hours if hour["shares_usd"])
    assert (used["bill_usd"], used["shares_usd"], used["idle_usd"], used["accelerator_s"]) == (
        "0.10",
        {"legal": "0.05"},
        "0.05",
        1800,
    )
    Node.objects.get().costs.update(usd_per_hour="0.40")  # as if the version had been wrong from the start
    body = {"from": closed.created_at.isoformat(), "to": now().isoformat(), "reason": "typing error"}
    assert (
        alice.post("nodes/cpu-1/restate", body | {"preview": True}, expect=200)["moved_usd"]["legal"]
        == "0.15"
    )
    assert alice.get("nodes/cpu-1/intervals")["results"] == hours
    alice.post("nodes/cpu-1/restate", body, expect=200)
    both = [
        h
        for h in alice.get("nodes/cpu-1/intervals", revisions="all")["results"]
        if h["start"] == used["start"]
    ]
    assert [(h["revision"], h["bill_usd"], h["current"]) for h in both] == [
        (1, "0.40", True),
        (0, "0.10", False),
    ]
    alice.post("nodes/cpu-1/restate", body | {"to": body["from"]}, expect=400)
    alice.post("nodes/cpu-1/restate", body | {"reason": ""}, expect=400)


def test_what_was_billed_is_kept(company: Company, closed: Node):
    assert company.alice.delete("nodes/cpu-1", expect=409)["code"] == "node_in_history"
    NodeInterval.objects.all().delete()
    company.alice.delete("nodes/cpu-1")


def test_a_neighbour_learns_what_a_machine_costs_and_nothing_of_whom_it_works_for(
    company: Company, closed: Node
):
    company.alice.patch("nodes/cpu-1", {"idle_rule": "lob_share", "idle_shares": {"legal": 1}, "pool": "p"})
    shown = company.bob.get("nodes/cpu-1")
    assert shown["usd_per_hour"] == "0.100000000"
    assert not {"idle_shares", "idle_rule", "pool", "people_usd_per_month"} & set(shown)
    for path in ("costs", "intervals", "restatements"):
        company.bob.get(f"nodes/cpu-1/{path}", expect=403)
        company.charlie.get(f"nodes/cpu-1/{path}", expect=403)
    body = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z", "reason": "x"}
    company.bob.post("nodes/cpu-1/restate", body, expect=403)
    company.bob.post("nodes/cpu-1/costs", {"usd_per_hour": "9", "reason": "x"}, expect=403)
    reader = company.person("rita", "viewer")
    assert reader.get("nodes/cpu-1/intervals")["results"]
    reader.post("nodes/cpu-1/costs", {"usd_per_hour": "9", "reason": "x"}, expect=403)
    assert (
        "legal" not in str(company.bob.get("reports/true-cost"))
        and company.bob.get("reports/node-bill")["rows"] == []
    )
