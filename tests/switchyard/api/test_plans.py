"""Plans, business events, label prices and lifetime reports by REST, from both sides of the wall."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from costs.models import BusinessEvent, WorkloadPlan
from switchyard.audit.models import AuditEvent
from switchyard.core.clock import now
from switchyard.tenancy.models import LineOfBusiness
from tests import factories
from tests.switchyard.api.company import Caller, Company


@pytest.fixture
def working(company: Company) -> Company:
    factories.make_workload(company.service, "triage")
    factories.make_workload(company.legal, "clauses")
    return company


@pytest.fixture
def app(working: Company) -> Caller:
    """A service account of customer-service, as its app would hold it."""
    made = working.alice.post(
        "service-accounts", {"name": "helpdesk", "role": "operator", "lobs": ["customer-service"]}
    )
    return Caller(made["token"])


PLAN = {
    "workload": "triage", "model_life_months": 6, "data_usd": "600.00", "people_usd_per_month": "120.00",
    "event_name": "ticket-resolved", "event_value_usd": "1.25", "source": "assumption",
}  # fmt: skip
EVENT = {"event_id": "t-1", "workload": "triage", "event": "ticket-resolved"}


# --- plans ---------------------------------------------------------------------------------------------------------


def test_a_plan_is_made_read_by_its_workload_changed_and_removed(working: Company):
    erin = working.person("erin", "finance")
    made = erin.post("workload-plans", PLAN)
    assert (
        made["lob"] == "customer-service"
        and made["data_usd"] == "600.00"
        and made["event_value_usd"] == "1.250000"
    )
    assert erin.get("workload-plans/triage")["id"] == made["id"]
    assert (
        erin.patch("workload-plans/triage", {"people_usd_per_month": "1"})["people_usd_per_month"] == "1.00"
    )
    erin.patch("workload-plans/triage", {"colour": "red"}, expect=400)
    erin.post("workload-plans", PLAN, expect=409)
    assert len(erin.get("workload-plans")["results"]) == 1
    erin.delete("workload-plans/triage")
    erin.get("workload-plans/triage", expect=404)
    events = AuditEvent.objects.filter(action__startswith="workload_plan").order_by("sequence")
    assert [e.action.partition(".")[2] for e in events] == ["created", "changed", "deleted"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"model_life_months": 0}, {"data_usd": "-1"}, {"people_usd_per_month": "-0.01"}, {"people_usd_per_month": "NaN"},
        {"workload": "nobody"}, {"workload": ""}, {"event_name": "Ticket!"}, {"event_value_usd": "-1"}, {"colour": "red"},
        {"latency_target_ms": 0},
    ],
)  # fmt: skip
def test_a_plan_that_cannot_be_is_refused_with_the_field_named(working: Company, wrong: dict[str, Any]):
    refused = working.alice.post("workload-plans", PLAN | wrong, expect=400)
    assert [error["path"] for error in refused["errors"]] == list(wrong)
    assert not WorkloadPlan.objects.exists()


def test_only_finance_plans_and_only_its_own_lines_of_business(working: Company):
    working.person("vera", "viewer").post("workload-plans", PLAN, expect=403)
    working.person("otto", "operator").post("workload-plans", PLAN, expect=403)
    legal = working.person("lena", "finance", working.legal)
    assert "workload" in str(legal.post("workload-plans", PLAN, expect=400)["errors"]), (
        "foreign is as unknown"
    )
    working.alice.post("workload-plans", PLAN)
    assert legal.get("workload-plans")["results"] == []
    legal.get("workload-plans/triage", expect=404)
    legal.patch("workload-plans/triage", {"data_usd": "1"}, expect=404)
    legal.delete("workload-plans/triage", expect=404)
    assert working.bob.get("workload-plans")["results"][0]["workload"] == "triage"
    working.charlie.get("workload-plans", expect=403)


# --- business events -----------------------------------------------------------------------------------------------


def test_an_app_reports_an_event_once_however_often_it_sends_it(app: Caller):
    body = EVENT | {"count": 2, "value_usd": "3.10", "at": (now() - timedelta(hours=1)).isoformat()}
    made = app.post("business-events", body)
    assert (made["count"], made["value_usd"], made["lob"]) == (2, "3.10", "customer-service")
    assert app.post("business-events", body, expect=200)["event_id"] == "t-1"
    assert app.post("business-events", body | {"count": 3}, expect=409)["code"] == "event_conflict"
    assert BusinessEvent.objects.get().count == 2
    assert app.get("business-events", workload="triage")["results"][0]["event_id"] == "t-1"
    assert app.get("business-events/t-1")["event"] == "ticket-resolved"


def test_a_list_is_taken_whole_or_not_at_all(app: Caller):
    events = [EVENT | {"event_id": f"t-{n}"} for n in range(1_000)]
    answer = app.post("business-events", events)
    assert len(answer["results"]) == 1_000 and answer["next"] is None
    app.post("business-events", events, expect=200)
    more = [EVENT | {"event_id": f"u-{n}"} for n in range(3)]
    app.post("business-events", [*more, EVENT | {"event_id": "t-0", "count": 9}], expect=409)
    refused = app.post(
        "business-events", [*more, EVENT | {"event_id": "u-9", "at": "2020-01-01T00:00:00Z"}], expect=400
    )
    assert refused["errors"][0]["path"] == "[3].at"
    app.post("business-events", [EVENT | {"event_id": f"v-{n}"} for n in range(1_001)], expect=400)
    app.post("business-events", [], expect=400)
    assert BusinessEvent.objects.count() == 1_000


@pytest.mark.parametrize(
    "wrong",
    [
        {"count": 0}, {"count": -1}, {"count": "many"}, {"count": 2**40}, {"value_usd": "1e30"}, {"value_usd": "money"},
        {"event": "Ticket resolved"}, {"event_id": ""}, {"event_id": "x" * 81}, {"at": "tomorrow"},
        {"at": "2099-01-01T00:00:00Z"}, {"at": "2020-01-01T00:00:00Z"}, {"price": "1"}, {"event": "a\x00b"},
    ],
)  # fmt: skip
def test_an_event_that_cannot_be_is_refused_with_the_field_named(app: Caller, wrong: dict[str, Any]):
    refused = app.post("business-events", EVENT | wrong, expect=400)
    assert [error["path"] for error in refused["errors"]] == list(wrong)
    assert not BusinessEvent.objects.exists()


def test_a_foreign_workload_does_not_exist_and_neither_do_foreign_events(app: Caller, working: Company):
    for name in ("clauses", "nobody"):
        app.post("business-events", EVENT | {"workload": name}, expect=404)
    working.alice.post("business-events", EVENT | {"event_id": "c-1", "workload": "clauses"})
    assert app.get("business-events")["results"] == []
    app.get("business-events/c-1", expect=404)
    working.person("vera", "viewer").post("business-events", EVENT, expect=403)
    working.charlie.post("business-events", EVENT, expect=403)


def test_only_finance_takes_an_event_back(app: Caller, working: Company):
    app.post("business-events", EVENT)
    app.delete("business-events/t-1", expect=403)
    working.person("lena", "finance", working.legal).delete("business-events/t-1", expect=404)
    working.person("erin", "finance").delete("business-events/t-1")
    assert not BusinessEvent.objects.exists()
    assert AuditEvent.objects.get(action="business_event.deleted").actor == "erin"


# --- label prices, reports -----------------------------------------------------------------------------------------


def test_the_price_of_a_label_is_a_decimal_of_the_line_of_business(company: Company):
    assert company.alice.get("lobs/legal")["label_usd"] == "0.00"
    assert company.alice.patch("lobs/legal", {"label_usd": "12.50"})["label_usd"] == "12.50"
    assert LineOfBusiness.objects.get(slug="legal").label_price_nusd == 12_500_000_000
    for wrong in ("-0.01", "1000000.01", "free", "NaN", None):
        refused = company.alice.patch("lobs/legal", {"label_usd": wrong}, expect=400)
        assert refused["errors"][0]["path"] == "label_usd"
    assert company.alice.get("lobs/legal")["label_usd"] == "12.50"
    company.bob.patch("lobs/legal", {"label_usd": "1"}, expect=404)


@pytest.mark.parametrize("name", ["lifetime-cost", "unit-economics"])
def test_the_reports_answer_with_dollars_and_keep_neighbours_apart(app: Caller, working: Company, name: str):
    for workload, event_id in (("triage", "t-1"), ("clauses", "c-1")):
        working.alice.post("workload-plans", PLAN | {"workload": workload})
        working.alice.post("business-events", EVENT | {"event_id": event_id, "workload": workload})
    report = working.alice.get(f"reports/{name}")
    assert [row["workload"] for row in report["rows"]] == ["clauses", "triage"]
    assert "nusd" not in str(report) and all("key" in row for row in report["rows"])
    mine = app.get(f"reports/{name}")
    assert [row["workload"] for row in mine["rows"]] == ["triage"]
    app.get(f"reports/{name}", lob="legal", expect=404)
    if name == "lifetime-cost":
        names = {"labels_usd", "training_usd", "inference_usd", "people_usd", "usd_per_1000", "labels_share"}
        assert names <= set(mine["rows"][0])
    else:
        assert mine["rows"][0]["value_usd_per_event"] == "1.25"
