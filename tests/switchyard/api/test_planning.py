"""Break-even, capacity and purchase advice over REST: dollars as text, parameters refused in words, the neighbour's side."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from switchyard.tenancy.services import create_token
from tests import factories as make
from tests.costs.planning.company import Planned, bill_hours, plan_company

pytestmark = pytest.mark.django_db


@pytest.fixture
def company() -> Planned:
    planned = plan_company(days=10)
    bill_hours(planned)
    return planned


def asker(company: Planned, name: str, role: str, *lobs: str) -> Any:
    """GET reports/<name> as somebody."""
    user = make.make_user(name, company.organisation, role, tuple(company.lobs[slug] for slug in lobs))
    headers = {"HTTP_AUTHORIZATION": f"Bearer {create_token(user=user, name='test')[1]}"}

    def ask(report: str, expect: int = 200, **query: str) -> Any:
        span = {"from": company.start.isoformat(), "to": company.end.isoformat()}
        answer = Client().get(f"/api/v1/reports/{report}", span | query, **headers)
        assert answer.status_code == expect, answer.content
        return answer.json()

    return ask


def test_amounts_are_dollars_in_text_and_the_sentence_is_there(company: Planned) -> None:
    rows = {row["key"]: row for row in asker(company, "alice", "finance")("break-even")["rows"]}
    row = rows["support-intent"]
    assert row["external_usd_per_1000"] == "0.0014" and row["private_fixed_usd_per_day"].startswith("1.")
    assert row["sentence"].startswith("Private is cheaper above") and isinstance(
        row["break_even_per_day"], float
    )
    assert rows["organisation"]["machines"] == 1


def test_capacity_takes_loads_target_and_percentile(company: Planned) -> None:
    ask = asker(company, "alice", "finance")
    body = ask("capacity", factor="1,10", target_ms="20", percentile="99")
    assert {row["factor"] for row in body["rows"]} == {1.0, 10.0} and body["totals"]["needed"]["1"] == 1
    for wrong in (
        {"factor": "0"},
        {"factor": "ten"},
        {"percentile": "100"},
        {"target_ms": "-1"},
        {"pool": "attic"},
    ):
        assert "errors" in ask("capacity", expect=400, **wrong)


def test_purchase_advice_takes_every_assumption_and_tells_them_all(company: Planned) -> None:
    ask = asker(company, "alice", "finance")
    body = ask(
        "purchase-advice", price_usd="nvidia-l4:2000", usd_per_kwh="0.4", life_months="36", efficiency="0.5"
    )
    l4 = next(row for row in body["rows"] if row["key"] == "nvidia-l4")
    assert l4["once_usd"] == "5000.00" and l4["simulated"] is True and l4["origin"] == "vendor"
    changed = {r["parameter"] for r in body["totals"]["assumptions"] if r["origin"] == "changed"}
    assert changed == {"price_usd.nvidia-l4", "usd_per_kwh", "life_months", "efficiency"}
    assert body["totals"]["coverage"]["CANN"]["attention"] == "fallback"
    assert "errors" in ask("purchase-advice", expect=400, efficiency="2")


def test_a_neighbour_gets_their_own_work_and_no_machine(company: Planned) -> None:
    ask = asker(company, "bob", "viewer", "customer-service")
    assert [row["key"] for row in ask("break-even")["rows"]] == ["support-intent"]
    planned = ask("capacity")
    assert planned["totals"]["machines"] is None and planned["totals"]["sample_rows"] == 400
    assert ask("purchase-advice")["rows"] == []
    for report in ("break-even", "capacity", "purchase-advice"):
        ask(report, expect=404, lob="legal")
    ask("capacity", expect=400, pool="text")
