"""Prices are dated and never edited, budgets bind a scope that exists, reports answer for what was asked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from costs.models import LedgerEntry, Price, SpendHour
from costs.rollups import refresh_days
from routing.models import DecisionRecord
from switchyard.core.clock import now
from tests import factories
from tests.switchyard.api.company import Company

SHEET = {
    "deployment": "ext-a",
    "input_usd_per_mtok": "0.05",
    "output_usd_per_mtok": "0.40",
    "source": "book, 2026-08-05",
}


@pytest.fixture
def priced(company: Company) -> Company:
    factories.make_deployment(company.organisation, "ext-a", bare=True)
    return company


def test_a_new_sheet_closes_the_open_one_and_may_not_contradict_another(priced: Company):
    alice = priced.alice
    first = alice.post("prices", SHEET | {"from": "2030-01-01"})
    assert (
        first["from"] == "2030-01-01T00:00:00Z"
        and first["to"] is None
        and first["output_usd_per_mtok"] == "0.40"
    )
    alice.post("prices", SHEET | {"from": "2031-01-01", "to": "2032-01-01"}, expect=400)  # no price after it
    assert alice.get(f"prices/{first['id']}")["to"] is None
    second = alice.post("prices", SHEET | {"from": "2031-01-01", "usd_per_mcall": "1"})
    assert alice.get(f"prices/{first['id']}")["to"] == second["from"]
    alice.post("prices", SHEET | {"from": "2030-06-01"}, expect=400)
    alice.post("prices", SHEET | {"from": "2031-01-01"}, expect=400)
    alice.post("prices", SHEET | {"from": "2033-01-01", "to": "2033-01-01"}, expect=400)
    alice.post("prices", SHEET | {"from": "2033-01-01", "deployment": "nobody"}, expect=400)
    assert [row["id"] for row in alice.get("prices", deployment="ext-a")["results"]] == [
        second["id"],
        first["id"],
    ]


def test_what_was_in_force_is_never_edited(priced: Company):
    alice = priced.alice
    old = alice.post("prices", SHEET | {"from": "2020-01-01"})
    alice.patch(f"prices/{old['id']}", {"input_usd_per_mtok": "0"}, expect=400)
    alice.patch(f"prices/{old['id']}", {"to": "2021-01-01"}, expect=400)
    alice.delete(f"prices/{old['id']}", expect=409)
    ends = (now() + timedelta(days=1)).isoformat()
    assert alice.patch(f"prices/{old['id']}", {"to": ends})["to"] is not None
    alice.post("prices", SHEET | {"from": "2040-01-01"}, expect=400)  # it would leave a gap
    later = alice.post("prices", SHEET | {"from": ends})
    alice.delete(f"prices/{later['id']}")


def test_a_deployment_shows_the_sheet_in_force_and_takes_a_new_one(priced: Company):
    alice = priced.alice
    assert alice.get("deployments/ext-a")["prices"] is None
    sheet = {"input_usd_per_mtok": "0.1", "output_usd_per_mtok": "0.2", "cached_input_usd_per_mtok": "0.01"}
    shown = alice.patch("deployments/ext-a", {"prices": sheet})["prices"]
    assert shown["input_usd_per_mtok"] == "0.10" and shown["cached_input_usd_per_mtok"] == "0.01"
    alice.patch("deployments/ext-a", {"prices": sheet | {"input_usd_per_mtok": "0.3"}})
    assert alice.get("deployments")["results"][0]["prices"]["input_usd_per_mtok"] == "0.30"
    assert Price.objects.count() == 2 and Price.objects.filter(valid_to__isnull=True).count() == 1
    assert alice.patch("deployments/ext-a", {"prices": {"input_usd_per_mtok": "-1"}}, expect=400)["errors"]


@pytest.mark.parametrize("value", ["-1", "1e400", "NaN", "Infinity", "one", True, [], 10**12])
def test_wrong_amounts_are_refused(priced: Company, value: object):
    body = {"scope": "organisation", "limit_usd": value, "period": "day"}
    assert priced.alice.post("budgets", body, expect=400)["errors"][0]["path"] == "limit_usd"
    priced.alice.post("nodes", {"name": "n", "usd_per_hour": value}, expect=400)
    priced.alice.post("prices", SHEET | {"from": "2030-01-01", "input_usd_per_mtok": value}, expect=400)


def test_a_node_must_say_what_it_costs(company: Company):
    company.alice.post("nodes", {"name": "n"}, expect=400)
    company.alice.post("nodes", {"name": "n", "capex_usd": "30000"}, expect=400)
    made = company.alice.post("nodes", {"name": "n", "capex_usd": "30000", "life_months": 48, "watts": 700})
    assert made["usd_per_hour"] is None
    company.alice.patch("nodes/n", {"life_months": None}, expect=400)


def test_a_node_in_use_is_not_deleted(company: Company):
    factories.make_deployment(company.organisation, "home-a", side="private")
    problem = company.alice.delete("nodes/node-1", expect=409)
    assert problem["code"] == "in_use" and "home-a" in problem["title"]


@pytest.mark.parametrize(
    "scope", ["lob:nobody", "team:x", "", "lob:", "key:\x00", "application:x", "organisation:1"]
)
def test_a_budget_binds_a_scope_that_exists(company: Company, scope: str):
    body = {"scope": scope, "limit_usd": "1"}
    assert company.alice.post("budgets", body, expect=400)["errors"][0]["path"] == "scope"


def test_a_time_zone_must_exist(company: Company):
    body = {"scope": "organisation", "limit_usd": "1", "timezone": "../etc/passwd"}
    company.alice.post("budgets", body, expect=400)


# --- reports, ledger, decisions -----------------------------------------------------------------------------------


@pytest.fixture
def spent(company: Company) -> Company:
    hour = datetime(2026, 8, 1, 23, tzinfo=UTC)
    for lob, side, cost in (
        ("customer-service", "external", 1_500_000_000),
        ("legal", "private", 500_000_000),
    ):
        SpendHour.objects.create(
            organisation_id=company.organisation.pk, start=hour, lob=lob, workload=f"{lob}-work", deployment="d", model="m",
            side=side, requests=10, answers=10, cost_nusd=cost, answered_cost_nusd=cost, judged=10, correct=9,
        )  # fmt: skip
        refresh_days(hour, hour + timedelta(hours=1))
        LedgerEntry.objects.create(
            event_id=lob, organisation_id=company.organisation.pk, at=hour, debit=f"lob:{lob}", credit=side,
            amount_nusd=cost, lob=lob, request_id=f"req_{lob}",
        )  # fmt: skip
    return company


PERIOD = {"from": "2026-08-01", "to": "2026-08-03"}


def test_spend_has_rows_totals_and_a_total_in_dollars(spent: Company):
    report = spent.alice.get("reports/spend", **PERIOD)
    assert set(report) == {"name", "as_of", "rows", "totals", "total_usd"} and report["total_usd"] == "2.00"
    assert [(r["key"], r["cost_usd"], r["requests"]) for r in report["rows"]] == [
        ("customer-service", "1.50", 10),
        ("legal", "0.50", 10),
    ]
    assert spent.bob.get("reports/spend/", **PERIOD)["total_usd"] == "1.50"
    by_day = spent.alice.get("reports/spend", group="day", tz="Asia/Shanghai", **PERIOD)
    assert [r["key"] for r in by_day["rows"]] == ["2026-08-02"]
    assert spent.alice.get("reports/spend", lob="legal", **PERIOD)["total_usd"] == "0.50"


@pytest.mark.parametrize(
    "name", ["spend", "accuracy", "cost-per-correct", "counterfactual", "node-bill", "share", "trial-balance"]
)
def test_every_report_answers_with_rows_that_have_a_key(spent: Company, name: str):
    report = spent.alice.get(f"reports/{name}", **PERIOD)
    assert report["name"] == name and all("key" in row for row in report["rows"])
    assert "nusd" not in str(report)
    if name == "trial-balance":
        assert report["totals"]["debit_usd"] == report["totals"]["credit_usd"] == "2.00"


@pytest.mark.parametrize(
    "query",
    [
        {"from": "yesterday"}, {"to": "2026-13-01"}, {"from": "0001-01-01"}, {"to": "0001-01-01"}, {"to": "9999-12-31"},
        {"from": "2026-08-03", "to": "2026-08-01"}, {"group": "colour"}, {"group": "lob,lob"}, {"tz": "Mars/Base"},
        {"tz": "\x00"}, {"from": "\x00"}, {"group": "\x00"}, {"to": "2026-08-01T00:00:00+99:00"},
    ],
)  # fmt: skip
def test_a_report_refuses_what_it_cannot_read(company: Company, query: dict[str, str]):
    assert company.alice.get("reports/spend", expect=400, **query)["errors"]


def test_an_unknown_line_of_business_has_no_report(company: Company):
    company.alice.get("reports/spend", expect=404, lob="nobody")
    company.alice.get("reports/spend", expect=404, lob="\x00")


def test_the_ledger_is_read_and_never_written(spent: Company):
    rows = spent.alice.get("ledger", lob="legal")["results"]
    assert [(r["amount_usd"], r["debit"]) for r in rows] == [("0.50", "lob:legal")]
    assert spent.alice.get("ledger", request_id="req_\x00")["results"] == []
    for call in (spent.alice.client.post, spent.alice.client.patch, spent.alice.client.delete):
        assert call("/api/v1/ledger", {}, "json").status_code == 405


def test_decisions_are_narrowed_and_explained(company: Company):
    for n, status in enumerate((200, 429)):
        DecisionRecord.objects.create(
            id=f"dec_{n}", request_id=f"req_{n}", organisation_id=company.organisation.pk, at=now(), lob="legal",
            endpoint="chat/completions", sensitivity="internal", policy_version="org@1", policy_hash="0", status=status,
            side="external", cost_nusd=7_000, detail={"facts": {"data": {}}, "at_ns": 1},
        )  # fmt: skip
    alice = company.alice
    assert [r["id"] for r in alice.get("decisions", status=429)["results"]] == ["dec_1"]
    for odd in ("²", "x", "99999999999999999999", "\x00"):
        assert alice.get("decisions", status=odd)["results"] == []
    one = alice.get("decisions/dec_0")
    assert one["cost_usd"] == "0.000007" and one["policy"] == {"version": "org@1", "hash": "0"}
    assert {"facts", "trace", "candidates", "attempts", "prices", "other_side_cost_usd", "guard"} <= set(one)
