"""From a policy with `learned: true` to the page that tells why: published, asked by chance, recorded, shown."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

from routing.learned import feedback
from routing.learning.models import RoutingFit
from routing.services.policies import create_draft, publish
from routing.services.trial import try_policy
from switchyard.tenancy.querysets import Scope
from tests import factories
from tests.fakes.gateway import RunningGateway
from tests.switchyard.gateway.test_consumer import ledger  # noqa: F401

DOCUMENT = """
rules:
  - name: by each prompt's chance
    when: workload.name == "chatter" && data.sensitivity <= internal
    route: {choose: cheapest, among: [ext-a, private-a], quality_floor: "abs:0.7", learned: true}
"""
SHORT, LONG = "Is it fair?", "A long story. " * 400


@pytest.fixture
def learned(gateway: RunningGateway) -> RunningGateway:
    """ext-a is right on short prompts, private-a on long ones: so says a scorer of the workload's own judged answers."""
    width = len(feedback.FACTS)
    weights = {"ext-a": [1.0, -1.0, *[0.0] * (width - 1)], "private-a": [0.5, 1.0, *[0.0] * (width - 1)]}
    RoutingFit.objects.create(
        organisation_id=gateway.company.organisation.pk, lob="customer-service", workload="chatter", kind="scorer",
        version=1, state="live", n=400,
        values={"centre": [3.6, *[0.0] * (width - 1)], "scale": [1.0] * width, "sketch": "", "weights": weights},
    )  # fmt: skip
    draft = create_draft(
        organisation=gateway.company.organisation, lob=gateway.company.service, document=DOCUMENT, user=None
    )
    publish(policy=draft, user=None)
    gateway.refresh()
    return gateway


def ask(gateway: RunningGateway, text: str) -> Any:
    body = {"model": "chatter", "messages": [{"role": "user", "content": text}]}
    with gateway.client() as client:
        reply = client.post("/v1/chat/completions", json=body)
        assert reply.status_code == 200, reply.text
        decision = client.get(f"/v1/decisions/{reply.headers['x-switchyard-decision-id']}").json()
    return reply, decision


def test_each_prompt_goes_where_it_has_the_better_chance_and_every_surface_says_so(
    learned: RunningGateway,
    ledger: Any,  # noqa: F811
) -> None:
    chosen = {}
    for text in (SHORT, LONG):
        reply, decision = ask(learned, text)
        chosen[text] = reply.headers["x-switchyard-model"]
        assert reply.headers["x-switchyard-policy-version"] == "org@1+customer-service@1"
        chances = {c["deployment"]: c.get("chance") for c in decision["candidates"]}
        best = max(("ext-a", "private-a"), key=lambda name: chances[name])
        assert best == chosen[text] and chances[best] > 0.7 > min(chances["ext-a"], chances["private-a"])
        assert chances.get("ext-llm") is None  # nothing is known of it
    assert chosen == {SHORT: "ext-a", LONG: "private-a"}
    learned.events(2)
    ledger.step()
    client = Client()
    client.force_login(factories.make_user("ada", learned.company.organisation, "admin"))
    page = client.get(f"/decisions/{decision['id']}/").content.decode()
    told = round(max(c["chance"] for c in decision["candidates"] if c.get("chance")) * 100, 1)
    assert f"{told} %" in page and "chance of a right answer" in page


def test_a_trial_tells_the_chances_that_the_gateway_goes_by(learned: RunningGateway) -> None:
    _reply, decision = ask(learned, SHORT)
    live = {c["deployment"]: c["chance"] for c in decision["candidates"] if c.get("chance") is not None}
    policy = learned.company.service.policies.get(version=1)
    body = {"model": "chatter", "messages": [{"role": "user", "content": SHORT}]}
    asked = {"request": {"endpoint": "chat/completions", "body": body, "lob": "customer-service"}}
    scope = Scope(learned.company.organisation.pk, None, None, frozenset({"admin"}))
    told = try_policy(policy, asked, scope)
    rows = {c["deployment"]: c for c in told["candidates"]}
    assert told["learned"] and told["deployment"] == "ext-a"
    for name, chance in live.items():
        assert rows[name]["chance"] == pytest.approx(chance, abs=1e-3) and rows[name]["judged_by"] == "prompt"
        assert rows[name]["threshold"] == 0.7
    assert rows["ext-llm"]["judged_by"] == "nothing" and rows["ext-llm"]["chance"] is None


def test_a_draft_that_would_be_the_first_to_choose_by_chance_is_tried_with_chances(
    learned: RunningGateway,
) -> None:
    """By text, facts, page and command; the live version, which doesn't ask, tells none."""
    home = "rules:\n  - {name: home, when: 'true', route: {prefer: [private-a]}}\n"
    company = learned.company
    plain = create_draft(organisation=company.organisation, lob=company.service, document=home, user=None)
    publish(policy=plain, user=None)
    draft = company.service.policies.get(version=1)
    scope = Scope(company.organisation.pk, None, None, frozenset({"admin"}))
    facts = {"workload": {"name": "chatter"}, "request": {"tokens_in": 3}}
    told = try_policy(draft, {"facts": facts}, scope)
    rows = {c["deployment"]: c for c in told["candidates"]}
    assert rows["ext-a"]["chance"] > rows["ext-a"]["threshold"] == 0.7 > rows["private-a"]["chance"]
    assert told["live"]["learned"] is False and "threshold" not in told["live"]["candidates"][0]
    client = Client()
    client.force_login(factories.make_user("ada", company.organisation, "admin"))
    page = client.post(
        "/policies/try/", {"kind": "text", "workload": "chatter", "text": SHORT, "policy": draft.pk}
    )
    text = page.content.decode()
    assert "Chance of a right answer" in text and "of this prompt" in text and "70.0 %" in text
    by_version = StringIO()
    call_command("policy_try", draft.pk, facts=json.dumps(facts), stdout=by_version)
    assert "chance    ext-a" in by_version.getvalue() and "threshold 0.700" in by_version.getvalue()


def test_without_a_known_chance_the_evaluated_quality_is_told_as_such(learned: RunningGateway) -> None:
    RoutingFit.objects.update(state="retired")
    draft = learned.company.service.policies.get(version=1)
    scope = Scope(learned.company.organisation.pk, None, None, frozenset({"admin"}))
    told = try_policy(draft, {"facts": {"workload": {"name": "chatter"}}}, scope)
    assert told["learned"] and {c["judged_by"] for c in told["candidates"]} == {"nothing"}
    assert told["refusal"] == "no_deployment"
