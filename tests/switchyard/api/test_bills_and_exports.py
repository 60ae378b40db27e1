"""Bills belong to finance of the whole organisation; exports and statements hold what the asker may see."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from costs.exports.focus_columns import validate_csv
from costs.metering import record_events
from costs.models import LedgerEntry, Price
from costs.rollups import refresh
from tests import factories
from tests.costs.events import make_attempt, make_event
from tests.switchyard.api.company import Company

START, END = datetime(2026, 11, 3, tzinfo=UTC), datetime(2026, 11, 4, tzinfo=UTC)
ASK = {"deployment": "ext-mini", "from": "2026-11-03T00:00:00Z", "to": "2026-11-04T00:00:00Z"}


@pytest.fixture
def booked(company: Company) -> Company:
    """Two calls, one of each line of business, and the bill that agrees with them."""
    factories.make_deployment(company.organisation, "ext-mini")
    price = Price.objects.get().version
    told = make_attempt(
        cost_nusd=1_400, legs={"input": 1_000, "output": 400}, tokens_out=1, price_version=price
    )
    events = [make_event(dict(told), at=START, lob=lob, request_id=f"req_{lob}", organisation_id=company.organisation.pk)
              for lob in ("customer-service", "legal")]  # fmt: skip
    record_events(events)
    refresh(START, END)
    return company


def bill(*more: dict[str, Any], **changes: Any) -> str:
    rows = [
        {"request_id": f"req_{lob}", "at": START.isoformat(), "model": "txt-edge", "tokens_in": 20, "tokens_out": 1,
         "cost_usd": "0.0000014"} | changes
        for lob in ("customer-service", "legal")
    ]  # fmt: skip
    return json.dumps({"rows": [*rows, *more]})


def test_a_bill_is_posted_checked_and_read_again(booked: Company):
    made = booked.alice.post("reconciliations", ASK | {"text": bill()})
    assert (made["gap_usd"], made["findings"], made["from"], made["rows"]) == ("0.00", [], ASK["from"], 2)
    assert booked.alice.get(f"reconciliations/{made['id']}")["digest"] == made["digest"]
    assert booked.alice.post("reconciliations", ASK | {"text": bill()})["id"] == made["id"]
    assert [row["id"] for row in booked.alice.get("reconciliations", name="ext-mini")["results"]] == [
        made["id"]
    ]


def test_a_gap_is_named_and_corrected_on_demand_and_shows_in_the_report(booked: Company):
    lost = {"request_id": "req_lost", "at": START.isoformat(), "model": "txt-edge", "tokens_in": 40, "tokens_out": 0,
            "cost_usd": "0.000002"}  # fmt: skip
    made = booked.alice.post("reconciliations", ASK | {"text": bill(lost, lost), "correct": True})
    assert (made["gap_usd"], made["left_usd"], made["corrections"]) == ("0.000004", "0.000002", 1)
    assert {(f["cause"], f["state"]) for f in made["findings"]} == {
        ("missing", "corrected"),
        ("billed_twice", "claim"),
    }
    report = booked.alice.get("reports/reconciliation", **{"from": "2026-11-01", "to": "2026-12-01"})
    assert {row["key"] for row in report["rows"]} == {
        "2026-11-03|txt-edge||missing",
        "2026-11-03|txt-edge||billed_twice",
    }
    assert report["totals"]["claim_usd"] == "0.000002" and report["totals"]["gap_usd"] == "0.000004"


def test_bills_are_nobodys_but_finances_of_the_whole_organisation(booked: Company):
    made = booked.alice.post("reconciliations", ASK | {"text": bill(cost_usd="0.01")})
    span = {"from": "2026-11-01", "to": "2026-12-01"}
    erin = booked.person("erin", "finance")
    assert erin.get("reconciliations")["results"] and erin.get("reports/reconciliation", **span)["rows"]
    assert booked.bob.get("reconciliations")["results"] == []
    booked.bob.get(f"reconciliations/{made['id']}", expect=404)
    booked.bob.post("reconciliations", ASK | {"text": bill()}, expect=403)
    assert booked.bob.get("reports/reconciliation", **span)["rows"] == []
    vera = booked.person("vera", "viewer")
    vera.get("reconciliations", expect=403)
    vera.post("reconciliations", ASK | {"text": bill()}, expect=403)
    assert vera.get("reports/reconciliation", **span)["rows"] == []


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"text": None}, "text"), ({"text": "", "fetch": False}, "text"), ({"fetch": True}, "text"), ({"kind": "node"}, "node"),
        ({"to": ASK["from"]}, "to"), ({"deployment": ""}, "deployment"), ({"strange": 1}, "strange"),
        ({"currency": "euro"}, "currency"),
    ],
)  # fmt: skip
def test_what_a_check_cannot_be_made_of_is_refused_by_name(
    booked: Company, change: dict[str, Any], path: str
):
    body = {k: v for k, v in (ASK | {"text": bill()} | change).items() if v is not None}
    assert booked.alice.post("reconciliations", body, expect=400)["errors"][0]["path"] == path


def test_a_bill_in_the_wrong_currency_is_a_problem_with_its_own_code(booked: Company):
    text = "date,model,cost,currency\n2026-11-03,txt-edge,1,EUR\n"
    problem = booked.alice.post("reconciliations", ASK | {"text": text}, expect=400)
    assert problem["code"] == "wrong_currency" and "EUR" in problem["title"] and "USD" in problem["title"]
    broken = booked.alice.post("reconciliations", ASK | {"text": "date,model,cost_usd\nx,m,1\n"}, expect=400)
    assert broken["errors"][0]["line"] == 2


def focus(caller: Any, expect: int = 200, **query: Any) -> list[dict[str, str]]:
    response = caller.client.get("/api/v1/exports/focus", {"from": "2026-11-03", "to": "2026-11-04"} | query)
    assert response.status_code == expect
    if expect != 200:
        return []
    text = b"".join(response).decode()
    assert response["content-type"].startswith("text/csv")
    assert validate_csv(io.StringIO(text), query.get("version", "1.2"))[1] == []
    return list(csv.DictReader(io.StringIO(text)))


def test_focus_rows_are_streamed_of_what_the_asker_may_see(booked: Company):
    assert {row["SubAccountId"] for row in focus(booked.alice)} == {"customer-service", "legal"}
    assert {row["SubAccountId"] for row in focus(booked.bob)} == {"customer-service"}
    assert {row["SubAccountId"] for row in focus(booked.alice, lob="legal")} == {"legal"}
    focus(booked.bob, expect=404, lob="legal")
    focus(booked.alice, expect=400, version="1.9")
    focus(booked.alice, expect=400, **{"from": "2026-12-01"})
    assert "ServiceProviderName" in focus(booked.alice, version="1.4")[0]


def test_a_statement_is_its_own_line_of_business_alone(booked: Company):
    made = booked.bob.get("exports/statement", lob="customer-service", month="2026-11")
    assert (made["total_usd"], {line["what"] for line in made["lines"]}) == (
        "0.0000014",
        {"input tokens", "output tokens"},
    )
    booked.bob.get("exports/statement", expect=404, lob="legal", month="2026-11")
    booked.alice.get("exports/statement", expect=400, month="2026-11")
    booked.alice.get("exports/statement", expect=400, lob="legal", month="November")
    booked.alice.get("exports/statement", expect=400, lob="legal", basis="cash")
    answer = booked.alice.client.get(
        "/api/v1/exports/statement", {"lob": "legal", "month": "2026-11", "as": "csv"}
    )
    rows = list(csv.reader(io.StringIO(answer.content.decode())))
    assert rows[-2][0] == "total" and rows[-2][-2] == "0.0000014"


# ------------------------------------------------------------------------------------------------- commands
SPAN = ("--from", "2026-11-03", "--to", "2026-11-04")


def test_the_command_checks_a_file_and_fails_while_a_gap_is_left(booked: Company, tmp_path: Any, capsys: Any):
    path = tmp_path / "bill.json"
    path.write_text(bill())
    call_command("reconcile", "ext-mini", *SPAN, "--file", str(path))
    assert "gap 0.00, left 0.00 USD" in capsys.readouterr().out
    path.write_text(bill(cost_usd="0.0000015"))
    with pytest.raises(CommandError, match="left between bill and books"):
        call_command("reconcile", "ext-mini", *SPAN, "--file", str(path))
    assert "price" in capsys.readouterr().out
    with pytest.raises(CommandError, match="There is no deployment"):
        call_command("reconcile", "nobody", *SPAN, "--file", str(path))


def test_the_commands_write_a_statement_and_checked_focus_rows(booked: Company, capsys: Any, tmp_path: Any):
    call_command("statement", "--lob", "legal", "--month", "2026-11")
    assert "total,legal 2026-11 chargeback" in capsys.readouterr().out
    call_command("export_focus", *SPAN, "--check")
    assert "4 rows of FOCUS 1.2, every column valid." in capsys.readouterr().out
    call_command("export_focus", *SPAN, "--version", "1.4", "--output", str(tmp_path / "focus.csv"))
    assert (tmp_path / "focus.csv").read_text().count("\n") == 5
    with pytest.raises(CommandError, match="no line of business"):
        call_command("statement", "--lob", "nobody")
    assert LedgerEntry.objects.count() == 2
