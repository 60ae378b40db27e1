"""Every page: for those who may, for those who aren't logged in, and from the neighbour's side."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from costs.models import SpendDay, SpendHour
from tests import factories as make
from tests.switchyard.dashboards.company import Company, make_company

pytestmark = pytest.mark.django_db

PAGES = [
    "/", "/spend/", "/spend/?group=model", "/spend/?group=token_class&tz=Asia/Kolkata", "/spend/requests/",
    "/savings/", "/forecast/", "/budgets/", "/budgets/new/", "/reconciliation/", "/statements/",
    "/ledger/", "/prices/", "/accuracy/", "/review/", "/decisions/",
    "/decisions/dec_customer-service_0003/", "/policies/", "/policies/new/?scope=customer-service", "/policies/try/", "/models/",
    "/lifetime/", "/jobs/", "/jobs/job_customer-service/", "/alerts/", "/machines/", "/audit/?verify=1",
    "/break-even/", "/capacity/", "/experts/", "/experts/?devices=3&redundant=x", "/devices/",
    "/upstreams/", "/upstreams/catalogue/", "/upstreams/catalogue/openai/", "/upstreams/catalogue/vllm/", "/batches/",
]  # fmt: skip
# Pages and the words that belong to legal alone: its work, its rows.
LEGAL_WORDS = (
    "contract-clauses",
    "dec_legal",
    "req_legal",
    "job_legal",
    "expense:legal",
    "lob:legal",
    "cpu legal",
    "ft-lega",
)


@pytest.fixture
def company() -> Company:
    return make_company()


def client_of(name: str, company: Company, role: str, *lobs: str) -> Client:
    user = make.make_user(name, company.organisation, role, tuple(company.lobs[slug] for slug in lobs))
    client = Client()
    client.force_login(user)
    return client


def test_an_administrator_sees_every_page(company: Company) -> None:
    client = client_of("alice", company, "admin")
    assert {page: client.get(page).status_code for page in PAGES} == dict.fromkeys(PAGES, 200)


def test_without_login_every_page_sends_to_the_login(company: Company) -> None:
    for page in PAGES:
        answer = Client().get(page)
        assert answer.status_code == 302, page
        assert answer["Location"].startswith("/login/?next="), page


def test_nothing_of_a_neighbour_is_visible_on_any_page(company: Company) -> None:
    client = client_of("bob", company, "viewer", "customer-service")
    for page in PAGES:
        answer = client.get(page)
        text = answer.content.decode()
        assert answer.status_code == (403 if "/new/" in page else 200), page
        assert [word for word in LEGAL_WORDS if word in text] == [], page
        assert '<option value="legal"' not in text, page


def test_a_neighbours_address_does_not_exist(company: Company) -> None:
    client = client_of("bob", company, "policy_author", "customer-service")
    pages = [
        "/?lob=legal",
        "/decisions/dec_legal_0001/",
        "/jobs/job_legal/",
        "/policies/new/?scope=legal",
        "/ledger/?lob=legal",
    ]
    assert {page: client.get(page).status_code for page in pages} == dict.fromkeys(pages, 404)


def test_somebody_without_a_role_sees_no_page(company: Company) -> None:
    client = Client()
    client.force_login(make.make_user("charlie"))
    for page in PAGES:
        answer = client.get(page)
        assert answer.status_code == 403, page
        assert "support-intent" not in answer.content.decode(), page


def test_an_empty_installation_shows_the_first_steps_to_its_administrator() -> None:
    client = Client()
    client.force_login(
        make.make_user("alice", make.make_organisation(), "admin", is_superuser=True, is_staff=True)
    )
    answer = client.get("/")
    assert answer.status_code == 200
    assert b"six steps to the first answer" in answer.content
    assert b"/admin/tenancy/lineofbusiness/add/" in answer.content


def test_a_page_asks_the_database_a_bounded_number_of_times(company: Company) -> None:
    client = client_of("alice", company, "admin")
    for page in PAGES:
        with CaptureQueriesContext(connection) as asked:
            client.get(page)
        assert len(asked) <= 32, (page, len(asked))


def test_more_rows_do_not_mean_more_queries(company: Company, django_assert_max_num_queries: Any) -> None:
    client = client_of("alice", company, "admin")
    with django_assert_max_num_queries(12):
        answer = client.get("/decisions/")
    assert answer.content.count(b">explain<") == 50


def test_the_first_figure_is_the_cost_as_it_was_and_what_one_side_would_have_cost(company: Company) -> None:
    answer = client_of("alice", company, "admin").get("/")
    totals = answer.context["totals"]
    customer = sum((90_000 + 900 * d) + (40_000 + 900 * d) for d in range(14))
    legal = sum(40_000 + 900 * d for d in range(14))
    assert totals["actual_nusd"] == customer + legal
    all_external = sum((90_000 + 900 * d) + 2 * (40_000 + 900 * d) for d in range(14)) + legal
    all_private = sum(2 * (90_000 + 900 * d) + (40_000 + 900 * d) for d in range(14)) + legal
    assert (totals["all_external_nusd"], totals["all_private_nusd"]) == (all_external, all_private)
    assert totals["saving_nusd"] == max(all_external, all_private) - totals["actual_nusd"]
    text = answer.content.decode()
    assert text.index("As it was") < text.index("Cost by line of business")
    assert "contract-clauses</strong>" in text, "work that may not leave is named"
    assert "Demonstration data:" in text


def test_work_without_a_workload_has_a_name_in_the_first_figure(company: Company) -> None:
    for model in (SpendHour, SpendDay):
        model.objects.filter(workload="contract-clauses").update(workload="")
    text = client_of("alice", company, "admin").get("/").content.decode()
    assert "work without a workload</strong>" in text


def test_a_panel_comes_as_csv_with_exact_dollars(company: Company) -> None:
    answer = client_of("alice", company, "admin").get("/?csv=cost-by-lob")
    assert answer["Content-Type"].startswith("text/csv")
    lines = answer.content.decode().splitlines()
    assert lines[0] == "Line of business,Side,Cost (USD),Labels (USD),Requests,Answers"
    expected = sum(90_000 + 900 * d for d in range(14))
    assert any(line.startswith(f"customer-service,external,0.00{expected // 10_000}") for line in lines), (
        lines
    )


def test_an_unknown_csv_does_not_exist(company: Company) -> None:
    assert client_of("alice", company, "admin").get("/?csv=nothing").status_code == 404


def test_decisions_page_on_by_key_without_repeating_or_missing_one(company: Company) -> None:
    client = client_of("alice", company, "admin")
    first = client.get("/decisions/")
    second = client.get("/decisions/", {"before": first.context["next"]})
    third = client.get("/decisions/", {"before": second.context["next"]})
    seen = [row.pk for answer in (first, second, third) for row in answer.context["rows"]]
    assert len(seen) == len(set(seen)) == 120
    assert third.context["next"] == ""


def test_decisions_are_filtered_by_side_and_found_by_request_id(company: Company) -> None:
    client = client_of("alice", company, "admin")
    external = client.get("/decisions/", {"side": "external"}).context["rows"]
    assert {row.side for row in external} == {"external"} and len(external) == 20
    found = client.get("/decisions/", {"find": "req_legal_0007"}).context["rows"]
    assert [row.pk for row in found] == ["dec_legal_0007"]


def test_explaining_a_request_tells_rules_candidates_attempts_and_the_other_side(company: Company) -> None:
    text = client_of("alice", company, "admin").get("/decisions/dec_legal_0001/").content.decode()
    for words in ("edge at the lowest cost", "invariant: restricted data stays home", "price:1", "not allowed or nobody there",
                  "data.entities", "org@1+legal@1", "answer for legal"):  # fmt: skip
        assert words in text, words


def test_periods_come_from_the_address_and_nonsense_is_said(company: Company) -> None:
    client = client_of("alice", company, "admin")
    assert client.get("/?period=24h").context["ask"].period.bucket == "hour"
    custom = client.get("/?period=custom&from=2026-01-01&to=2026-01-31").context["ask"].period
    assert (custom.end - custom.start).days == 31
    assert "YYYY-MM-DD" in client.get("/?period=custom&from=yesterday&to=").content.decode()


def test_the_chain_of_the_audit_log_is_verified_on_the_page(company: Company) -> None:
    from switchyard.audit.models import AuditEvent

    client = client_of("alice", company, "admin")
    assert b"The chain holds" in client.get("/audit/?verify=1").content
    AuditEvent.objects.filter(sequence=2).update(actor="mallory")
    assert b"The chain is broken after 1 good rows" in client.get("/audit/?verify=1").content


def test_every_page_forbids_inline_scripts_and_carries_none(company: Company) -> None:
    answer = client_of("alice", company, "admin").get("/")
    assert "script-src 'self'" in answer["Content-Security-Policy"]
    text = answer.content.decode()
    assert text.count("<script") == text.count("<script src=") + text.count('type="application/json"')
