"""The OpenAPI document is whole and true: drawn without a warning, and no request that fits it ends in a 5xx."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import schemathesis
from django.core.handlers.wsgi import WSGIHandler
from django.core.management import call_command
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.generation.modes import GenerationMode

from costs.models import Price
from switchyard.jobs.services import submit_once
from switchyard.tenancy.models import User
from switchyard.tenancy.services import create_token
from switchyard.urls import RESOURCES
from tests import factories
from tests.switchyard.api.company import Company, make_company

CALM = settings(
    max_examples=2, deadline=None, phases=[Phase.generate], derandomize=True, database=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip


def test_the_schema_is_drawn_without_a_warning(tmp_path: Any):
    call_command("spectacular", validate=True, fail_on_warn=True, file=str(tmp_path / "schema.yml"))


@pytest.mark.parametrize("path", ["schema", "schema/", "docs", "docs/"])
def test_schema_and_documentation_answer_members(company: Company, path: str):
    assert company.alice.client.get(f"/api/v1/{path}").status_code == 200


def test_every_resource_is_in_the_schema(company: Company):
    paths = company.alice.client.get("/api/v1/schema/?format=json").json()["paths"]
    assert {f"/api/v1/{name}/" for name in RESOURCES} <= set(paths)
    for name in ("try", "validate", "publish", "rollback", "diff"):
        assert f"/api/v1/policies/{{id}}/{name}/" in paths


@pytest.mark.timeout(300)  # seconds of work, but of both cores' work
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_no_request_ends_in_a_server_error(transactional_db: None, mode: GenerationMode):
    """A few examples of each operation, as administrator, on rows that are there, through the whole of Django."""
    company = make_company()
    names = _furnish(company)
    _, token = create_token(user=User.objects.get(username="alice"), name="schemathesis")
    headers = {"Authorization": f"Bearer {token}"}
    schema = schemathesis.openapi.from_wsgi("/api/v1/schema/?format=json", WSGIHandler(), headers=headers)
    tried: Counter[int] = Counter()

    def call(case: Any) -> None:
        resource = case.path.split("/")[3]
        if resource in names and "id" in case.path_parameters:
            case.path_parameters["id"] = names[resource]
        response = case.call(headers=headers)
        tried[response.status_code] += 1
        assert response.status_code < 500, (case.method, case.path, case.body, response.text[:500])

    for result in schema.get_all_operations():
        operation = result.ok()
        plain = operation.method == "get" and operation.path.endswith("{id}/")  # nothing but the id to vary
        if operation.method != "delete" and not plain:  # the rows are there for the others
            CALM(given(case=operation.as_strategy(generation_mode=mode))(call))()
    assert sum(tried.values()) > 100 and tried[200] > 10, tried


def _furnish(company: Company) -> dict[str, str]:
    """One of most things: resource → what names it."""
    key, _ = factories.make_key(factories.make_application(company.service, "desk"))
    workload = factories.make_workload(company.service, "triage")
    deployment = factories.make_deployment(company.organisation, "ext-a")
    factories.make_node(company.organisation, "gpu-1")
    factories.make_budget(company.organisation)
    job = submit_once(kind="evaluation", organisation=company.organisation, lob=company.service, params={})
    return {
        "lobs": "customer-service", "applications": "desk", "keys": key.pk, "workloads": "triage", "deployments": "ext-a",
        "models": str(factories.make_version(deployment, workload).pk), "nodes": "gpu-1", "budgets": "organisation",
        "policies": factories.make_policy(company.organisation).pk, "jobs": job.pk, "users": "bob", "reports": "spend",
        "prices": str(Price.objects.get().pk),
    }  # fmt: skip
