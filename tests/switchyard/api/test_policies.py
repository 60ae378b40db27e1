"""A policy's life over REST, and what a version would decide, asked without sending anything."""

from __future__ import annotations

from typing import Any

import pytest

from tests import factories
from tests.switchyard.api.company import Company

DOCUMENT = """\
invariants:
  - name: confidential stays home
    never: data.sensitivity >= confidential && target.side == "external"
rules:
  - name: intents may leave
    when: workload.name == "triage" && data.sensitivity < confidential
    route: {prefer: [ext-a], fallback: [home-a]}
  - name: the rest stays
    when: "true"
    route: {prefer: [home-a]}
default: deny
"""


@pytest.fixture
def deployed(company: Company) -> Company:
    factories.make_deployment(company.organisation, "ext-a")
    factories.make_deployment(company.organisation, "home-a", side="private")
    factories.make_workload(company.service, "triage", sensitivity="internal")
    factories.make_workload(company.legal, "clauses", sensitivity="confidential", tier="core")
    return company


def _draft(company: Company, document: str = DOCUMENT, lob: str | None = None) -> dict[str, Any]:
    return company.alice.post("policies", {"lob": lob, "document": document})


def test_a_draft_is_validated_published_rolled_back_and_compared(deployed: Company):
    alice = deployed.alice
    first = _draft(deployed)
    assert first["state"] == "draft" and first["version"] == 1 and first["lob"] is None and first["hash"]
    assert alice.post(f"policies/{first['id']}/validate/", {}, expect=200)["state"] == "validated"
    assert alice.post(f"policies/{first['id']}/publish", {}, expect=200)["state"] == "live"
    second = _draft(deployed, DOCUMENT.replace("prefer: [ext-a], fallback: [home-a]", "prefer: [home-a]"))
    published = alice.post(f"policies/{second['id']}/publish/", {"percent": 50}, expect=200)
    assert published["percent"] == 50 and published["version"] == 2
    diff = alice.get(f"policies/{second['id']}/diff", against=first["id"])["diff"]
    assert "+    route: {prefer: [home-a]}" in diff
    back = alice.post(f"policies/{second['id']}/rollback", {}, expect=200)
    assert back["id"] == first["id"] and back["state"] == "live"
    assert alice.get(f"policies/{second['id']}")["state"] == "superseded"


def test_a_wrong_document_is_refused_with_its_place(deployed: Company):
    wrong = DOCUMENT.replace("workload.name ==", "workload.nmae ==")
    errors = deployed.alice.post("policies", {"document": wrong}, expect=400)["errors"]
    assert errors[0]["line"] == 6, errors
    assert "nmae" in errors[0]["message"]
    for document in ("", "rules: [", "- a\n- b", "rules: 7", "a: &a [*a]", "x" * 200_001, "\x00"):
        assert deployed.alice.post("policies", {"document": document}, expect=400)["errors"]


def test_a_policy_that_would_let_confidential_data_out_is_refused_with_the_request(deployed: Company):
    factories.make_policy(deployed.organisation)
    leak = 'rules:\n  - name: leak\n    when: "true"\n    route: {prefer: [ext-a]}\n'
    errors = deployed.alice.post("policies", {"lob": "legal", "document": leak}, expect=400)["errors"]
    assert "clauses" in str(errors) and "ext-a" in str(errors)


def test_four_eyes_answer_409(deployed: Company):
    deployed.organisation.four_eyes = True
    deployed.organisation.save()
    draft = _draft(deployed)
    assert (
        deployed.alice.post(f"policies/{draft['id']}/publish", {}, expect=409)["code"] == "approval_required"
    )


def test_facts_are_listed_with_their_types(company: Company):
    facts = {row["name"]: row["type"] for row in company.alice.get("policies/facts")["results"]}
    assert facts["data.sensitivity"] == "class" and facts["budget.used_pct"] == "double"


# --- try ------------------------------------------------------------------------------------------------------------


def test_a_draft_is_tried_by_facts_without_being_live(deployed: Company):
    draft = _draft(deployed)
    path = f"policies/{draft['id']}/try"
    out = deployed.alice.post(path, {"facts": {"workload": {"name": "triage"}}}, expect=200)
    assert (out["deployment"], out["route"], out["rule"]) == ("ext-a", "external", "intents may leave")
    assert out["facts"]["workload"]["task"] == "classification" and out["policy"]["version"].startswith(
        "org@1"
    )
    assert {c["deployment"]: c["eligible"] for c in out["candidates"]}["ext-a"] is True
    assert float(out["hops"][0]["worst_case_usd"]) > 0
    home = {"facts": {"workload": {"name": "triage"}, "data": {"sensitivity": "restricted"}}}
    out = deployed.alice.post(path, home, expect=200)
    assert (out["deployment"], out["rule"]) == ("home-a", "the rest stays")
    assert [t["matched"] for t in out["trace"]] == [False, True]


def test_facts_without_a_task_rule_nobody_out(deployed: Company):
    draft = _draft(deployed)
    out = deployed.alice.post(
        f"policies/{draft['id']}/try", {"facts": {"data": {"sensitivity": "public"}}}, expect=200
    )
    assert out["deployment"] == "home-a"


def test_a_request_is_tried_with_what_inspection_finds_in_it(deployed: Company):
    draft = _draft(deployed)
    path = f"policies/{draft['id']}/try/"
    request = {"endpoint": "/v1/classifications", "lob": "customer-service"}
    plain = {"request": request | {"body": {"model": "triage", "input": "Where is my parcel?"}}}
    assert deployed.alice.post(path, plain, expect=200)["route"] == "external"
    personal = {
        "request": request | {"body": {"model": "triage", "input": "My IBAN is DE89 3704 0044 0532 0130 00"}}
    }
    out = deployed.alice.post(path, personal, expect=200)
    assert "iban" in out["facts"]["data"]["entities"]
    assert out["route"] == (
        "private" if out["facts"]["data"]["sensitivity"] in ("confidential", "restricted") else "external"
    )


def test_a_lines_own_policy_is_tried_on_top_of_the_organisations(deployed: Company):
    factories.make_policy(deployed.organisation, DOCUMENT)
    own = 'rules:\n  - name: ours\n    when: workload.name == "triage"\n    route: {prefer: [home-a]}\n'
    draft = deployed.bob.post("policies", {"lob": "customer-service", "document": own})
    path = f"policies/{draft['id']}/try"
    out = deployed.bob.post(path, {"facts": {"workload": {"name": "triage"}}}, expect=200)
    assert (out["deployment"], out["rule"], out["policy"]["version"]) == (
        "home-a",
        "ours",
        "org@1+customer-service@1",
    )
    other = {"facts": {"lob": {"slug": "legal"}}}
    deployed.alice.post(path, other, expect=400)
    deployed.bob.post(path, other, expect=404)
    foreign = {
        "request": {"endpoint": "classifications", "lob": "legal", "body": {"model": "clauses", "input": "x"}}
    }
    deployed.bob.post(path, foreign, expect=404)
    deployed.bob.post(path, foreign | {}, expect=404)


@pytest.mark.parametrize(
    "body",
    [
        {}, [], {"facts": {}, "request": {}}, {"facts": []}, {"facts": {"data": {"sensitivity": "secret"}}},
        {"facts": {"data": {"sensitivty": "public"}}}, {"facts": {"request": {"tokens_in": "many"}}},
        {"facts": {"lob": {"slug": 7}}}, {"request": 7}, {"request": {"endpoint": "nowhere", "body": {}, "lob": "legal"}},
        {"request": {"endpoint": 7}},
        {"request": {"endpoint": "classifications", "body": [], "lob": "legal"}}, {"what": 1},
        {"request": {"endpoint": "classifications", "body": {"model": "clauses"}}},
        {"request": {"endpoint": "classifications", "body": {"model": "clauses", "input": []}, "lob": "legal"}},
        {"request": {"endpoint": "classifications", "body": {"model": "clauses", "input": "x", "n": 10**30}, "lob": "legal"}},
        {"request": {"endpoint": "classifications", "body": {"model": "clauses", "input": "x"}, "lob": ["legal"]}},
    ],
)  # fmt: skip
def test_what_cannot_be_tried_is_refused_with_its_place(deployed: Company, body: Any):
    draft = _draft(deployed)
    assert deployed.alice.post(f"policies/{draft['id']}/try", body, expect=400)["errors"][0]["message"]


def test_a_trial_changes_nothing(deployed: Company):
    draft = _draft(deployed)
    before = deployed.alice.get("audit-log")["results"]
    deployed.alice.post(f"policies/{draft['id']}/try", {"facts": {}}, expect=200)
    assert deployed.alice.get("audit-log")["results"] == before
    assert deployed.alice.get(f"policies/{draft['id']}")["state"] == "draft"
