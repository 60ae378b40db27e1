"""REST while a policy is written and before it is published: check, try, difference, what-if, approval, history."""

from __future__ import annotations

import json
from typing import Any

import pytest

from routing.models import WhatIf
from routing.policy.examples import EXAMPLES
from switchyard.jobs.models import Job
from tests import factories
from tests.switchyard.api.company import Company
from tests.switchyard.api.test_policies import DOCUMENT, _draft

OWN = 'rules:\n  - name: ours\n    when: workload.name == "triage"\n    route: {prefer: [home-a]}\n'


@pytest.fixture
def deployed(company: Company) -> Company:
    factories.make_deployment(company.organisation, "ext-a")
    factories.make_deployment(company.organisation, "home-a", side="private")
    factories.make_workload(company.service, "triage", sensitivity="internal")
    factories.make_workload(company.legal, "clauses", sensitivity="confidential", tier="core")
    factories.make_policy(company.organisation, DOCUMENT)
    return company


def test_a_document_is_judged_without_being_kept(deployed: Company):
    before = len(deployed.alice.get("policies")["results"])
    good = deployed.alice.post("policies/check", {"lob": "customer-service", "document": OWN}, expect=200)
    assert good["holds"] and good["rules"] == 1 and good["cases"] > 0
    wrong = OWN.replace("triage", "triage").replace("workload.name", "workload.nmae")
    (fault,) = deployed.alice.post(
        "policies/check/", {"lob": "customer-service", "document": wrong}, expect=200
    )["faults"]
    assert (fault["line"], fault["column"]) == (3, 11)
    found = fault["suggestion"]
    assert wrong[: found["start"]] + found["text"] + wrong[found["end"] :] == OWN
    leak = OWN.replace("triage", "clauses").replace("home-a", "ext-a")
    (fault,) = deployed.alice.post("policies/check", {"lob": "legal", "document": leak}, expect=200)["faults"]
    assert fault["counter_example"]["deployment"] == "ext-a"
    assert len(deployed.alice.get("policies")["results"]) == before


def test_each_hop_is_told_by_rest_before_and_after_saving(deployed: Company):
    told = deployed.alice.post("policies/check", {"lob": "customer-service", "document": OWN}, expect=200)[
        "hops"
    ]
    assert [row["hop"] for row in told[:8]] == [
        "first", "fallback", "retry", "shadow", "judge", "cache", "log", "training",
    ]  # fmt: skip
    verdicts = {row["hop"]: row["verdict"] for row in told[:8]}
    assert verdicts["first"] == "proven" and verdicts["judge"] == "unused" and verdicts["training"] == "held"
    example = next(row["example"] for row in told if row["verdict"] == "held")
    assert example["deployment"] == "ext-a" and example["facts"]["data.sensitivity"] in (
        "confidential",
        "restricted",
    )
    saved = deployed.alice.post("policies", {"lob": "customer-service", "document": OWN})
    assert saved["report"]["hops"] == told


def _rule(when: str) -> str:
    return f"rules: [{{name: x, when: '{when}', route: {{deny: true}}}}]"


@pytest.mark.parametrize(
    "document",
    [
        "", "\x00", "x" * 300_000, "- a", "a: &a [*a]", "[" * 5000, _rule("(" * 1900), _rule("!" * 1500 + "true"), "\ud800",
        "%PDF-1.7\x01\x02", "rules: [" + "{}," * 3000 + "]",
    ],
)  # fmt: skip
def test_nonsense_is_judged_in_words(deployed: Company, document: str):
    body = json.dumps({"document": document})
    told = deployed.alice.client.post("/api/v1/policies/check", body, content_type="application/json")
    assert told.status_code in (200, 400), told.content[:300]
    assert told.json().get("faults") or told.json().get("errors")


def test_who_may_check_and_try_what(deployed: Company):
    vera = deployed.person("vera", "viewer")
    vera.post("policies/check", {"lob": "legal", "document": OWN}, expect=403)
    deployed.bob.post(
        "policies/check", {"lob": "legal", "document": OWN}, expect=400
    )  # not one of his: unknown to him
    deployed.bob.post("policies/check", {"document": DOCUMENT}, expect=403)
    deployed.bob.post("policies/try", {"document": DOCUMENT, "facts": {}}, expect=403)


def test_an_unsaved_document_is_tried_beside_what_is_live(deployed: Company):
    asked = {"facts": {"workload": {"name": "triage"}}}
    out = deployed.bob.post("policies/try", {"lob": "customer-service", "document": OWN} | asked, expect=200)
    assert (out["deployment"], out["policy"]["version"]) == ("home-a", "org@1+customer-service@draft")
    assert (out["live"]["deployment"], out["live"]["policy"]["version"]) == ("ext-a", "org@1")
    faults = deployed.bob.post(
        "policies/try", {"lob": "customer-service", "document": "rules: 7"} | asked, expect=400
    )
    assert faults["errors"][0]["line"] == 1
    deployed.bob.post("policies/try", {"lob": "customer-service", "document": OWN}, expect=400)


def test_a_difference_is_told_by_rule(deployed: Company):
    first = _draft(deployed)
    second = _draft(deployed, DOCUMENT.replace("fallback: [home-a]", "fallback: []"))
    told = deployed.alice.get(f"policies/{second['id']}/diff", against=first["id"])
    assert [(c["name"], c["kinds"]) for c in told["rules"]] == [("intents may leave", ["changed"])]
    assert told["rules"][0]["details"] == [{"field": "fallback", "old": "home-a", "new": ""}]


def test_a_what_if_is_queued_and_read(deployed: Company):
    draft = _draft(deployed, OWN, "customer-service")
    queued = deployed.bob.post(f"policies/{draft['id']}/what-if", {"days": 3}, expect=202)
    assert Job.objects.get(pk=queued["job"]).kind == "what_if"
    told = deployed.bob.get(f"policies/{draft['id']}/what-if")
    assert (told["id"], told["state"], told["report"]) == (queued["what_if"], "waiting", None)
    for days in (0, 91, "many", None):
        deployed.bob.post(f"policies/{draft['id']}/what-if", {"days": days}, expect=400)
    deployed.bob.post(f"policies/{draft['id']}/what-if", {"days": 3, "against": "pol_nobody"}, expect=404)
    deployed.alice.get(f"policies/{_draft(deployed)['id']}/what-if", expect=404)  # none was asked for
    cleo = deployed.person("cleo", "admin", deployed.legal)
    cleo.get(f"policies/{draft['id']}/what-if", expect=404)
    cleo.post(f"policies/{draft['id']}/what-if", {"days": 3}, expect=404)


def test_a_report_on_everybody_is_narrowed_to_the_readers_lines(deployed: Company):
    from routing.models import Policy
    from tests.switchyard.dashboards.what_if_report import report

    policy = Policy.objects.get(pk=_draft(deployed)["id"])
    WhatIf.objects.create(id="wif_1", policy=policy, days=7, report=report(policy))
    assert deployed.alice.get(f"policies/{policy.pk}/what-if")["report"]["totals"]["requests"] == 1200
    told = deployed.bob.get(f"policies/{policy.pk}/what-if")["report"]
    assert told["totals"] is None and {r["lob"] for r in told["lobs"] + told["movers"]} == {
        "customer-service"
    }
    assert "legal" not in str(told) and "dec_" not in str(told), "no sample that he may not open"


def test_an_approval_from_asking_to_publishing(deployed: Company):
    deployed.organisation.four_eyes = True
    deployed.organisation.save()
    draft = _draft(deployed, OWN, "customer-service")
    row = deployed.alice.post(f"policies/{draft['id']}/ask-approval", {"note": "please"})
    assert (row["state"], row["stale"], row["requested_by"]) == ("requested", False, "alice")
    assert row["evidence"]["report"]["cases"] > 0
    deployed.alice.post(f"policy-approvals/{row['id']}/approve", {}, expect=409)
    deployed.alice.post(f"policies/{draft['id']}/publish", {}, expect=409)
    paul = deployed.person("paul", "policy_approver", deployed.service)
    assert [r["id"] for r in paul.get("policy-approvals", state="requested")["results"]] == [row["id"]]
    paul.post(f"policy-approvals/{row['id']}/send-back", {"reason": ""}, expect=400)
    assert (
        paul.post(f"policy-approvals/{row['id']}/approve", {"reason": "read"}, expect=200)["decided_by"]
        == "paul"
    )
    assert deployed.alice.post(f"policies/{draft['id']}/publish", {}, expect=200)["state"] == "live"
    events = deployed.alice.get("policies/history", lob="customer-service")["results"]
    assert [e["action"] for e in events][:2] == ["published", "approved"]


def test_approvals_and_history_from_the_neighbours_side_and_by_role(deployed: Company):
    draft = _draft(deployed, OWN, "customer-service")
    row = deployed.bob.post(f"policies/{draft['id']}/ask-approval", {})
    cleo = deployed.person("cleo", "policy_approver", deployed.legal)
    assert cleo.get("policy-approvals")["results"] == []
    cleo.get(f"policy-approvals/{row['id']}", expect=404)
    for action, body in (("approve", {}), ("send-back", {"reason": "no"})):
        cleo.post(f"policy-approvals/{row['id']}/{action}", body, expect=404)
    cleo.get("policies/history", lob="customer-service", expect=404)
    vera = deployed.person("vera", "viewer")
    vera.post(f"policy-approvals/{row['id']}/approve", {}, expect=403)
    ann = deployed.person("ann", "policy_author")
    ann.post(f"policy-approvals/{row['id']}/approve", {}, expect=403)
    paul = deployed.person("paul", "policy_approver")
    paul.post(f"policy-approvals/{row['id']}/withdraw", {}, expect=403)
    assert ann.post(f"policy-approvals/{row['id']}/withdraw", {}, expect=200)["state"] == "withdrawn"
    paul.get("policy-approvals/apr_nobody", expect=404)


def test_every_fact_is_told_with_an_example_and_its_place(company: Company):
    rows: list[dict[str, Any]] = company.alice.get("policies/facts")["results"]
    assert {r["name"]: r["example"] for r in rows} == dict(EXAMPLES)
    assert {r["in"] for r in rows} == {"rules and invariants", "invariants"}
