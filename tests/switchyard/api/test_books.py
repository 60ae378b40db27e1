"""The ledger and fiscal periods over REST: who may read, who may close, and what the neighbour sees of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import call_command

from costs.metering import record_events
from costs.models import AccountHour, FiscalPeriod, LedgerEntry
from modelhub.tasks import run_job
from switchyard.core.clock import now
from tests.costs.events import make_attempt, make_event, private_attempt
from tests.switchyard.api.company import Company

pytestmark = pytest.mark.django_db


def month_ago() -> datetime:
    return now().replace(day=1, hour=0, minute=0, second=0, microsecond=0) - timedelta(days=3)


@pytest.fixture
def booked(company: Company, valkey, settings, tmp_path) -> Company:
    settings.REDIS_URL, settings.HOME = valkey.url, tmp_path
    pk = company.organisation.pk
    record_events(
        [
            make_event(
                make_attempt(cost_nusd=1_000), at=month_ago(), organisation_id=pk, lob="customer-service"
            ),
            make_event(
                private_attempt(cost_nusd=300),
                at=month_ago(),
                organisation_id=pk,
                lob="legal",
                purpose="judge",
            ),
            make_event(make_attempt(cost_nusd=7), at=month_ago(), organisation_id=pk + 1),
        ]
    )
    return company


def test_the_ledger_is_narrowed_by_account_and_purpose(booked: Company):
    def amounts(**query):
        return [row["amount_usd"] for row in booked.alice.get("ledger", **query)["results"]]

    assert amounts() == ["0.0000003", "0.000001"]
    assert amounts(account="payable:ext-mini") == ["0.000001"]
    assert (
        amounts(account="expense:lob:legal")
        == amounts(purpose="judge")
        == amounts(lob="legal")
        == ["0.0000003"]
    )
    assert amounts(account="payable:ext-mini", purpose="judge") == amounts(account="a\x00b") == []


def test_a_neighbour_sees_neither_transfers_nor_sums(booked: Company):
    assert [row["lob"] for row in booked.bob.get("ledger")["results"]] == ["customer-service"]
    assert booked.bob.get("ledger", account="expense:lob:legal")["results"] == []
    entry = LedgerEntry.objects.get(lob="legal")
    booked.bob.get(f"ledger/{entry.pk}", expect=404)
    accounts = {row["key"] for row in booked.bob.get("reports/trial-balance")["rows"]}
    assert accounts <= {"expense:lob:customer-service", "payable:ext-mini"}
    periods = booked.bob.get("fiscal-periods")["results"]
    assert {(p["entries"], p["total_usd"]) for p in periods} == {(None, None)}
    booked.charlie.get("fiscal-periods", expect=403)


def test_finance_of_the_whole_organisation_closes_and_reopens_a_month(booked: Company):
    fiona = booked.person("fiona", "finance")
    month = f"{month_ago():%Y-%m}"
    assert [p["state"] for p in fiona.get("fiscal-periods")["results"]] == ["open", "open"]
    closed = fiona.post(f"fiscal-periods/{month}/close", {}, expect=200)
    assert (closed["month"], closed["state"], closed["entries"], closed["total_usd"]) == (
        month,
        "closed",
        2,
        "0.0000013",
    )
    assert closed["changed_by"] == "fiona"
    assert fiona.get(f"fiscal-periods/{closed['id']}") == fiona.get(f"fiscal-periods/{month}/") == closed
    refused = fiona.post(f"fiscal-periods/{month}/reopen", {}, expect=400)
    assert refused["errors"][0]["path"] == "reason"
    reopened = fiona.post(f"fiscal-periods/{month}/reopen/", {"reason": "a credit note"}, expect=200)
    assert (reopened["state"], reopened["reason"]) == ("open", "a credit note")
    assert FiscalPeriod.objects.filter(organisation_id=booked.organisation.pk + 1).count() == 0


def test_what_can_not_be_closed_is_a_conflict_that_says_why(booked: Company):
    answer = booked.alice.post(f"fiscal-periods/{now():%Y-%m}/close", {}, expect=409)
    assert "isn't over" in answer["title"]
    booked.alice.post(f"fiscal-periods/{month_ago():%Y-%m}/reopen", {"reason": "x"}, expect=409)
    booked.alice.post(f"fiscal-periods/{month_ago():%Y-%m}/close", {"month": "x"}, expect=400)
    for unknown in ("2019-01", "2026-13", "999999"):
        booked.alice.post(f"fiscal-periods/{unknown}/close", {}, expect=404)


def test_others_may_not_close(booked: Company):
    path = f"fiscal-periods/{month_ago():%Y-%m}/close"
    booked.bob.post(path, {}, expect=403)
    booked.person("olga", "operator").post(path, {}, expect=403)
    booked.person("fred", "finance", booked.legal).post(path, {}, expect=403)
    booked.charlie.post(path, {}, expect=403)
    assert not FiscalPeriod.objects.filter(state="closed").exists()


def test_a_foreign_organisations_month_does_not_exist(booked: Company):
    theirs = FiscalPeriod.objects.create(
        organisation_id=booked.organisation.pk + 1,
        start=datetime(2026, 1, 1, tzinfo=UTC),
        end=datetime(2026, 2, 1, tzinfo=UTC),
    )
    booked.alice.get(f"fiscal-periods/{theirs.pk}", expect=404)
    booked.alice.post(f"fiscal-periods/{theirs.pk}/close", {}, expect=404)


def test_a_check_of_the_books_is_a_job_whose_findings_are_kept(booked: Company):
    assert booked.alice.get("book-checks")["results"] == []
    started = booked.alice.post("book-checks", expect=202)
    assert booked.alice.post("book-checks", expect=202) == started, "one at a time"
    [waiting] = booked.alice.get("book-checks")["results"]
    assert (waiting["id"], waiting["state"], waiting["findings"]) == (started["job"], "queued", None)
    run_job(started["job"])
    found = booked.alice.get(f"book-checks/{started['job']}")
    assert (found["state"], found["holds"], found["findings"], found["asked_by"]) == (
        "succeeded",
        True,
        [],
        "alice",
    )
    AccountHour.objects.filter(account="expense:lob:legal").update(debit_nusd=1)
    run_job(booked.alice.post("book-checks", expect=202)["job"])
    broken = booked.alice.get("book-checks")["results"][0]
    assert broken["holds"] is False and "The trial balance is" in broken["findings"][0]
    assert booked.alice.get("alerts")["results"][-1]["kind"] == "books"
    assert run_command("verify_books", "--last", "--organisation", booked.organisation.slug) == [
        f"{booked.organisation.slug}: {broken['finished_at'][:16].replace('T', ' ')} UTC: {text}"
        for text in broken["findings"]
    ]


def run_command(*arguments: str) -> list[str]:
    out = StringIO()
    with pytest.raises(SystemExit):
        call_command(*arguments, stdout=out)
    return out.getvalue().splitlines()


def test_checks_of_the_books_are_the_whole_organisations(booked: Company):
    job = booked.alice.post("book-checks", expect=202)["job"]
    booked.bob.post("book-checks", expect=403)
    assert booked.bob.get("book-checks")["results"] == []
    booked.bob.get(f"book-checks/{job}", expect=404)
    booked.person("vera", "viewer").post("book-checks", expect=403)
    booked.charlie.get("book-checks", expect=403)
    assert booked.person("fiona", "finance").get(f"book-checks/{job}")["id"] == job
