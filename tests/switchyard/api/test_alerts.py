"""Targets of alerts and top-ups of budgets over REST: who may, what is shown once, what a neighbour never sees."""

from __future__ import annotations

import json

import pytest

from costs import tasks
from costs.models import Alert, AlertDelivery, Budget
from costs.selectors import limit_of
from switchyard.core.clock import now
from tests import factories
from tests.costs.notify.receiver import receiving
from tests.switchyard.api.company import Company

HOOK = {"kind": "webhook", "address": "http://127.0.0.1:9/hook", "lob": "legal"}


def test_a_target_is_made_tried_changed_and_removed(company: Company):
    fiona = company.person("fiona", "finance")
    with receiving() as receiver:
        made = fiona.post("alert-targets", HOOK | {"address": receiver.url})
        assert len(made["secret"]) >= 32 and made["active"] is True and made["kinds"] == []
        for path in ("alert-targets", f"alert-targets/{made['id']}", "audit-log"):
            assert made["secret"] not in json.dumps(fiona.get(path))
        told = fiona.post(f"alert-targets/{made['id']}/test", expect=202)
        assert (told["state"], told["kind"]) == ("pending", "test")
        assert tasks.send_alerts() == 1
    assert json.loads(receiver.got[0][2])["kind"] == "test"
    [delivery] = fiona.get(f"alert-targets/{made['id']}/deliveries")["results"]
    assert delivery["state"] == "sent"
    changed = fiona.patch(f"alert-targets/{made['id']}", {"active": False, "kinds": ["budget_limit"]})
    assert changed["active"] is False and changed["kinds"] == ["budget_limit"] and "secret" not in changed
    fiona.patch(f"alert-targets/{made['id']}", {"address": "http://127.0.0.1/"}, expect=400)
    fiona.delete(f"alert-targets/{made['id']}")
    assert not AlertDelivery.objects.exists()


def test_a_secret_of_ones_own_is_never_read_again(company: Company):
    made = company.alice.post("alert-targets", HOOK | {"secret": "a secret of my own"})
    assert "secret" not in made
    assert "a secret of my own" not in company.alice.client.get("/api/v1/alert-targets").content.decode()


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"kind": "pigeon"}, "kind"), ({"address": "http://169.254.169.254/"}, "address"), ({"lob": "nobody"}, "lob"),
        ({"secret": "short"}, "secret"), ({"kinds": ["No Such"]}, "kinds"), ({"address": ""}, "address"),
        ({"kind": "email", "address": "nobody"}, "address"), ({"colour": 1}, "colour"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_target_is_located(company: Company, body: dict, path: str):
    errors = company.alice.post("alert-targets", HOOK | body, expect=400)["errors"]
    assert errors[0]["path"].startswith(path)


def test_a_neighbour_neither_sees_nor_touches_a_target_nor_makes_one_for_all(company: Company):
    made = company.alice.post("alert-targets", HOOK)
    whole = company.alice.post("alert-targets", HOOK | {"lob": None})
    for target in (made, whole):
        company.bob.get(f"alert-targets/{target['id']}", expect=404)
        company.bob.get(f"alert-targets/{target['id']}/deliveries", expect=404)
        company.bob.post(f"alert-targets/{target['id']}/test", expect=404)
        company.bob.patch(f"alert-targets/{target['id']}", {"active": False}, expect=404)
        company.bob.delete(f"alert-targets/{target['id']}", expect=404)
    assert company.bob.get("alert-targets")["results"] == []
    company.bob.post("alert-targets", HOOK, expect=400)
    company.bob.post("alert-targets", HOOK | {"lob": None}, expect=403)
    company.bob.post("alert-targets", HOOK | {"lob": "customer-service"})
    company.person("vera", "viewer").post("alert-targets", HOOK, expect=403)


def test_an_alert_is_resolved_by_who_may_and_not_by_a_neighbour(company: Company):
    alert = Alert.objects.create(
        organisation_id=company.organisation.pk, kind="budget_limit", lob="legal", subject="s", message="m",
        unique_key="1", at=now(), cause="contract-clauses on ext-mini: 62 % of it",
    )  # fmt: skip
    company.bob.post(f"alerts/{alert.pk}/resolve", expect=404)
    company.person("vera", "viewer").post(f"alerts/{alert.pk}/resolve", expect=403)
    shown = company.person("olga", "operator").post(f"alerts/{alert.pk}/resolve", expect=200)
    assert shown["resolved_at"] is not None and shown["cause"].startswith("contract-clauses")


def test_a_top_up_takes_two_people_over_rest(company: Company):
    row = factories.make_budget(company.organisation, "lob:legal", "10")
    olga, fiona = company.person("olga", "operator"), company.person("fiona", "finance")
    asked = olga.post(f"budgets/{row.pk}/top-ups", {"amount_usd": "2.50", "reason": "quarter end"})
    assert (asked["state"], asked["amount_usd"], asked["requested_by"]) == ("requested", "2.50", "olga")
    olga.post(f"top-ups/{asked['id']}/approve", expect=403)  # an operator asks, finance decides
    own = fiona.post(f"budgets/{row.pk}/top-ups", {"amount_usd": "1", "reason": "mine"})
    assert fiona.post(f"top-ups/{own['id']}/approve", expect=409)["code"] == "approval_required"
    assert company.alice.post(f"top-ups/{own['id']}/refuse", expect=200)["state"] == "refused"
    done = fiona.post(f"top-ups/{asked['id']}/approve", expect=200)
    assert (done["state"], done["decided_by"]) == ("approved", "fiona")
    assert fiona.post(f"top-ups/{asked['id']}/approve", expect=409)["code"] == "already_decided"
    assert sum(nusd for _, nusd in limit_of(Budget.objects.get()).extras) == 2_500_000_000
    assert [t["id"] for t in fiona.get(f"budgets/{row.pk}/top-ups")["results"]] == [own["id"], asked["id"]]


def test_a_neighbour_sees_no_top_up_and_decides_none(company: Company):
    row = factories.make_budget(company.organisation, "lob:legal", "10")
    asked = company.alice.post(f"budgets/{row.pk}/top-ups", {"amount_usd": "1", "reason": "r"})
    company.bob.post(f"budgets/{row.pk}/top-ups", {"amount_usd": "1", "reason": "r"}, expect=404)
    company.bob.get(f"budgets/{row.pk}/top-ups", expect=404)
    company.bob.get(f"top-ups/{asked['id']}", expect=404)
    for decision in ("approve", "refuse"):
        company.bob.post(f"top-ups/{asked['id']}/{decision}", expect=404)
    assert company.bob.get("top-ups")["results"] == []
    company.person("vera", "viewer").post(
        f"budgets/{row.pk}/top-ups", {"amount_usd": "1", "reason": "r"}, expect=403
    )


@pytest.mark.parametrize(
    "body",
    [
        {"amount_usd": "0"},
        {"amount_usd": "-1"},
        {"reason": ""},
        {"reason": "  "},
        {"period": "last"},
        {"extra": 1},
    ],
)
def test_what_is_wrong_with_a_top_up_is_located(company: Company, body: dict):
    row = factories.make_budget(company.organisation, "lob:legal", "10")
    sound = {"amount_usd": "1", "reason": "because", "period": "next"}
    assert (
        company.alice.post(f"budgets/{row.pk}/top-ups", sound | body, expect=400)["errors"][0]["path"] in body
    )


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"period": "total", "rollover": True}, "rollover"),
        ({"rollover_cap_usd": "5"}, "rollover_cap_usd"),
        ({"covers": "labels", "action": "throttle"}, "action"),
        ({"covers": "labels", "scope": "application:desk"}, "scope"),
        ({"covers": "everything"}, "covers"),
    ],
)
def test_a_budget_whose_parts_do_not_go_together_is_refused(company: Company, body: dict, path: str):
    factories.make_application(company.legal, "desk")
    sound = {"scope": "lob:legal", "limit_usd": "1", "period": "day", "action": "stop"}
    assert company.alice.post("budgets", sound | body, expect=400)["errors"][0]["path"] == path


def test_a_budget_of_labels_stands_beside_that_of_everything_and_rolls_over(company: Company):
    body = {"scope": "lob:legal", "limit_usd": "1", "period": "day"}
    company.alice.post("budgets", body)
    made = company.alice.post(
        "budgets", body | {"covers": "labels", "rollover": True, "rollover_cap_usd": "0.5"}
    )
    assert (made["covers"], made["rollover"], made["rollover_cap_usd"]) == ("labels", True, "0.50")
    company.alice.patch(f"budgets/{made['id']}", {"covers": "all"}, expect=400)
    company.alice.patch(f"budgets/{made['id']}", {"rollover": False}, expect=400)
    shown = company.alice.patch(f"budgets/{made['id']}", {"rollover": False, "rollover_cap_usd": None})
    assert shown["rollover_cap_usd"] is None
