"""What becomes of live traffic when a policy's world breaks: a deployment is deleted, facts can't be computed; and what is
never saved."""

from __future__ import annotations

from typing import Any

import pytest

from modelhub.models import Deployment
from routing.inspection import collect
from routing.models import Policy
from routing.services import policies
from switchyard.core.errors import ValidationFailed
from tests.fakes.gateway import RunningGateway

ALONE = "rules:\n  - {name: all, when: 'data.sensitivity <= internal', route: {prefer: [ext-a]}}\n"
BACKED = ALONE.replace("[ext-a]}", "[ext-a], fallback: [private-a]}")


def live(gateway: RunningGateway, document: str) -> Policy:
    draft = policies.create_draft(
        organisation=gateway.company.organisation, lob=gateway.company.service, document=document, user=None
    )
    done = policies.publish(policy=draft, user=None)
    gateway.refresh()
    return done


def ask(gateway: RunningGateway, text: str = "fine", **headers: str) -> Any:
    with gateway.client(**headers) as client:
        return client.post("/v1/classifications", json={"model": "support-sentiment", "input": text})


def test_a_deleted_deployment_is_passed_over_or_its_requests_are_refused(gateway: RunningGateway) -> None:
    live(gateway, BACKED)
    assert ask(gateway).headers["x-switchyard-model"] == "ext-a"
    Deployment.objects.get(name="ext-a").delete()
    gateway.refresh()
    reply = ask(gateway)
    assert (reply.status_code, reply.headers["x-switchyard-model"]) == (200, "private-a")
    Deployment.objects.filter(name="private-a").delete()
    gateway.refresh()
    refused = ask(gateway)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "no_deployment_available")
    assert "none of its deployments" in refused.json()["error"]["message"]
    with gateway.client() as client:
        told = client.get(f"/v1/decisions/{refused.headers['x-switchyard-decision-id']}").json()
    assert [step["rule"] for step in told["trace"] if step["matched"]] == ["all"]


def test_facts_that_cannot_be_computed_keep_the_request_at_home(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ask(gateway).headers["x-switchyard-route"] == "external"

    def broken(*_args: Any) -> None:
        raise RuntimeError("no pattern works today")

    monkeypatch.setattr(collect, "_patterns", broken)
    reply = ask(gateway)
    assert (reply.status_code, reply.headers["x-switchyard-route"]) == (200, "private")
    with gateway.client() as client:
        told = client.get(f"/v1/decisions/{reply.headers['x-switchyard-decision-id']}").json()
    assert told["facts"]["data"] == {"sensitivity": "restricted", "entities": ["uninspected"]}
    Deployment.objects.filter(name="private-a").delete()
    gateway.refresh()
    refused = ask(gateway)
    assert refused.status_code == 503 and not gateway.external.seen[1:], "nothing went out for want of a home"


@pytest.mark.parametrize(
    "when",
    ['request.model.matches("^(a+)+$")', 'workload.name.contains("' + "(a+)+" * 300 + '")' + "&&" * 900,
     "!" * 60 + "request.stream", "request.stream" + " || request.stream" * 400, "has(" * 200, "[" * 200 + "1" + "]" * 200],
    ids=["regex", "regex text", "depth", "length", "calls", "lists"],
)  # fmt: skip
def test_an_expression_made_to_hurt_is_never_saved(gateway: RunningGateway, when: str) -> None:
    before = Policy.objects.count()
    document = f"rules:\n  - name: r\n    when: >-\n      {when}\n    route: {{deny: true}}\n"
    with pytest.raises(ValidationFailed) as error:
        policies.create_draft(
            organisation=gateway.company.organisation,
            lob=gateway.company.service,
            document=document,
            user=None,
        )
    fault = error.value.errors[0]
    assert fault["path"] == "rules[0].when" and fault["line"] in (3, 4) and fault["column"] >= 7
    assert Policy.objects.count() == before
