"""Who gets in, who may write, what a neighbour can't see, and that nobody makes an account above their own."""

from __future__ import annotations

from datetime import timedelta

import pytest

from costs.models import Alert, LedgerEntry
from modelhub.models import BiasAudit, Dataset, Evaluation
from routing.models import DecisionRecord, Interception
from switchyard.core.clock import now
from switchyard.jobs.services import submit_once
from switchyard.tenancy.models import LineOfBusiness, Membership, User
from switchyard.tenancy.services import create_token
from tests import factories
from tests.switchyard.api.company import Caller, Company, caller_of

EVERY_LIST = [
    "lobs", "applications", "keys", "workloads", "users", "service-accounts", "roles", "audit-log", "deployments",
    "models", "datasets", "evaluations", "audits", "fine-tunes", "jobs", "policies", "decisions", "interceptions",
    "nodes", "prices", "exchange-rates", "budgets", "ledger", "alerts", "alert-targets", "top-ups", "reports",
]  # fmt: skip


@pytest.mark.parametrize("resource", EVERY_LIST)
def test_without_a_token_it_is_401_and_without_a_membership_403(company: Company, resource: str):
    assert Caller().get(resource, expect=401)["code"] == "not_authenticated"
    company.charlie.get(resource, expect=403)
    assert set(company.bob.get(resource)) >= {"results", "next"}


def test_a_key_of_v1_is_no_token_here(company: Company):
    _, plain = factories.make_key(factories.make_application(company.service))
    assert plain.startswith("sy_")
    assert "key of /v1" in Caller(plain).get("lobs", expect=401)["title"]


@pytest.mark.parametrize("header", ["Bearer", "Bearer a b", "Bearer nonsense", "Basic YTpi", "bearer \xe9"])
def test_a_header_that_is_no_token_is_401(company: Company, header: str):
    caller = Caller()
    caller.client.credentials(HTTP_AUTHORIZATION=header)
    caller.get("lobs", expect=401)


def test_expired_and_revoked_tokens_and_resting_accounts_are_401(company: Company):
    user = factories.make_user("dora", company.organisation, "viewer")
    _, expired = create_token(user=user, name="old", expires_at=now() - timedelta(seconds=1))
    Caller(expired).get("lobs", expect=401)
    token, plain = create_token(user=user, name="new")
    Caller(plain).get("lobs")
    company.alice.patch("users/dora", {"is_active": False})
    Caller(plain).get("lobs", expect=401)
    company.alice.patch("users/dora", {"is_active": True})
    token.revoked_at = now()
    token.save()
    Caller(plain).get("lobs", expect=401)


def test_a_plain_key_is_in_the_answer_to_post_and_nowhere_else(company: Company):
    factories.make_application(company.legal, "contracts")
    body = {
        "application": "contracts",
        "name": "nightly",
        "limits": {"rpm": 5},
        "expires_at": "2999-01-01T00:00:00Z",
    }
    made = company.alice.post("keys", body)
    assert (
        made["key"].startswith("sy_live_") and made["application"] == "contracts" and made["lob"] == "legal"
    )
    shown = company.alice.get(f"keys/{made['id']}")
    assert "key" not in shown and shown["limits"]["rpm"] == 5
    assert made["key"] not in company.alice.client.get("/api/v1/keys").content.decode()
    assert made["key"] not in company.alice.client.get("/api/v1/audit-log").content.decode()
    assert company.alice.patch(f"keys/{made['id']}", {"limits": {"rpm": 6}})["limits"]["rpm"] == 6
    company.alice.delete(f"keys/{made['id']}")
    assert company.alice.get(f"keys/{made['id']}")["revoked_at"] is not None
    past = body | {"expires_at": "2001-01-01"}
    assert company.alice.post("keys", past, expect=400)["errors"][0]["path"] == "expires_at"


def test_an_upstream_key_is_written_and_never_read(company: Company):
    body = {"name": "v", "side": "external", "base_url": "http://localhost:9/v1", "api_key": "sk-upstream", "model": "m",
            "tasks": ["chat"]}  # fmt: skip
    made = company.alice.post("deployments", body)
    assert "api_key" not in made and "sealed_api_key" not in made
    for path in ("deployments", "deployments/v", "audit-log"):
        assert "sk-upstream" not in company.alice.client.get(f"/api/v1/{path}").content.decode()
    from modelhub.models import Deployment

    row = Deployment.objects.get(name="v")
    assert row.api_key == "sk-upstream" and "sk-upstream" not in row.sealed_api_key


def test_a_service_account_gets_its_token_once_and_it_works(company: Company):
    made = company.alice.post("service-accounts", {"name": "ci", "role": "operator", "lobs": ["legal"]})
    assert made["id"] and made["roles"] == [{"role": "operator", "lobs": ["legal"]}]
    assert "token" not in company.alice.get("service-accounts/ci")
    robot = Caller(made["token"])
    assert [row["slug"] for row in robot.get("lobs")["results"]] == ["legal"]
    company.alice.delete("service-accounts/ci")
    robot.get("lobs", expect=401)


WRITES = {  # who may, besides administrators
    "lobs": ("operator", {"slug": "x", "name": "X"}),
    "applications": ("operator", {"name": "A", "lob": "legal"}),
    "workloads": ("model_engineer", {"name": "w", "lob": "legal", "task": "chat"}),
    "nodes": ("finance", {"name": "n", "usd_per_hour": "1"}),
    "budgets": ("finance", {"scope": "organisation", "limit_usd": "1"}),
    "policies": ("policy_author", {"lob": None, "document": factories.ORGANISATION_POLICY}),
}


@pytest.mark.parametrize("resource", WRITES)
def test_a_role_writes_its_own_resources_and_a_viewer_none(company: Company, resource: str):
    role, body = WRITES[resource]
    company.person("vera", "viewer").post(resource, body, expect=403)
    other = "risk" if role != "risk" else "viewer"
    company.person("oscar", other).post(resource, body, expect=403)
    company.person("rosa", role).post(resource, body)


def test_publishing_takes_an_approver(company: Company):
    author, approver = company.person("ann", "policy_author"), company.person("bea", "policy_approver")
    made = author.post("policies", {"lob": None, "document": factories.ORGANISATION_POLICY})
    author.post(f"policies/{made['id']}/publish", {}, expect=403)
    assert approver.post(f"policies/{made['id']}/publish", {}, expect=200)["state"] == "live"


def test_a_role_reaches_no_further_than_it_was_given(company: Company):
    """Operator of customer-service and viewer of everything: sees legal, writes only at home."""
    user = factories.make_user("mixed", company.organisation, "operator", (company.service,))
    Membership.objects.create(user=user, organisation=company.organisation, role="viewer")
    mixed = caller_of(user)
    assert len(mixed.get("lobs")["results"]) == 2
    mixed.post("applications", {"name": "at home", "lob": "customer-service"})
    mixed.post("applications", {"name": "next door", "lob": "legal"}, expect=400)
    mixed.patch("lobs/legal", {"name": "Lawless"}, expect=404)
    mixed.post("lobs", {"slug": "new", "name": "New"}, expect=403)


def test_deleting_the_only_line_of_business_of_a_role_takes_the_role_with_it(company: Company):
    company.alice.delete("lobs/customer-service")
    company.bob.get("lobs", expect=403)
    assert not Membership.objects.filter(user__username="bob").exists()


# --- the neighbour's side -----------------------------------------------------------------------------------------


@pytest.fixture
def legal_things(company: Company) -> dict[str, str]:
    """One of everything of legal's: resource → what names it."""
    legal, organisation = company.legal, company.organisation
    application = factories.make_application(legal, "contracts")
    key, _ = factories.make_key(application)
    workload = factories.make_workload(legal, "clauses")
    deployment = factories.make_deployment(organisation, "legal-only", lobs=(legal,))
    version = factories.make_version(deployment, workload)
    policy = factories.make_policy(organisation, "rules: []\n", legal)
    job = submit_once(kind="fine_tune", organisation=organisation, lob=legal, params={})
    factories.make_budget(organisation, "lob:legal")
    factories.make_user("lena", organisation, "viewer", (legal,))
    factories.make_user("robot", organisation, "viewer", (legal,), is_service=True)
    names = {"organisation_id": organisation.pk, "lob": "legal", "at": now()}
    decision = DecisionRecord.objects.create(
        id="dec_1", request_id="req_1", endpoint="chat/completions", sensitivity="internal", policy_version="org@1",
        policy_hash="0", **names,
    )  # fmt: skip
    row = Interception.objects.create(
        decision_id=decision.pk,
        kind="harm",
        score=0.9,
        threshold=0.5,
        mode="observe",
        withheld=False,
        **names,
    )
    entry = LedgerEntry.objects.create(event_id="e1", debit="a", credit="b", amount_nusd=1, **names)
    alert = Alert.objects.create(kind="budget", subject="lob:legal", message="80 %", unique_key="1", **names)
    dataset = Dataset.objects.create(
        id="data_1",
        organisation=organisation,
        lob=legal,
        workload=workload,
        name="rows",
        path="x",
        digest="0",
        rows=9,
    )
    evaluation = Evaluation.objects.create(workload=workload, deployment=deployment, metric="accuracy", n=9)
    audit = BiasAudit.objects.create(workload=workload, teacher="a", student="b", verdict="pass")
    return {
        "lobs": "legal", "applications": "contracts", "keys": key.pk, "workloads": "clauses", "deployments": "legal-only",
        "models": str(version.pk), "policies": policy.pk, "jobs": job.pk, "fine-tunes": job.pk, "budgets": "lob:legal",
        "users": "lena", "service-accounts": "robot", "decisions": "dec_1", "interceptions": str(row.pk),
        "ledger": str(entry.pk), "alerts": str(alert.pk), "datasets": dataset.pk, "evaluations": str(evaluation.pk),
        "audits": str(audit.pk),
    }  # fmt: skip


def test_bob_sees_nothing_of_legals(company: Company, legal_things: dict[str, str]):
    for resource, name in legal_things.items():
        company.alice.get(f"{resource}/{name}")
        company.bob.get(f"{resource}/{name}", expect=404)
        seen = company.bob.client.get(f"/api/v1/{resource}").content.decode()
        assert f'"{name}"' not in seen and '"legal"' not in seen, resource
    assert company.bob.get("audit-log")["results"] == []


def test_bob_changes_nothing_of_legals(company: Company, legal_things: dict[str, str]):
    for resource, name in legal_things.items():
        for call in (company.bob.client.patch, company.bob.client.delete):
            status = call(f"/api/v1/{resource}/{name}", {}, "json").status_code
            assert status in (404, 405), (resource, status)
    for path in (
        f"jobs/{legal_things['jobs']}/cancel",
        f"policies/{legal_things['policies']}/publish",
        f"policies/{legal_things['policies']}/try",
        f"models/{legal_things['models']}/promote",
    ):
        company.bob.post(path, {}, expect=404)


def test_bob_names_nothing_of_legals_in_what_he_makes(company: Company, legal_things: dict[str, str]):
    for resource, body in {
        "applications": {"name": "a", "lob": "legal"},
        "keys": {"application": "contracts", "name": "k"},
        "workloads": {"name": "w", "lob": "legal", "task": "chat"},
        "budgets": {"scope": "lob:legal", "limit_usd": "1"},
        "policies": {"lob": "legal", "document": "rules: []\n"},
        "evaluations": {"workload": "clauses", "deployment": "legal-only"},
        "fine-tunes": {"dataset": "data_1", "deployment": "legal-only"},
    }.items():
        company.bob.post(resource, body, expect=400)
    company.bob.get("reports/spend", expect=404, lob="legal")


def test_what_is_the_whole_organisations_takes_a_role_in_all_of_it(company: Company):
    factories.make_node(company.organisation)
    factories.make_deployment(company.organisation, "shared")
    policy = factories.make_policy(company.organisation)
    bob = company.bob
    bob.post("lobs", {"slug": "x", "name": "X"}, expect=403)
    bob.delete("lobs/customer-service", expect=403)
    bob.post("nodes", {"name": "n", "usd_per_hour": "1"}, expect=403)
    bob.patch("nodes/node-1", {"usd_per_hour": "1"}, expect=403)
    bob.delete("nodes/node-1", expect=403)
    bob.patch("deployments/shared", {"enabled": False}, expect=403)
    bob.delete("deployments/shared", expect=403)
    bob.post("budgets", {"scope": "organisation", "limit_usd": "1"}, expect=400)
    bob.post("policies", {"lob": None, "document": factories.ORGANISATION_POLICY}, expect=403)
    bob.post(f"policies/{policy.pk}/rollback", {}, expect=403)
    assert bob.get(f"policies/{policy.pk}")["state"] == "live"  # it binds him, so he may read it
    bob.get("audit-log", expect=403, verify=1)
    sheet = {
        "deployment": "shared",
        "from": "2030-01-01",
        "input_usd_per_mtok": "1",
        "output_usd_per_mtok": "1",
        "source": "s",
    }
    bob.post("prices", sheet, expect=403)


def test_a_deployment_of_two_shows_each_only_itself(company: Company):
    factories.make_deployment(company.organisation, "both", lobs=(company.legal, company.service))
    assert company.bob.get("deployments/both")["lobs"] == ["customer-service"]
    company.bob.patch("deployments/both", {"enabled": False}, expect=403)
    body = {
        "name": "mine",
        "side": "external",
        "base_url": "http://127.0.0.1:9/v1",
        "model": "m",
        "tasks": ["chat"],
    }
    company.bob.post("deployments", body, expect=400)
    made = company.bob.post("deployments", body | {"lobs": ["customer-service"]})
    assert company.bob.patch("deployments/mine", {"lobs": []}, expect=400) and made["lobs"] == [
        "customer-service"
    ]


# --- nobody makes an account above their own -----------------------------------------------------------------------


def test_only_administrators_make_accounts(company: Company):
    company.person("olga", "operator").post("service-accounts", {"name": "x", "role": "viewer"}, expect=403)


def test_an_account_reaches_no_further_than_its_maker(company: Company):
    bob = company.bob
    assert (
        bob.post("service-accounts", {"name": "a", "role": "viewer"}, expect=400)["errors"][0]["path"]
        == "lobs"
    )
    bob.post("service-accounts", {"name": "a", "role": "viewer", "lobs": []}, expect=400)
    bob.post("service-accounts", {"name": "a", "role": "viewer", "lobs": ["legal"]}, expect=400)
    made = bob.post("service-accounts", {"name": "a", "role": "admin", "lobs": ["customer-service"]})
    assert made["roles"] == [{"role": "admin", "lobs": ["customer-service"]}]
    body = {
        "name": "paul",
        "role": "viewer",
        "lobs": ["customer-service"],
        "password": "long and winding road",
    }
    bob.post("users", body)
    bob.post("users", body | {"name": "pim", "password": "password1234"}, expect=400)


def test_who_holds_more_is_out_of_reach(company: Company):
    """Bob sees somebody who also works for legal, and can neither lift them nor push them out."""
    user = factories.make_user("wide", company.organisation, "viewer", (company.service, company.legal))
    assert company.bob.get("users/wide")["roles"] == [{"role": "viewer", "lobs": ["customer-service"]}]
    company.bob.patch("users/wide", {"is_active": False}, expect=403)
    company.bob.delete("users/wide", expect=403)
    company.bob.patch("users/alice", {"is_active": False}, expect=404)
    assert User.objects.get(pk=user.pk).is_active


def test_a_role_is_changed_whole_and_nobody_changes_their_own(company: Company):
    factories.make_user("nora", company.organisation, "viewer", (company.service,))
    changed = company.bob.patch("users/nora", {"role": "operator", "lobs": ["customer-service"]})
    assert changed["roles"] == [{"role": "operator", "lobs": ["customer-service"]}]
    company.bob.patch("users/nora", {"role": "operator"}, expect=400)
    company.bob.patch("users/nora", {"lobs": []}, expect=400)
    company.alice.patch("users/alice", {"role": "viewer"}, expect=409)
    company.alice.delete("users/alice", expect=409)
    assert LineOfBusiness.objects.count() == 2
