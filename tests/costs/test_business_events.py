"""Business events: told once, checked, and what one costs and brings."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from costs.lifetime import MONTH_S
from costs.models import BusinessEvent, SpendHour, WorkloadPlan
from costs.plans import Reported, change_plan, create_plan, report_events, set_plan
from costs.reports.units import unit_economics
from costs.rollups import refresh_days
from switchyard.audit.models import AuditEvent
from switchyard.core.clock import now
from switchyard.core.errors import Conflict, InvalidRequest, NotFound, ValidationFailed
from switchyard.core.money import usd_to_nusd as usd
from switchyard.tenancy.querysets import Scope
from tests import factories as make

pytestmark = pytest.mark.django_db


@pytest.fixture
def lob() -> Any:
    lob = make.make_lob(slug="customer-service")
    make.make_workload(lob, "triage")
    return lob


def scope_of(organisation: Any, *lobs: Any) -> Scope:
    ids, slugs = frozenset(lob.pk for lob in lobs), frozenset(lob.slug for lob in lobs)
    return Scope(organisation.pk, ids or None, slugs or None, frozenset({"operator"}))


def told(event_id: str = "e-1", **changes: Any) -> Reported:
    return Reported(**{"event_id": event_id, "workload": "triage", "event": "ticket-resolved"} | changes)


def report(lob: Any, *items: Reported) -> tuple[list[BusinessEvent], int]:
    return report_events(scope=scope_of(lob.organisation), items=items)


# --- telling them --------------------------------------------------------------------------------------------------


def test_an_event_told_again_is_the_row_that_is_there(lob: Any):
    at = now() - timedelta(hours=1)
    first, new = report(lob, told(count=3, value_nusd=usd("4.50"), at=at))
    again, none = report(lob, told(count=3, value_nusd=usd("4.50"), at=at))
    assert (new, none) == (1, 0) and first[0].pk == again[0].pk
    row = BusinessEvent.objects.get()
    assert (row.lob, row.name, row.count, row.value_nusd, row.at) == (
        "customer-service", "ticket-resolved", 3, usd("4.50"), at,
    )  # fmt: skip


def test_who_leaves_the_time_out_may_tell_it_again_later(lob: Any):
    assert report(lob, told())[1] == 1 and report(lob, told())[1] == 0


@pytest.mark.parametrize(
    "changes", [{"count": 2}, {"event": "ticket-lost"}, {"value_nusd": 0}, {"at": datetime(2026, 1, 1, tzinfo=UTC)}]
)  # fmt: skip
def test_other_content_under_the_same_id_is_refused_and_nothing_of_it_recorded(
    lob: Any, changes: dict[str, Any]
):
    report(lob, told(at=now() - timedelta(hours=2)))
    changed = {"at": now() - timedelta(hours=3)} if "at" in changes else changes
    with pytest.raises(Conflict, match="with other content"):
        report(lob, told("e-2"), told(**changed))
    assert BusinessEvent.objects.count() == 1


def test_one_report_may_repeat_itself_but_not_contradict_itself(lob: Any):
    rows, new = report(lob, told(), told())
    assert (len(rows), new) == (2, 1)
    with pytest.raises(Conflict, match="twice in this report"):
        report(lob, told("e-2"), told("e-2", count=5))


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"at": timedelta(minutes=6)}, "at"), ({"at": timedelta(days=-401)}, "at"), ({"count": 0}, "count"),
        ({"count": -1}, "count"), ({"count": 10**9 + 1}, "count"), ({"event": "Ticket resolved"}, "event"),
        ({"event": "x" * 64}, "event"), ({"event_id": ""}, "event_id"), ({"event_id": "x" * 81}, "event_id"),
        ({"event_id": "\x00"}, "event_id"), ({"value_nusd": 10**15 + 1}, "value_usd"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_by_name(lob: Any, changes: dict[str, Any], path: str):
    if "at" in changes:
        changes = {"at": now() + changes["at"]}
    with pytest.raises(ValidationFailed) as refused:
        report(lob, told(**changes))
    assert [error["path"] for error in refused.value.errors] == [path]
    with pytest.raises(ValidationFailed) as refused:
        report(lob, told("good"), told(**changes))
    assert refused.value.errors[0]["path"] == f"[1].{path}" and not BusinessEvent.objects.exists()


def test_a_clock_a_little_ahead_and_a_year_ago_are_taken(lob: Any):
    report(lob, told("ahead", at=now() + timedelta(minutes=4)), told("old", at=now() - timedelta(days=399)))


def test_a_workload_that_is_unknown_or_anothers_does_not_exist(lob: Any):
    other = make.make_lob(lob.organisation, "legal")
    make.make_workload(other, "clauses")
    for name in ("clauses", "nobody", "\x00"):
        with pytest.raises(NotFound):
            report_events(scope=scope_of(lob.organisation, lob), items=[told(), told("e-2", workload=name)])
    assert not BusinessEvent.objects.exists()


def test_a_report_holds_from_one_to_a_thousand(lob: Any):
    for items in ([], [told(f"e-{n}") for n in range(1_001)]):
        with pytest.raises(InvalidRequest, match="from 1 to 1000"):
            report(lob, *items)
    assert report(lob, *(told(f"e-{n}") for n in range(1_000)))[1] == 1_000


# --- what one costs and brings ---------------------------------------------------------------------------------------

MONTH = timedelta(seconds=MONTH_S)
START = datetime(2026, 10, 1, tzinfo=UTC)
END = START + 2 * MONTH


def happened(lob: Any, number: int, at: datetime, **changes: Any) -> None:
    values = {"workload": "triage", "name": "ticket-resolved", "count": 1, "lob": lob.slug}
    BusinessEvent.objects.create(
        organisation_id=lob.organisation_id, event_id=f"e-{number}", at=at, **values | changes
    )


def answered(lob: Any, at: datetime, answers: int, cost: str, workload: str = "triage") -> None:
    SpendHour.objects.create(
        organisation_id=lob.organisation_id, start=at, lob=lob.slug, workload=workload, deployment="d", model="m",
        side="external", answers=answers, cost_nusd=usd(cost),
    )  # fmt: skip
    refresh_days(at, at + timedelta(hours=1))


@pytest.fixture
def resolved(lob: Any) -> Any:
    """By hand. Two months: inference 60.00, people 120.00 a month → 300.00 for 1,200 answers and 400 tickets: 0.75 a ticket,
    3 answers each. Worth 1.25 by the plan: 500.00, margin 0.50 a ticket, 200.00 in all. The two months before: inference
    10.00 → 250.00 for 100 tickets, 2.50 a ticket, margin -1.25."""
    create_plan(
        workload=lob.workloads.get(), actor=None, people_usd_per_month="120", event_name="ticket-resolved",
        event_value_usd="1.25",
    )  # fmt: skip
    answered(lob, START, 1_200, "60")
    answered(lob, START - timedelta(hours=5), 500, "10")
    happened(lob, 1, START, count=150)
    happened(lob, 2, END - timedelta(hours=1), count=250)
    happened(lob, 3, START - timedelta(seconds=1), count=100)
    happened(lob, 4, END, count=7_000)  # after
    return lob


def ask(of: Any, **changes: Any) -> Any:
    values = {"scope": scope_of(of.organisation), "start": START, "end": END} | changes
    return unit_economics(**values)


def test_an_event_costs_and_brings_what_is_worked_out_by_hand(resolved: Any):
    row = ask(resolved).rows[0]
    expected = {
        "key": "triage|ticket-resolved", "workload": "triage", "lob": "customer-service", "event": "ticket-resolved",
        "events": 400, "cost_nusd": usd("300"), "value_nusd": usd("500"), "margin_nusd": usd("200"),
        "nusd_per_event": usd("0.75"), "inference_nusd_per_event": usd("0.15"), "value_nusd_per_event": usd("1.25"),
        "margin_nusd_per_event": usd("0.50"), "answers_per_event": 3.0, "before_events": 100,
        "before_nusd_per_event": usd("2.50"), "before_value_nusd_per_event": usd("1.25"),
        "before_margin_nusd_per_event": usd("-1.25"), "before_answers_per_event": 5.0,
    }  # fmt: skip
    assert {name: row[name] for name in expected} == expected


def test_kinds_of_event_share_the_workloads_cost_so_that_rows_sum_to_the_totals(resolved: Any):
    happened(resolved, 10, START, name="ticket-reopened", count=200, value_nusd=usd("-30"))
    report_ = ask(resolved)
    by_event = {row["event"]: row for row in report_.rows}
    assert by_event["ticket-reopened"]["cost_nusd"] == usd("100") and by_event["ticket-resolved"][
        "cost_nusd"
    ] == usd("200")
    assert by_event["ticket-reopened"]["margin_nusd"] == usd("-130")
    assert report_.totals["cost_nusd"] == usd("300") and report_.totals["events"] == 600
    assert report_.totals["value_nusd"] == usd("470") and report_.totals["margin_nusd"] == usd("170")


def test_what_the_app_says_an_event_brought_goes_before_the_plan(resolved: Any):
    BusinessEvent.objects.filter(event_id="e-1").update(value_nusd=usd("750"))  # 5.00 each of 150
    row = ask(resolved).rows[0]
    assert row["value_nusd"] == usd("750") + 250 * usd("1.25")


def test_an_event_whose_value_nobody_knows_has_a_cost_and_no_margin(resolved: Any):
    WorkloadPlan.objects.update(event_name="ticket-sold")
    row = ask(resolved).rows[0]
    assert row["nusd_per_event"] == usd("0.75")
    assert (
        row["value_nusd"],
        row["value_nusd_per_event"],
        row["margin_nusd"],
        row["margin_nusd_per_event"],
    ) == (None,) * 4
    BusinessEvent.objects.filter(event_id="e-1").update(value_nusd=usd("300"))
    row = ask(resolved).rows[
        0
    ]  # 150 of 400 are worth 2.00 each: the margin of one is known, that of all isn't
    assert (row["margin_nusd_per_event"], row["margin_nusd"]) == (usd("1.25"), None)


def test_without_events_there_is_nothing_to_tell(lob: Any):
    assert ask(lob).rows == [] and ask(lob).totals["nusd_per_event"] is None


def test_a_neighbour_sees_their_own_events_only(resolved: Any):
    other = make.make_lob(resolved.organisation, "legal")
    happened(other, 20, START, workload="clauses", name="contract-signed")
    bob = scope_of(resolved.organisation, other)
    assert [row["event"] for row in ask(resolved, scope=bob).rows] == ["contract-signed"]
    assert ask(resolved, scope=bob, lob="customer-service").rows == []


# --- plans ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model_life_months", 0), ("model_life_months", -3), ("model_life_months", 601), ("model_life_months", "ten"),
        ("data_usd", "-0.01"), ("people_usd_per_month", Decimal(-5)), ("people_usd_per_month", "a lot"),
        ("data_usd", "12345678901"), ("event_value_usd", "-1"), ("event_name", "Ticket Resolved"), ("latency_target_ms", 0),
        ("source", "x" * 201),
    ],
)  # fmt: skip
def test_a_plan_that_cannot_be_is_refused_by_name(lob: Any, name: str, value: Any):
    work = lob.workloads.get()
    with pytest.raises(ValidationFailed) as refused:
        create_plan(workload=work, actor=None, **{name: value})
    assert {error["path"] for error in refused.value.errors} == {name}
    assert not WorkloadPlan.objects.exists() and not AuditEvent.objects.exists()
    plan = create_plan(workload=work, actor=None)
    with pytest.raises(ValidationFailed):
        change_plan(plan=plan, actor=None, **{name: value})
    assert WorkloadPlan.objects.get().model_life_months == 12


def test_a_workload_has_one_plan_and_each_change_is_audited(lob: Any):
    work = lob.workloads.get()
    create_plan(workload=work, actor=None, data_usd="10")
    with pytest.raises(Conflict, match="has a plan already"):
        create_plan(workload=work, actor=None)
    assert set_plan(workload=work, actor=None, people_usd_per_month="5").data_usd == 10
    assert [e.action for e in AuditEvent.objects.order_by("sequence")] == [
        "workload_plan.created",
        "workload_plan.changed",
    ]


# --- the command line ------------------------------------------------------------------------------------------------


def test_plans_are_made_changed_shown_and_removed_on_the_command_line(lob: Any, capsys: Any):
    call_command(
        "workload_plan",
        "triage",
        "--life-months",
        "6",
        "--people-usd-per-month",
        "12.50",
        "--source",
        "guess",
    )
    assert json.loads(capsys.readouterr().out)["people_usd_per_month"] == "12.50"
    call_command("workload_plan", "triage", "--life-months", "9")
    call_command("workload_plan")
    listed = json.loads(capsys.readouterr().out.partition("\n[")[2].join(["[", ""]))
    assert [(plan["model_life_months"], plan["source"]) for plan in listed] == [(9, "guess")]
    call_command("workload_plan", "triage", "--remove")
    assert not WorkloadPlan.objects.exists()
    for words in (
        ["nobody"],
        ["triage", "--life-months", "0"],
        ["triage", "--remove"],
        ["--life-months", "3"],
    ):
        with pytest.raises(CommandError):
            call_command("workload_plan", *words)


def test_events_are_reported_on_the_command_line_one_or_many(lob: Any, capsys: Any, monkeypatch: Any):
    call_command(
        "business_event", "--event-id", "e-1", "--workload", "triage", "--event", "sold", "--value-usd", "2.5"
    )
    lines = [
        {"event_id": f"e-{n}", "workload": "triage", "event": "sold", "value_usd": "2.5"} for n in (1, 2)
    ]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(map(json.dumps, lines))))
    call_command("business_event")
    assert capsys.readouterr().out == "1 new of 1\n1 new of 2\n"
    for text in ("no json", '{"event_id": "x"}', '{"event_id": "x", "workload": "nobody", "event": "sold"}'):
        monkeypatch.setattr("sys.stdin", io.StringIO(text))
        with pytest.raises(CommandError):
            call_command("business_event")
    assert BusinessEvent.objects.count() == 2
