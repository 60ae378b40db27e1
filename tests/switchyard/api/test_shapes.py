"""Each resource's life: made with 201 and the whole object, listed, found by slug or name, changed, deleted with 204."""

from typing import Any

import pytest

from tests import factories
from tests.switchyard.api.company import Caller, Company

# resource → (body, what names it, a change)
LIVES: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {
    "lobs": (
        {"slug": "sales", "name": "Sales", "limits": {"rpm": 60}},
        "sales",
        {"limits": {"rpm": None, "tpm": 1000}},
    ),
    "applications": (
        {"name": "Help Desk", "lob": "customer-service", "limits": {"concurrency": 2}},
        "help-desk",
        {"name": "Desk"},
    ),
    "workloads": (
        {
            "name": "triage", "lob": "legal", "task": "classification", "tier": "core", "sensitivity": "confidential",
            "metric": "accuracy", "correct_when": "label equals",
        },
        "triage",
        {"sensitivity": "restricted", "correct_rule": {"kind": "within", "relative": 0.15}},
    ),
    "deployments": (
        {
            "name": "vendor-a", "side": "external", "base_url": "http://127.0.0.1:9/v1", "api_key": "secret-of-vendor",
            "model": "gpt-x", "tasks": ["chat", "completion"], "lobs": ["legal"], "max_output_tokens": 256,
            "prices": {"input_usd_per_mtok": "0.25", "output_usd_per_mtok": 1.5},
        },
        "vendor-a",
        {"enabled": False, "max_concurrency": 3},
    ),
    "nodes": (
        {"name": "gpu-1", "usd_per_hour": "2.50", "watts": 700, "planned_utilisation": "0.6"},
        "gpu-1",
        {"usd_per_hour": "2.75"},
    ),
    "budgets": (
        {
            "scope": "lob:legal", "limit_usd": "12.50", "period": "month", "timezone": "Europe/Berlin", "action": "stop",
            "on_outage": "allow",
        },
        "lob:legal",
        {"limit_usd": "20", "action": "warn"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("resource", LIVES)
@pytest.mark.parametrize("slash", ["", "/"])
def test_a_resource_is_made_found_changed_and_deleted(company: Company, resource: str, slash: str):
    body, name, change = LIVES[resource]
    alice = company.alice
    made = alice.post(f"{resource}{slash}", body)
    assert made["id"] and {k for k in body if k != "api_key"} <= set(made)

    listed = alice.get(f"{resource}{slash}")
    assert set(listed) == {"results", "next"} and listed["next"] is None
    assert made in listed["results"]
    assert alice.get(f"{resource}/{name}{slash}") == made == alice.get(f"{resource}/{made['id']}{slash}")

    changed = alice.patch(f"{resource}/{name}{slash}", change)
    assert changed["id"] == made["id"] and changed != made
    alice.delete(f"{resource}/{name}{slash}")
    alice.get(f"{resource}/{name}{slash}", expect=404)


def test_lists_go_on_at_an_absolute_address(company: Company):
    for n in range(5):
        factories.make_application(company.service, f"app-{n}")
    page = company.alice.get("applications", page_size=3)
    assert [row["slug"] for row in page["results"]] == ["app-0", "app-1", "app-2"]
    assert page["next"].startswith("http://testserver/api/v1/applications")
    rest = company.alice.client.get(page["next"]).json()
    assert [row["slug"] for row in rest["results"]] == ["app-3", "app-4"] and rest["next"] is None


def test_limits_are_kept_as_written_and_null_lifts_them(company: Company):
    alice = company.alice
    made = alice.post("lobs", {"slug": "sales", "name": "Sales", "limits": {"rpm": 60, "concurrency": 4}})
    assert made["limits"] == {"rpm": 60, "tpm": None, "concurrency": 4}
    assert alice.patch("lobs/sales", {"limits": {"tpm": 9}})["limits"] == {
        "rpm": 60,
        "tpm": 9,
        "concurrency": 4,
    }
    assert alice.patch("lobs/sales", {"limits": None})["limits"] == dict.fromkeys(
        ("rpm", "tpm", "concurrency")
    )
    for wrong in ({"rpm": 0}, {"rpm": "10"}, {"rpm": True}, {"seats": 1}, [1]):
        assert alice.patch("lobs/sales", {"limits": wrong}, expect=400)["errors"]


def test_money_is_decimal_text_outside_and_exact_inside(company: Company):
    made = company.alice.post("budgets", {"scope": "organisation", "limit_usd": 0.1, "period": "day"})
    assert made["limit_usd"] == "0.10"
    from costs.models import Budget

    assert Budget.objects.get(pk=made["id"]).limit_nusd == 100_000_000


def test_an_application_without_slug_gets_one_that_is_free(company: Company):
    body = {"name": "Café Bot!", "lob": "legal"}
    slugs = [company.alice.post("applications", body)["slug"] for _ in range(2)]
    assert slugs == ["cafe-bot", "cafe-bot-2"]
    twice = {"name": "other", "slug": "cafe-bot", "lob": "customer-service"}
    assert company.alice.post("applications", twice, expect=400)["errors"][0]["path"] == "slug"


def test_names_that_history_keeps_are_said_once(company: Company):
    factories.make_workload(company.legal, "triage")
    factories.make_deployment(company.organisation, "vendor-a")
    for path, body in {
        "lobs/legal": {"slug": "law"},
        "workloads/triage": {"lob": "customer-service"},
        "deployments/vendor-a": {"name": "vendor-b"},
    }.items():
        errors = company.alice.patch(path, body, expect=400)["errors"]
        assert [e["path"] for e in errors] == list(body)


@pytest.mark.parametrize("resource", [*LIVES, "keys", "prices", "users", "service-accounts"])
def test_an_unknown_field_is_refused_by_name(company: Company, resource: str):
    errors = company.alice.post(resource, {"colour": "red"}, expect=400)["errors"]
    assert {"path", "line", "column", "message"} == set(errors[0])
    assert errors[0]["path"] == "colour" and "known are" in errors[0]["message"]


@pytest.mark.parametrize("resource", [*LIVES, "keys", "prices", "users", "service-accounts", "policies"])
@pytest.mark.parametrize("body", ["", [], 7, None])
def test_a_body_that_is_no_object_is_refused(company: Company, resource: str, body: Any):
    response = company.alice.client.post(f"/api/v1/{resource}", body, "json")
    assert response.status_code == 400 and response.json()["errors"]


def test_broken_json_is_refused_in_the_apis_own_shape(company: Company):
    response = company.alice.client.generic("POST", "/api/v1/lobs", b'{"slug": ', "application/json")
    assert response.status_code == 400 and response["content-type"] == "application/problem+json"
    assert response.json()["errors"][0]["message"]


@pytest.mark.parametrize(
    "path",
    ["lobs/%00", "lobs/999999999999999999999999", "keys/%00", "jobs/no-such", "policies/x", "prices/1e9", "ledger/-1",
     "decisions/dec_1", "models/ü", "users/0", "reports/no-such", "budgets/lob:none", "no-such-resource", "schemas/"],
)  # fmt: skip
def test_what_is_not_there_is_404(company: Company, path: str):
    assert company.alice.get(path, expect=404)["code"] == "not_found"


def test_a_cursor_that_was_made_up_is_404(company: Company):
    from base64 import b64encode

    for position in (b"p=yesterday", b"o=x", b"\xff\xff"):
        company.alice.get("jobs", expect=404, cursor=b64encode(position).decode())


def test_two_of_one_name_are_refused(company: Company):
    for resource, (body, _, _) in LIVES.items():
        if resource == "applications":
            continue
        company.alice.post(resource, body)
        assert company.alice.post(resource, body, expect=400)["errors"][0]["path"] in (
            "name",
            "slug",
            "scope",
        )


def test_every_write_is_audited_and_reaches_the_gateway(company: Company):
    from switchyard.tenancy.models import ConfigVersion

    company.alice.post("lobs", {"slug": "sales", "name": "Sales"})
    before = ConfigVersion.objects.get(pk=1).version
    company.alice.patch("lobs/sales", {"name": "Sales, north"})
    company.alice.delete("lobs/sales")
    assert ConfigVersion.objects.get(pk=1).version == before + 2
    log = company.alice.get("audit-log", verify=1)
    actions = [(row["actor"], row["action"], row["target"]) for row in log["results"]]
    assert actions[:3] == [
        ("alice", "lob.deleted", "lob:sales"),
        ("alice", "lob.changed", "lob:sales"),
        ("alice", "lob.created", "lob:sales"),
    ]
    assert log["verified"]["intact"] is True


def test_roles_and_report_names_are_listed(company: Company):
    roles = {row["role"] for row in company.alice.get("roles")["results"]}
    assert {"viewer", "admin", "policy_approver"} <= roles
    assert {"spend", "accuracy"} <= {row["name"] for row in company.alice.get("reports")["results"]}


def test_put_is_refused(company: Company):
    caller: Caller = company.alice
    response = caller.client.put("/api/v1/lobs/legal", {"name": "x"}, "json")
    assert response.status_code == 405 and response["content-type"] == "application/problem+json"
