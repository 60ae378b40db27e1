"""The page Bias: audits and gaps, monitors, interceptions, evidence to take along; and what a neighbour sees of it: nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from modelhub.models import BiasAudit
from modelhub.services import evidence
from routing.models import BiasMonitor, Interception
from switchyard.core.clock import now
from tests import factories as make
from tests.switchyard.dashboards.company import Company, make_company

pytestmark = pytest.mark.django_db


def interval(value: float, low: float, high: float) -> dict[str, float]:
    return {"value": value, "low": low, "high": high}


def report(name: str) -> dict[str, Any]:
    group = {
        "group": f"names: gender {name}", "n": 300, "teacher": interval(0.95, 0.9, 0.97), "student": interval(0.86, 0.8, 0.9),
        "excess_gap": interval(0.083, 0.061, 0.1), "p_holm": 0.001, "verdict": "fail", "n_needed": None, "decides": True,
    }  # fmt: skip
    small = {
        "group": "names: religion",
        "n": None,
        "note": "fewer than 20",
        "verdict": "not_enough_data",
        "n_needed": 20,
    }
    axis = {
        "axis": "gender", "language": "en", "n": 84, "teacher": {"rate": interval(0.01, 0, 0.05)},
        "student": {"rate": interval(0.2, 0.1, 0.3)}, "only_student": 16, "only_teacher": 0, "verdict": "fail",
    }  # fmt: skip
    swaps = {
        "axes": [axis],
        "student": {"verdict": "fail"},
        "emergence": {"verdict": "fail", "only_student": 16, "only_teacher": 0},
    }
    return {
        "n": 1200, "limit": 0.05, "groups": [group, small], "counterfactual": swaps,
        "data": {"source": "validation", "digest": "d" * 64},
        "models": {"teacher": {"deployment": "private-sparse", "model": "m"},
                   "student": {"deployment": "ext-mini", "model": "<script>x</script>", "version": "c-2", "digest": "e" * 64}},
        "suites": {"BBQ": {"verdict": "not_run", "why": "it asks a chat model", "needs": "chat", "licence": "CC BY 4.0"}},
    }  # fmt: skip


@pytest.fixture
def company() -> Company:
    company = make_company()
    BiasAudit.objects.all().delete()
    Interception.objects.all().delete()
    for slug, workload in company.workloads.items():
        BiasAudit.objects.create(
            workload=workload,
            teacher="private-sparse",
            student="ext-mini",
            verdict="fail",
            report=report(slug),
        )
        for n, axis in ((400, "gender"), (12, "religion")):
            BiasMonitor.objects.create(
                organisation_id=company.organisation.pk, lob=slug, workload=workload.name, deployment="ext-mini", model="v2",
                signal="flip", axis=axis, n=n, rate=0.125, e_value=31.0, alarmed_at=now(),
            )  # fmt: skip
        for i in range(30):
            Interception.objects.create(
                decision_id=f"dec_{slug}_b{i}", organisation_id=company.organisation.pk, lob=slug, workload=workload.name,
                at=now(), kind="stereotype", score=0.9, threshold=0.8, mode="enforce", withheld=True,
                state="released" if i < 6 else "confirmed", named=["gender"] if i < 25 else ["age"],
            )  # fmt: skip
    return company


def client_of(name: str, company: Company, role: str, *lobs: str) -> Client:
    client = Client()
    client.force_login(
        make.make_user(name, company.organisation, role, tuple(company.lobs[slug] for slug in lobs))
    )
    return client


def test_a_risk_officer_sees_verdicts_gaps_monitors_and_the_guards_own_errors(company: Company) -> None:
    page = client_of("rita", company, "risk").get("/bias/").content.decode()
    for words in (
        "names: gender",
        "8.3 %",
        "6.1 %",
        "31",
        "stands out",
        "stereotype",
        "BBQ",
        "Evidence as JSON",
    ):
        assert words in page, words
    assert "24.0 %" in page  # 6 of 25 that named gender were overturned
    assert "<script>x" not in page


def test_cells_under_twenty_are_told_nowhere(company: Company) -> None:
    client = client_of("rita", company, "risk")
    rows = client.get("/bias/?csv=monitors&lob=legal").content.decode().splitlines()
    religion = next(row for row in rows if "religion" in row).split(",")
    assert religion[5:8] == ["", "", ""]
    age = next(
        row
        for row in client.get("/bias/?csv=interceptions&lob=legal").content.decode().splitlines()
        if ",age," in row
    )
    assert age.split(",")[3:] == ["", "", "", "0"]
    false = client.get("/bias/?csv=false-blocks&lob=legal").content.decode().splitlines()
    assert [row for row in false if row.startswith("age")] == ["age,,,,"]


def test_the_evidence_is_signed_whole_and_readable(company: Company) -> None:
    client = client_of("rita", company, "risk")
    audit = BiasAudit.objects.get(workload=company.workloads["legal"])
    answer = client.get(f"/bias/evidence/{audit.pk}.json")
    assert "attachment" in answer["Content-Disposition"]
    pack = json.loads(answer.content)
    assert evidence.holds(pack)
    assert (pack["verdict"], pack["limit"], pack["n"], pack["lob"]) == ("fail", 0.05, 1200, "legal")
    assert pack["models"]["student"]["digest"] == "e" * 64 and pack["data"]["digest"] == "d" * 64
    assert pack["groups"][0]["excess_gap"]["low"] == 0.061 and len(pack["known_limits"]) >= 4
    assert next(row for row in pack["interceptions"] if row["axis"] == "age")["found"] is None
    pack["verdict"] = "pass"
    assert not evidence.holds(pack)
    html = client.get(f"/bias/evidence/{audit.pk}.html").content.decode()
    assert "&lt;script&gt;" in html and "<script>" not in html and pack["signature"]["algorithm"] in html


def test_a_neighbour_finds_nothing_of_it(company: Company) -> None:
    bob = client_of("bob", company, "risk", "customer-service")
    page = bob.get("/bias/").content.decode()
    assert "contract-clauses" not in page and "gender legal" not in page
    foreign = BiasAudit.objects.get(workload=company.workloads["legal"])
    for address in (
        f"/bias/?audit={foreign.pk}",
        f"/bias/evidence/{foreign.pk}.json",
        f"/bias/evidence/{foreign.pk}.html",
        "/bias/?lob=legal",
    ):
        assert bob.get(address).status_code == 404, address
    row = Interception.objects.filter(lob="legal").first()
    assert bob.post(f"/review/{row.pk}/appeal/").status_code == 404
    row.refresh_from_db()
    assert row.appealed_at is None
    assert Client().get("/bias/").status_code == 302


def test_an_appeal_is_one_click_and_stands_in_the_review_list(company: Company) -> None:
    bob = client_of("bob", company, "viewer", "customer-service")
    row = Interception.objects.filter(lob="customer-service").first()
    assert bob.post(f"/review/{row.pk}/appeal/").status_code == 302
    row.refresh_from_db()
    first = row.appealed_at
    assert row.appealed_by == "bob" and first is not None and row.state in ("confirmed", "released")
    bob.post(f"/review/{row.pk}/appeal/")
    row.refresh_from_db()
    assert row.appealed_at == first
    assert "bob" in client_of("rita", company, "risk").get("/review/").content.decode()


def test_nonsense_in_the_address_is_404_and_an_empty_company_has_a_page(company: Company) -> None:
    client = client_of("rita", company, "risk")
    assert client.get("/bias/?audit=x").status_code == 404
    assert client.get("/bias/?csv=nothing").status_code == 404
    BiasAudit.objects.all().delete()
    assert "No audit has run yet" in client.get("/bias/").content.decode()
