"""The page of lifetime cost: what it says, who may change what, and nothing of a neighbour."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from django.test import Client

from costs.charts import lifetime as charts
from costs.labels import Labelled, charge
from costs.lifetime import Lifetime, lifetime_row
from costs.models import BusinessEvent, LedgerEntry, WorkloadPlan
from routing.models import Interception
from switchyard.audit.models import AuditEvent
from switchyard.core.clock import now
from switchyard.dashboards.views.lifetime import said_once
from tests import factories as make
from tests.switchyard.dashboards.company import Company, make_company

pytestmark = pytest.mark.django_db
PLAN = {
    "workload": "support-intent", "model_life_months": "6", "data_usd": "600", "people_usd_per_month": "50",
    "latency_target_ms": "300", "event_name": "ticket-resolved", "event_value_usd": "1.25", "source": "assumption: a guess",
}  # fmt: skip


@pytest.fixture
def company() -> Company:
    company = make_company()
    for slug, lob in company.lobs.items():
        lob.label_price_nusd = 12_000_000_000
        lob.save()
        workload = company.workloads[slug].name
        WorkloadPlan.objects.create(
            organisation=company.organisation, lob=lob, workload=workload, people_usd_per_month="100",
            source=f"assumption of {slug}",
        )  # fmt: skip
        BusinessEvent.objects.create(
            organisation_id=company.organisation.pk, event_id=f"{slug}-1", at=now(), lob=slug, workload=workload,
            name=f"{slug}-done", count=40,
        )  # fmt: skip
        charge([Labelled(f"label:{slug}", company.organisation.pk, slug, workload, "label", now())])
    return company


def client_of(name: str, company: Company, role: str, *lobs: str) -> Client:
    user = make.make_user(name, company.organisation, role, tuple(company.lobs[slug] for slug in lobs))
    client = Client()
    client.force_login(user)
    return client


def table(client: Client, panel: str) -> list[dict[str, str]]:
    answer = client.get(f"/lifetime/?csv={panel}")
    assert answer.status_code == 200
    return list(csv.DictReader(io.StringIO(answer.content.decode())))


def test_the_page_says_what_a_thousand_answers_cost_part_by_part(company: Company):
    client = client_of("alice", company, "admin")
    text = client.get("/lifetime/").content.decode()
    for words in (
        "What 1,000 answers cost over a model",
        "data and labels",
        "assumption of legal",
        "customer-service-done",
    ):
        assert words in text, words
    row = next(r for r in table(client, "lifetime-cost") if r["Workload"] == "contract-clauses")
    shares = [float(row[f"{part}, share"]) for part in ("Data and labels", "Training", "Inference", "People")]
    assert sum(shares) == pytest.approx(1) and shares[0] > 0 and shares[3] > 0
    assert float(row["Whole cost of the period (USD)"]) == pytest.approx(
        float(row["Cost of 1,000 answers (USD)"]) * int(row["Answers"]) / 1000, rel=1e-6
    )


def test_a_neighbour_sees_nothing_of_it(company: Company):
    client = client_of("bob", company, "viewer", "customer-service")
    text = client.get("/lifetime/").content.decode()
    for words in (
        "contract-clauses",
        "legal-done",
        "assumption of legal",
        "<option>legal",
        "Plan a workload",
    ):
        assert words not in text, words
    for panel in ("lifetime-cost", "unit-economics", "workload-plans", "label-prices"):
        assert "legal" not in str(table(client, panel)) and "customer-service" in str(table(client, panel)), (
            panel
        )
    assert client.get("/lifetime/?lob=legal").status_code == 404


def test_finance_keeps_a_plan_and_meets_it_in_the_form(company: Company):
    client = client_of("erin", company, "finance", "customer-service")
    answer = client.post("/lifetime/plan/", PLAN, follow=True)
    assert "The plan of support-intent is kept." in answer.content.decode()
    plan = WorkloadPlan.objects.get(workload="support-intent")
    assert (plan.model_life_months, str(plan.data_usd), plan.latency_target_ms) == (6, "600.00", 300)
    assert (str(plan.event_value_usd), plan.source) == ("1.250000", "assumption: a guess")
    assert 'value="600.00"' in answer.content.decode() and AuditEvent.objects.filter(actor="erin").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"model_life_months": "0"},
        {"data_usd": "-5"},
        {"people_usd_per_month": "a lot"},
        {"event_name": "Two Words"},
    ],
)
def test_a_plan_that_cannot_be_is_refused_in_words(company: Company, wrong: dict[str, str]):
    client = client_of("erin", company, "finance")
    answer = client.post("/lifetime/plan/", PLAN | wrong, follow=True)
    assert f"The plan of support-intent can&#x27;t be: {next(iter(wrong))}" in answer.content.decode()
    assert WorkloadPlan.objects.get(workload="support-intent").model_life_months == 12


def test_the_price_of_a_label_is_set_in_dollars(company: Company):
    client = client_of("erin", company, "finance", "legal")
    client.post("/lifetime/label-price/", {"lob": "legal", "label_usd": "15.25"})
    company.lobs["legal"].refresh_from_db()
    assert company.lobs["legal"].label_price_nusd == 15_250_000_000
    for wrong in ("-1", "free", "", "1e12"):
        client.post("/lifetime/label-price/", {"lob": "legal", "label_usd": wrong})
    company.lobs["legal"].refresh_from_db()
    assert company.lobs["legal"].label_price_nusd == 15_250_000_000


def test_forms_are_for_finance_in_its_own_lines_of_business(company: Company):
    price = {"lob": "customer-service", "label_usd": "1"}
    for name, role, lobs, status in (
        ("vera", "viewer", (), 403), ("otto", "operator", (), 403), ("lena", "finance", ("legal",), 404),
    ):  # fmt: skip
        client = client_of(name, company, role, *lobs)
        assert client.post("/lifetime/plan/", PLAN).status_code == status, name
        assert client.post("/lifetime/label-price/", price).status_code == status, name
    erin = client_of("erin", company, "finance")
    assert erin.post("/lifetime/plan/", PLAN | {"workload": "no\x00body"}).status_code == 404
    assert erin.get("/lifetime/plan/").status_code == 405


def test_a_review_without_room_in_the_labelling_budget_is_refused_on_the_page(company: Company):
    make.make_budget(company.organisation, "lob:legal", "13", covers="labels")
    row = Interception.objects.get(lob="legal")
    client = client_of("rita", company, "risk")
    answer = client.post(f"/review/{row.pk}/", {"state": "confirmed"}, follow=True)
    assert "has no room for these labels" in answer.content.decode()
    row.refresh_from_db()
    assert row.state == "open"
    assert not LedgerEntry.objects.filter(purpose="review").exists()


def test_the_admin_makes_a_plan_and_refuses_what_cannot_be(company: Company):
    WorkloadPlan.objects.all().delete()
    user = make.make_user("root", company.organisation, "admin", is_staff=True, is_superuser=True)
    client = Client()
    client.force_login(user)
    address = "/admin/costs/workloadplan/add/"
    for wrong in ({"workload": "nobody"}, {"model_life_months": "0"}, {"data_usd": "-1"}):
        assert client.post(address, PLAN | wrong).status_code == 200
    assert not WorkloadPlan.objects.exists()
    assert client.post(address, PLAN).status_code == 302
    assert WorkloadPlan.objects.get().lob.slug == "customer-service"
    assert b"has a plan already" in client.post(address, PLAN).content
    assert client.get("/admin/costs/businessevent/").status_code == 200
    lob = company.lobs["legal"]
    assert b'value="12"' in client.get(f"/admin/tenancy/lineofbusiness/{lob.pk}/change/").content


# --- the bar -------------------------------------------------------------------------------------------------------


def row(workload: str, **parts: int) -> dict[str, Any]:
    return {"workload": workload} | lifetime_row(Lifetime(**parts))


def test_bars_are_dollars_while_they_can_be_compared_and_shares_when_they_cannot():
    near = [
        row("a", answers=1_000, booked_labels_nusd=3 * 10**9, people_nusd=10**9),
        row("b", answers=1_000, people_nusd=2 * 10**9),
        row("idle", people_nusd=5),
    ]
    figure = charts.lifetime_cost(near)
    assert [trace["name"] for trace in figure["data"]] == [
        "data and labels",
        "training",
        "inference",
        "people",
    ]
    assert figure["data"][0]["y"] == ["b · $2.00", "a · $4.00"], (
        "dearest on top; without answers there is no bar"
    )
    assert [trace["x"] for trace in figure["data"]] == [[0.0, 3.0], [0.0, 0.0], [0.0, 0.0], [2.0, 1.0]]
    assert figure["data"][0]["text"] == ["", "75%"] and "US dollars" in str(figure["layout"])
    far = [*near, row("c", answers=1_000, metered_nusd=2_000_000)]
    figure = charts.lifetime_cost(far)
    assert figure["data"][0]["y"][0] == "c · $0.0020"
    assert [sum(trace["x"][n] for trace in figure["data"]) for n in range(3)] == [1.0, 1.0, 1.0]


def test_what_all_plans_say_is_said_once():
    told = ["a tenth of a person; an assumption", "a fifth of a person; an assumption"]
    assert said_once(told) == ("an assumption", ["a tenth of a person", "a fifth of a person"])
    assert said_once(told[:1]) == ("", told[:1]) and said_once([]) == ("", [])


def test_charts_of_nothing_are_figures_too():
    assert charts.lifetime_cost([])["data"][0]["x"] == []
    assert charts.unit_economics([])["data"][0]["x"] == []
