"""Break-even and capacity as pages: the sentence first, forms that live in the address, the neighbour's side, and speed."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.test import Client

from tests import factories as make
from tests.clocks import cpu_seconds
from tests.costs.planning.company import Planned, add_answers, bill_hours, plan_company

pytestmark = pytest.mark.django_db


@pytest.fixture
def company() -> Planned:
    planned = plan_company(days=13)
    bill_hours(planned)
    return planned


def client_of(company: Planned, name: str, role: str, *lobs: str) -> Client:
    client = Client()
    client.force_login(
        make.make_user(name, company.organisation, role, tuple(company.lobs[slug] for slug in lobs))
    )
    return client


def test_the_break_even_page_says_where_the_crossing_is_and_where_today_is(company: Planned) -> None:
    alice = client_of(company, "alice", "admin")
    answer = alice.get("/break-even/", {"workload": "support-intent"})
    text = answer.content.decode()
    assert (
        "Private is cheaper above" in text and "you are at 80" in text and "Residency keeps this work" in text
    )
    (private, external, crossing, today) = answer.context["panel"]["break-even"].figure["data"]
    assert (private["name"], external["name"]) == ("private", "external")
    at = crossing["x"][0]
    index = private["x"].index(at)
    assert private["y"][index] == pytest.approx(external["y"][index], rel=1e-6), "the lines meet at the mark"
    assert today["x"][0] == pytest.approx(80, abs=1)
    assert alice.get("/break-even/", {"csv": "break-even-by-workload"}).content.decode().count("\n") >= 4


def test_work_that_rides_along_is_drawn_at_nothing_on_axes_that_have_a_zero(company: Planned) -> None:
    answer = client_of(company, "alice", "admin").get("/break-even/")
    panel = answer.context["panel"]["break-even"]
    private = panel.figure["data"][0]
    assert set(private["y"]) == {0} and panel.figure["layout"]["yaxis"]["type"] == "linear"
    assert "$2.40 a day, which is due either way" in str(panel.note)
    sentences = {row[0]: row[2] for row in answer.context["panel"]["break-even-advice"].rows}
    assert sentences["support-intent"].endswith("It rides along.")


def test_a_neighbour_sees_their_own_work_alone(company: Planned) -> None:
    bob = client_of(company, "bob", "viewer", "customer-service")
    even = bob.get("/break-even/").content.decode()
    assert (
        "support-intent" in even
        and "contract-clauses" not in even
        and "whole organisation</option>" not in even
    )
    text = bob.get("/capacity/").content.decode()
    assert "as if it had machines of its own" in text and "for those who see all of it" in text
    assert 'name="pool"' not in text and "node-1" not in text and "NVIDIA" not in text
    assert bob.get("/capacity/?lob=legal").status_code == 404 == bob.get("/break-even/?lob=legal").status_code
    assert "NVIDIA" not in bob.get("/capacity/?csv=purchase-advice").content.decode()
    refused = bob.get("/capacity/?pool=gpu").content.decode()
    assert "whole organisation" in refused and "Nothing in this period" not in refused


def test_a_plan_is_in_the_address(company: Planned) -> None:
    alice = client_of(company, "alice", "admin")
    answer = alice.get("/capacity/?factor=1,3&target_ms=50&percentile=99&workload=support-intent")
    text = answer.content.decode()
    rows = answer.context["panel"]["capacity"].rows
    assert {row[0] for row in rows} == {1.0, 3.0} and "99 % of the answers within 50 ms" in text
    assert 'value="1,3"' in text and 'value="support-intent"' in text
    assert answer.context["totals"]["sample_rows"] == 13 * 40


def test_an_assumption_changed_by_device_moves_its_row_and_is_marked(company: Planned) -> None:
    alice = client_of(company, "alice", "admin")
    answer = alice.get("/capacity/?price_usd.nvidia-l4=10&host_usd=0&usd_per_kwh=0.30&purchase_factor=2")
    rows = {row[0]: row for row in answer.context["panel"]["purchase-advice"].rows}
    assert rows["NVIDIA L4"][5] == 10 * 10**9
    changed = [row for row in answer.context["fields"] if row["origin"] == "changed"]
    assert {row["field"] for row in changed} == {
        "price_usd.nvidia-l4",
        "host_usd",
        "usd_per_kwh",
        "purchase_factor",
    }
    assert answer.context["faults"] == []


@pytest.mark.parametrize(
    ("query", "says"),
    [("factor=1e9", "between 0.01 and 10,000,000"), ("target_ms=soon", "must be a number"), ("price_usd.abacus=5", "devices are"),
     ("efficiency=7", "efficiency must lie"), ("pool=attic", "no machine in a pool")],
)  # fmt: skip
def test_nonsense_is_said_and_the_rest_is_shown(company: Planned, query: str, says: str) -> None:
    answer = client_of(company, "alice", "admin").get(f"/capacity/?{query}")
    assert answer.status_code == 200 and says in answer.content.decode()
    assert answer.context["panel"]["assumptions"].rows


def test_without_traffic_the_pages_say_so(company: Planned) -> None:
    alice = client_of(company, "alice", "admin")
    before = (company.start - timedelta(days=30)).date().isoformat()
    span = f"period=custom&from={before}&to={before}"
    assert "Nothing to queue" in alice.get(f"/capacity/?{span}").content.decode()
    assert "No whole day" in alice.get(f"/break-even/?{span}").content.decode()


def test_twenty_thousand_answers_are_planned_in_under_300_ms(company: Planned, record_property: Any) -> None:
    add_answers(company, "customer-service", "private", 720)
    add_answers(company, "legal", "private", 760)
    alice = client_of(company, "alice", "admin")
    for page in ("/break-even/", "/capacity/"):
        assert alice.get(page).status_code == 200
        taken = cpu_seconds(partial(alice.get, page), rounds=6)
        record_property(page, taken)
        assert taken < 0.3, (page, taken)
