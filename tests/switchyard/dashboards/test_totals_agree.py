"""One company, one period: whichever page, report or export is asked, the same total comes back."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.test import Client

from costs import ledger, rollups
from costs.budgets import spent_in_ledger
from costs.contracts import BudgetLimit
from costs.exports.focus import Export, focus_csv
from costs.exports.statements import Statement, statement
from costs.labels import Labelled, charge
from costs.metering import record_events
from costs.models import Attempt, Budget, LedgerEntry
from costs.reports.catalogue import CATALOGUE
from costs.selectors import limit_of
from switchyard.core.money import NUSD_PER_USD
from switchyard.tenancy.models import LineOfBusiness
from switchyard.tenancy.querysets import Scope, scope_of
from switchyard.tenancy.services import create_token
from tests import factories as make
from tests.costs.events import make_attempt, make_event, private_attempt

pytestmark = pytest.mark.django_db
PERIOD = "period=custom&from=2026-11-01&to=2026-11-30"
START, END = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)
GROUPS = ("lob", "application", "workload", "deployment", "model", "side", "node", "purpose", "token_class")


@pytest.fixture
def people() -> dict[str, Any]:
    """Work of every kind over a month: both sides, failures, batches and caches, judges, labels of hours and odd minutes."""
    organisation = make.make_organisation()
    lobs = {
        slug: make.make_lob(organisation, slug, label_price_nusd=price)
        for slug, price in (("customer-service", 7_001), ("legal", 12_500), ("engineering", 0))
    }
    events = []
    for i in range(90):
        at = START + timedelta(hours=7 * i, minutes=11 * i % 60)
        lob = ("customer-service", "legal", "engineering")[i % 3]
        legs = {"input": 100 + i, "cached_input": 7, "output": 900 + 3 * i}
        out = make_attempt(cost_nusd=sum(legs.values()), legs=legs, saved={"cache": i, "batch": 2 * i})
        home = private_attempt(cost_nusd=500 + i, legs={"compute": 500 + i})
        failed = make_attempt(status="error", cost_nusd=40)
        attempts = [[out], [home], [failed, home], [home, out]][i % 4]
        events.append(make_event(*attempts, at=at, lob=lob, application=f"{lob}-app", workload=f"{lob}-{i % 2}",
                                 organisation_id=organisation.pk, other_side_cost_nusd=(None, 800)[i % 2],
                                 purpose=("answer", "shadow")[i % 10 == 9]))  # fmt: skip
    record_events(events)
    rollups.refresh(START, END - timedelta(seconds=1))
    charge([_label(organisation.pk, n) for n in range(60)])
    ledger.reverse(LedgerEntry.objects.get(event_id="label:legal:1"), memo="labelled wrongly")
    return {
        "alice": make.make_user("alice", organisation, "admin"),
        "lena": make.make_user("lena", organisation, "finance", (lobs["legal"],)),
    }


def _label(organisation_id: int, number: int) -> Labelled:
    lob = ("customer-service", "legal", "engineering")[number % 3]
    return Labelled(
        event_id=f"label:{lob}:{number // 3}", organisation_id=organisation_id, lob=lob, workload=f"{lob}-{number % 2}",
        purpose=("label", "review", "feedback")[number % 4 % 3], at=START + timedelta(hours=11 * number, minutes=number),
    )  # fmt: skip


def labelled(person: Any) -> int:
    """The same of labels, from their own lines of the ledger."""
    lines = LedgerEntry.objects.for_tenant(scope_of(person)).filter(attempt=None)
    return sum(-line.amount_nusd if line.reverses_id else line.amount_nusd for line in lines)


def spent(person: Any, **only: str) -> int:
    """The raw rows, summed without any of the product's own reports. `only`: purpose="answer" for what answers cost."""
    scope: Scope = scope_of(person)
    rows = Attempt.objects.for_tenant(scope).filter(superseded=False, **only)
    return sum(rows.values_list("cost_nusd", flat=True))


def table(client: Client, address: str) -> list[dict[str, str]]:
    answer = client.get(address)
    assert answer.status_code == 200, address
    return list(csv.DictReader(StringIO(answer.content.decode())))


def total(rows: list[dict[str, str]], column: str) -> int:
    return int(sum(Decimal(row[column] or 0) for row in rows) * NUSD_PER_USD)


def pages(client: Client) -> Iterator[tuple[str, int]]:
    """(what was asked, its total) of every page and export that tells what the month cost."""
    for group in GROUPS:
        for tz in ("UTC", "Asia/Kolkata"):
            # In Kolkata the same hours are asked for by their UTC days, and only put into other days.
            yield (
                f"spend by {group} {tz}",
                total(table(client, f"/spend/?{PERIOD}&group={group}&csv=spend-by"), "Cost (USD)"),
            )
    yield "spend over time", total(table(client, f"/spend/?{PERIOD}&csv=spend-over-time"), "Cost (USD)")
    yield "overview by line of business", total(table(client, f"/?{PERIOD}&csv=cost-by-lob"), "Cost (USD)")
    yield "overview over time", total(table(client, f"/?{PERIOD}&csv=spend-over-time"), "Cost (USD)")
    compared = table(client, f"/?{PERIOD}&csv=counterfactual")
    yield (
        "overview as it was, and what is beside it",
        total(compared, "As it was (USD)") + total(compared, "Training, evaluation and shadows (USD)"),
    )
    yield "savings", total(table(client, f"/savings/?{PERIOD}&csv=savings"), "As it was (USD)")
    yield "requests", total(table(client, f"/spend/requests/?{PERIOD}&csv=spend-requests"), "cost (USD)")
    first = client.get(f"/?{PERIOD}").context["totals"]
    yield "overview figure, and what is beside it", first["actual_nusd"] + first["other_purposes_nusd"]
    yield "spend figure", client.get(f"/spend/?{PERIOD}").context["totals"]["cost_nusd"]
    yield "requests figure", client.get(f"/spend/requests/?{PERIOD}").context["total_nusd"]


@pytest.mark.parametrize("name", ["alice", "lena"])
def test_every_page_tells_the_same_total(people: dict[str, Any], name: str) -> None:
    client = Client()
    client.force_login(people[name])
    expected = spent(people[name])
    assert expected > 0
    assert {what: found for what, found in pages(client) if found != expected} == {}


def pages_of_answers(client: Client) -> Iterator[tuple[str, int]]:
    """Those that compare answers with what they would have cost another way: the product's own work is not in them."""
    yield "overview as it was", total(table(client, f"/?{PERIOD}&csv=counterfactual"), "As it was (USD)")
    yield "spend as it was", total(table(client, f"/spend/?{PERIOD}&csv=counterfactual"), "As it was (USD)")
    yield "last policy", total(table(client, f"/savings/?{PERIOD}&csv=last-policy"), "As it was (USD)")
    yield "overview figure", client.get(f"/?{PERIOD}").context["totals"]["actual_nusd"]


@pytest.mark.parametrize("name", ["alice", "lena"])
def test_every_comparison_tells_what_answers_cost(people: dict[str, Any], name: str) -> None:
    client = Client()
    client.force_login(people[name])
    expected = spent(people[name], purpose="answer")
    assert 0 < expected < spent(people[name])
    assert {what: found for what, found in pages_of_answers(client) if found != expected} == {}


@pytest.mark.parametrize("name", ["alice", "lena"])
def test_rest_tells_the_same_total_in_every_grouping_and_zone(people: dict[str, Any], name: str) -> None:
    token = create_token(user=people[name], name="test")[1]
    client, expected = Client(headers={"authorization": f"Bearer {token}"}), spent(people[name])
    times = ("month", "week", "day", "hour")
    for group in (*GROUPS, *times, "day,side", "lob,token_class"):
        for tz in ("UTC", "Asia/Kolkata", "America/St_Johns"):
            query = {"from": "2026-11-01", "to": "2026-12-01", "group": group, "tz": tz}
            body = client.get("/api/v1/reports/spend", query).json()
            found = sum(Decimal(row["cost_usd"]) for row in body["rows"])
            assert found == Decimal(body["total_usd"]) == Decimal(expected) / NUSD_PER_USD, (group, tz)


def test_reports_that_tell_an_actual_cost_tell_the_same_one(people: dict[str, Any]) -> None:
    ask = {"scope": scope_of(people["alice"]), "start": START, "end": END}
    compared = CATALOGUE["counterfactual"].function(**ask).totals
    found = {
        "counterfactual": compared["actual_nusd"] + compared["other_purposes_nusd"],
        "savings": CATALOGUE["savings"].function(**ask).totals["actual_nusd"],
        "spend": CATALOGUE["spend"].function(**ask).totals["cost_nusd"],
        "statements": sum(s.subtotals()["work"] for s in statements(people["alice"])),
    }
    assert set(found.values()) == {spent(people["alice"])}, found
    per_correct = CATALOGUE["cost-per-correct"].function(**ask).totals["cost_nusd"]
    assert compared["actual_nusd"] == per_correct == spent(people["alice"], purpose="answer")


def test_lines_of_business_add_up_to_the_organisation(people: dict[str, Any]) -> None:
    """One line of business a request: no cost is told twice, none falls between two."""
    client = Client()
    client.force_login(people["alice"])
    parts = [
        client.get(f"/spend/?{PERIOD}&lob={lob}").context["totals"]["cost_nusd"]
        for lob in ("customer-service", "legal", "engineering")
    ]
    assert sum(parts) == spent(people["alice"]) and all(parts)
    assert spent(people["lena"]) == parts[1]


def test_statements_of_the_month_add_up_to_it(people: dict[str, Any]) -> None:
    client = Client()
    client.force_login(people["alice"])
    work = 0
    for lob in ("customer-service", "legal", "engineering"):
        answer = client.get(f"/statements/{lob}/2026-11/?basis=showback")
        assert answer.status_code == 200
        lines = [line for line in answer.context["statement"].lines if line.section == "work"]
        work += sum(line.amount_nusd for line in lines)
    assert work == spent(people["alice"])


def statements(person: Any) -> list[Statement]:
    organisation_id = scope_of(person).organisation_id
    assert organisation_id is not None
    return [
        statement(organisation_id=organisation_id, lob=lob.slug, month=START)
        for lob in LineOfBusiness.objects.for_tenant(scope_of(person))
    ]


def limits(person: Any) -> list[BudgetLimit]:
    """A budget for each line of business the person sees, without a counter behind it."""
    return [
        limit_of(make.make_budget(lob.organisation, f"lob:{lob.slug}", "900", covers=covers))
        for lob in LineOfBusiness.objects.for_tenant(scope_of(person))
        for covers in ("all", "labels")
    ]


def totals_with_labels(person: Any, client: Client) -> Iterator[tuple[str, int]]:
    """Every total of the month that holds calls and labels."""
    ask = {"scope": scope_of(person), "start": START, "end": END}
    for group in GROUPS:
        found = CATALOGUE["spend"].function(**ask, group=group)
        yield f"spend by {group}", found.totals["all_in_nusd"]
        yield f"rows by {group}", sum(row["cost_nusd"] + row["labels_nusd"] for row in found.rows)
        rows = table(client, f"/spend/?{PERIOD}&group={group}&csv=spend-by")
        yield f"page by {group}", total(rows, "Cost (USD)") + total(rows, "Labels (USD)")
    for address in ("/spend/?csv=spend-over-time&", "/?csv=spend-over-time&", "/?csv=cost-by-lob&"):
        rows = table(client, f"{address}{PERIOD}")
        yield address, total(rows, "Cost (USD)") + total(rows, "Labels (USD)")
    yield "figure", client.get(f"/spend/?{PERIOD}").context["totals"]["all_in_nusd"]
    yield "statements", sum(one.total_nusd for one in statements(person))
    own = limits(person)
    yield "budgets", sum(spent_in_ledger(limit, START, END) for limit in own if limit.covers == "all")
    lines = csv.DictReader(StringIO("".join(focus_csv(Export(scope_of(person), START, END)))))
    yield "FOCUS", int(sum(Decimal(row["BilledCost"]) for row in lines) * NUSD_PER_USD)


@pytest.mark.parametrize("name", ["alice", "lena"])
def test_every_total_that_holds_labels_tells_the_same_one(people: dict[str, Any], name: str) -> None:
    person, client = people[name], Client()
    client.force_login(person)
    expected = spent(person) + labelled(person)
    assert labelled(person) > 0
    assert {what: found for what, found in totals_with_labels(person, client) if found != expected} == {}
    rows = Budget.objects.for_tenant(scope_of(person)).filter(covers="labels").select_related("lob")
    assert sum(spent_in_ledger(limit_of(row), START, END) for row in rows) == labelled(person)


def test_the_trial_balance_is_what_was_charged_and_what_was_reversed(people: dict[str, Any]) -> None:
    """A reversal is a transfer of its own: it stands on both sides, and takes its label out of the expenses."""
    ask = {"scope": scope_of(people["alice"]), "start": START, "end": END}
    report = CATALOGUE["trial-balance"].function(**ask)
    expenses = [row for row in report.rows if row["key"].startswith("expense:")]
    charged = sum(row["debit_nusd"] - row["credit_nusd"] for row in expenses)
    assert charged == spent(people["alice"]) + labelled(people["alice"])
    assert report.totals["debit_nusd"] == report.totals["credit_nusd"] == charged + 2 * 12_500


def test_labels_narrowed_to_what_they_never_have_are_none(people: dict[str, Any]) -> None:
    ask = {"scope": scope_of(people["alice"]), "start": START, "end": END}
    for only in (
        {"side": "private"},
        {"deployment": "ext-mini"},
        {"application": "legal-app"},
        {"node": "n"},
    ):
        assert CATALOGUE["spend"].function(**ask, **only).totals["labels_nusd"] == 0
    legal = CATALOGUE["spend"].function(**ask, lob="legal", group="purpose", workload="legal-0")
    assert 0 < legal.totals["labels_nusd"] < labelled(people["lena"])
    assert {row["key"] for row in legal.rows if row["labels_nusd"]} <= {"label", "review", "feedback"}
