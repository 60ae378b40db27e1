"""The ledger's page: filters, the way to the request, months that are closed and reopened."""

from __future__ import annotations

import csv
from datetime import timedelta
from io import StringIO

import pytest

from costs import rollups
from costs.metering import record_events
from costs.models import FiscalPeriod
from modelhub.tasks import run_job
from routing.models import DecisionRecord
from switchyard.core.clock import now
from switchyard.jobs.models import Job
from tests.costs.events import make_attempt, make_event, private_attempt
from tests.switchyard.dashboards.company import Company, make_company
from tests.switchyard.dashboards.test_pages import client_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def company(valkey, settings, tmp_path) -> Company:
    settings.REDIS_URL, settings.HOME = valkey.url, tmp_path
    return make_company(days=1)


def tell(company: Company, count: int, **changes):
    at = now() - timedelta(hours=30)
    events = [
        make_event(
            make_attempt(cost_nusd=1_000 + i),
            at=at + timedelta(minutes=i),
            organisation_id=company.organisation.pk,
            **changes,
        )
        for i in range(count)
    ]
    record_events(events)
    return events


def amounts(client, address: str) -> list[int]:
    return [row.amount_nusd for row in client.get(address).context["rows"]]


def test_pages_follow_each_other_without_a_gap(company: Company) -> None:
    tell(company, 230, lob="legal", key_id="k-paged")
    client, seen = client_of("alice", company, "admin"), []
    address = "/ledger/?lob=legal&account=payable:ext-mini"
    context = client.get(address).context
    while True:
        seen += [row.amount_nusd for row in context["rows"] if row.key_id == "k-paged"]
        if not context["next"]:
            break
        context = client.get(
            address, {"lob": "legal", "account": "payable:ext-mini", "before": context["next"]}
        ).context
    assert seen == [1_000 + i for i in reversed(range(230))]


def test_an_account_and_a_purpose_are_found_among_all_others(company: Company) -> None:
    tell(company, 3)
    at = now() - timedelta(hours=100)
    record_events(
        [
            make_event(
                private_attempt(cost_nusd=5, node="rare"),
                at=at,
                organisation_id=company.organisation.pk,
                purpose="bias_audit",
            )
        ]
    )
    rollups.refresh(at, at)
    client = client_of("alice", company, "admin")
    assert (
        amounts(client, "/ledger/?account=absorbed:rare")
        == amounts(client, "/ledger/?purpose=bias_audit")
        == [5]
    )
    assert amounts(client, "/ledger/?account=absorbed:rare&purpose=label") == []
    rows = client.get("/ledger/?account=absorbed:rare&csv=ledger").content.decode().splitlines()
    assert len(rows) == 2 and "absorbed:rare" in rows[1]


def test_a_transfer_leads_to_why_it_was_made(company: Company) -> None:
    (event,) = tell(company, 1)
    known = DecisionRecord.objects.filter(lob="customer-service").first()
    DecisionRecord.objects.filter(pk=known.pk).update(request_id=event["request_id"])
    page = client_of("alice", company, "admin").get("/ledger/?lob=customer-service").content.decode()
    request_id = event["request_id"]
    assert f'<a href="/decisions/{known.pk}/" title="{request_id}">…{request_id[-8:]}</a>' in page


def test_a_cursor_that_was_made_up_does_not_exist(company: Company) -> None:
    client = client_of("alice", company, "admin")
    for mark in (
        "x",
        "2026-01-01",
        "2026-01-01T00:00:00,5",
        "2026-01-01T00:00:00+00:00,-1",
        f"2026-01-01T00:00:00+00:00,{2**70}",
    ):
        assert client.get("/ledger/", {"before": mark}).status_code == 404, mark
    assert client.get("/ledger/", {"account": "a\x00b"}).status_code == 404


def test_finance_closes_a_month_and_reopens_it_with_a_reason(company: Company) -> None:
    month = (now().replace(day=1) - timedelta(days=1)).strftime("%Y-%m")
    client = client_of("fiona", company, "finance")
    answer = client.post(f"/ledger/periods/{month}/close/", follow=True)
    assert f"{month} is closed." in answer.content.decode()
    period = FiscalPeriod.objects.get(state="closed")
    assert f"{period.start:%Y-%m}" == month
    answer = client.post(f"/ledger/periods/{month}/reopen/", {"reason": " "}, follow=True)
    assert "Say why" in answer.content.decode() and FiscalPeriod.objects.get(pk=period.pk).state == "closed"
    client.post(f"/ledger/periods/{month}/reopen/", {"reason": "credit note"})
    assert FiscalPeriod.objects.get(pk=period.pk).state == "open"
    assert (
        "isn&#x27;t over"
        in client.post(f"/ledger/periods/{now():%Y-%m}/close/", follow=True).content.decode()
    )
    assert client.post("/ledger/periods/soon/close/").status_code == 404
    assert client.post(f"/ledger/periods/{month}/burn/").status_code == 404


def test_nobody_else_closes_a_month(company: Company) -> None:
    path = f"/ledger/periods/{(now().replace(day=1) - timedelta(days=1)):%Y-%m}/close/"
    for name, role, *lobs in (("vera", "viewer"), ("fred", "finance", "legal"), ("olga", "operator")):
        client = client_of(name, company, role, *lobs)
        assert client.post(path).status_code == 403, name
        assert "/ledger/periods/" not in client.get("/ledger/").content.decode()
    assert not FiscalPeriod.objects.filter(state="closed").exists()


def test_the_books_are_verified_on_the_page_and_it_says_that_they_hold(company: Company) -> None:
    tell(company, 3, lob="legal")
    fiona = client_of("fiona", company, "finance")
    assert "Nobody has verified the books yet" in fiona.get("/ledger/").content.decode()
    assert "being verified" in fiona.post("/ledger/verify/", follow=True).content.decode()
    job = Job.objects.get(kind="verify_books")
    assert "not finished yet" in fiona.get("/ledger/").content.decode()
    run_job(job.pk)
    text = fiona.get("/ledger/").content.decode()
    job.refresh_from_db()
    expected = "The books hold." if job.result["holds"] else "The books do not hold"
    assert f"{job.finished_at:%Y-%m-%d %H:%M} UTC: {expected}" in text
    rows = list(csv.DictReader(StringIO(fiona.get("/ledger/?csv=book-checks").content.decode())))
    assert [row["Finding"] for row in rows] == (job.result["findings"] or ["The books hold."])


def test_only_those_of_the_whole_organisation_verify_and_see_it(company: Company) -> None:
    client_of("fiona", company, "finance").post("/ledger/verify/")
    bob = client_of("bob", company, "finance", "customer-service")
    assert bob.post("/ledger/verify/").status_code == 403
    assert "book-checks" not in bob.get("/ledger/").content.decode()
    assert bob.get("/ledger/?csv=book-checks").status_code == 404
    vera = client_of("vera", company, "viewer")
    assert vera.post("/ledger/verify/").status_code == 403
    assert "/ledger/verify/" not in vera.get("/ledger/").content.decode()
    assert Job.objects.filter(kind="verify_books").count() == 1
