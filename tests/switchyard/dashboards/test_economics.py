"""The economics page and its report."""

from __future__ import annotations

import pytest
from django.test import Client

from switchyard.tenancy.services import create_token
from tests import factories as make
from tests.switchyard.dashboards.company import Company, make_company

pytestmark = pytest.mark.django_db


@pytest.fixture
def client() -> Client:
    company: Company = make_company()
    client = Client()
    client.force_login(make.make_user("alice", company.organisation, "finance"))
    return client


def test_every_assumption_stands_on_the_page_and_can_be_changed(client: Client) -> None:
    from costs.economics.assumptions import DEFAULTS

    text = client.get("/economics/").content.decode()
    assert all(f'name="{name}"' in text for name in DEFAULTS)
    before = client.get("/economics/?csv=plans").content.decode()
    after = client.get("/economics/?csv=plans&gpu_usd_per_hour=5").content.decode()
    assert before.splitlines()[0] == after.splitlines()[0] and before != after


def test_nonsense_shows_the_defaults_and_says_so(client: Client) -> None:
    answer = client.get("/economics/?gpu_usd_per_hour=cheap")
    assert answer.status_code == 200
    assert "can&#x27;t be; showing the defaults" in answer.content.decode()


def test_the_report_says_the_ratios_with_their_intervals_and_refuses_what_is_no_number() -> None:
    company = make_company()
    _, token = create_token(user=make.make_user("bea", company.organisation, "finance"), name="test")
    api = Client(headers={"authorization": f"Bearer {token}"})
    totals = api.get("/api/v1/reports/economics").json()["totals"]
    ratio = totals["share_of_cheapest_single_side"]
    assert ratio["low"] <= ratio["value"] <= ratio["high"]
    assert api.get("/api/v1/reports/economics?gpu_usd_per_hour=cheap").status_code == 400
    assert api.get("/api/v1/reports/economics?gpu_usd_per_hour=-1").status_code == 400
    unknown = api.get("/api/v1/reports/economics?gpu_usd=1")
    assert unknown.status_code == 400 and unknown.json()["errors"][0]["path"] == "gpu_usd"
    zone = api.get("/api/v1/reports/spend?tz=Mars/X")
    assert zone.status_code == 400 and zone.json()["errors"][0]["path"] == "tz"
