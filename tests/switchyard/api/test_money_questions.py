"""What is asked of money is answered or refused by name: nothing that a reader asks for is passed over in silence."""

from __future__ import annotations

import csv
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from costs import rollups
from costs.metering import record_events
from costs.reports.catalogue import CATALOGUE
from switchyard.core.clock import now
from tests import factories as make
from tests.costs.events import make_attempt, make_event
from tests.switchyard.api.company import Company

pytestmark = pytest.mark.django_db
RESOURCES = (
    "prices", "exchange-rates", "nodes", "budgets", "top-ups", "alerts", "alert-targets", "fiscal-periods", "book-checks",
    "reconciliations", "workload-plans", "business-events", "ledger", "reports", "exports", "exports/focus",
    "exports/statement",
)  # fmt: skip


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_every_report_refuses_a_grouping_that_does_not_exist(company: Company, name: str):
    errors = company.alice.get(f"reports/{name}", expect=400, group="colour")["errors"]
    assert [error["path"] for error in errors] == ["group"]


@pytest.mark.parametrize("path", RESOURCES)
def test_a_parameter_that_is_not_taken_is_refused_by_name(company: Company, path: str):
    errors = company.alice.get(path, expect=400, lbo="legal")["errors"]
    assert [error["path"] for error in errors] == ["lbo"], (
        "nobody takes the whole for the part that was asked for"
    )


def test_what_a_node_is_asked_is_refused_by_name_too(company: Company):
    make.make_node(company.organisation, "node-1")
    for path in ("costs", "intervals", "restatements"):
        assert company.alice.get(f"nodes/node-1/{path}", expect=400, since="2026-11-01")["errors"]
    assert company.alice.get("nodes/node-1/intervals", revisions="all")["results"] == []


def test_pages_of_a_list_are_asked_for_as_ever(company: Company):
    assert company.alice.get("prices", page_size="1")["next"] is None


def test_the_ledger_is_narrowed_by_time_application_and_workload(company: Company):
    at, pk = datetime(2026, 11, 3, 12, tzinfo=UTC), company.organisation.pk
    record_events(
        [
            make_event(make_attempt(cost_nusd=cost), at=at + timedelta(days=day), organisation_id=pk, lob="legal",
                       application=app, workload=work)
            for day, cost, app, work in ((0, 100, "desk", "clauses"), (1, 200, "desk", "letters"), (2, 400, "bot", "clauses"))
        ]
    )  # fmt: skip

    def amounts(**query: str) -> list[str]:
        return [row["amount_usd"] for row in company.alice.get("ledger", **query)["results"]]

    assert amounts() == ["0.0000004", "0.0000002", "0.0000001"], "newest first"
    assert amounts(**{"from": "2026-11-04"}) == ["0.0000004", "0.0000002"]
    assert amounts(to="2026-11-04T12:00:00Z") == ["0.0000001"], "the end is not in it"
    assert amounts(application="desk") == ["0.0000002", "0.0000001"]
    assert amounts(workload="clauses") == ["0.0000004", "0.0000001"]
    first = company.alice.get("ledger", workload="letters")["results"][0]
    assert (first["application"], first["workload"]) == ("desk", "letters")
    assert company.alice.get("ledger", expect=400, **{"from": "yesterday"})["errors"]
    assert company.alice.get("ledger", expect=400, **{"from": "2026-11-04", "to": "2026-11-03"})["errors"]


def report(*words: str) -> str:
    out = StringIO()
    call_command("report", *words, stdout=out)
    return out.getvalue()


def test_a_report_on_the_command_line_refuses_what_rest_refuses(company: Company):
    for words, said in (
        (("spend", "--lob", "lega"), "lega"),
        (("spend", "--from", "2026-11-02", "--to", "2026-11-01"), "ends before it begins"),
        (("trial-balance", "--group", "colour"), "colour"),
    ):
        with pytest.raises(CommandError, match=said):
            report(*words)


def test_a_reports_csv_is_text_that_no_spreadsheet_runs(company: Company):
    event = make_event(
        make_attempt(cost_nusd=1_000, model="=1+1"),
        at=now(),
        organisation_id=company.organisation.pk,
        lob="legal",
    )
    record_events([event])
    rollups.refresh(now(), now())
    call_command("roll_up") if False else None
    rows = list(csv.DictReader(StringIO(report("spend", "--group", "model", "--csv"))))
    assert [row["key"] for row in rows] == ["'=1+1"]


def test_a_focus_export_on_the_command_line_refuses_what_rest_refuses(company: Company):
    for words, said in (
        (("--lob", "lega"), "lega"),
        (("--from", "2026-11-02", "--to", "2026-11-01"), "ends after it begins"),
        (("--from", "2020-11-02", "--to", "2026-11-01"), "within 400 days"),
    ):
        with pytest.raises(CommandError, match=said):
            call_command("export_focus", *words, stdout=StringIO())
