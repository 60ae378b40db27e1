"""A version on trial answers its share over the real gateway; where it fails, its callers get the live one's answer."""

from __future__ import annotations

from collections import Counter

import pytest

from modelhub.models import Canary, Deployment, ModelVersion
from modelhub.selectors.tuned import public_name
from tests import factories
from tests.fakes import upstream
from tests.fakes.gateway import RunningGateway


@pytest.fixture
def trial(gateway: RunningGateway) -> RunningGateway:
    """Half of contract-clauses on private-a goes to the version on trial; the same for chat."""
    private = ModelVersion._meta.get_field("deployment").related_model.objects.get(name="private-a")
    for workload in gateway.company.legal.workloads.all():
        live = factories.make_version(private, workload, upstream_model=f"base/{workload.name}")
        new = factories.make_version(
            private, workload, "canary", version="ft", upstream_model=f"base/{workload.name}@ft"
        )
        Canary.objects.create(
            version=new, baseline=live, deployment=private, workload=workload, percent=50, least_answers=1
        )
    gateway.refresh()
    return gateway


def ask(gateway: RunningGateway, user: str) -> str:
    """The model the upstream was asked for last."""
    with gateway.client("legal") as client:
        answer = client.post(
            "/v1/classifications", json={"model": "contract-clauses", "input": ["a clause"], "user": user}
        )
    assert answer.status_code == 200, answer.text
    return gateway.private.seen[-1].body["model"]


def test_callers_are_split_by_who_they_are_and_stay_where_they_are(trial: RunningGateway) -> None:
    first = {f"user-{n}": ask(trial, f"user-{n}") for n in range(40)}
    counts = Counter(first.values())
    assert set(counts) == {"base/contract-clauses", "base/contract-clauses@ft"}
    assert 8 <= counts["base/contract-clauses@ft"] <= 32
    assert {user: ask(trial, user) for user in first} == first
    Canary.objects.update(state="rolled_back")
    trial.refresh()
    assert {ask(trial, user) for user in first} == {"base/contract-clauses"}


def test_a_broken_version_on_trial_costs_nobody_an_answer_and_is_recorded(trial: RunningGateway) -> None:
    async def broken(request, body):
        return await upstream.status(500)(request, body) if body["model"].endswith("@ft") else None

    trial.private.always(broken)
    asked = [ask(trial, f"user-{n}") for n in range(20)]
    assert set(asked) == {"base/contract-clauses"}
    events = [e for e in trial.events(20) if e["kind"] == "usage"]
    failed = [a for e in events for a in e["attempts"] if a["model"].endswith("@ft")]
    assert failed and all(a["status"] == "error" for a in failed)
    assert all(e["status"] == 200 and e["model"] == "base/contract-clauses" for e in events)


def test_streams_fall_back_before_their_first_byte(trial: RunningGateway) -> None:
    async def broken(request, body):
        return await upstream.status(500)(request, body) if body["model"].endswith("@ft") else None

    trial.private.always(broken)
    client = trial.openai("legal")
    for n in range(8):
        stream = client.chat.completions.create(
            model="memo", messages=[{"role": "user", "content": "hi"}], stream=True, user=f"user-{n}"
        )
        words = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
        assert words == "All is well."
    assert any(seen.body["model"] == "base/memo@ft" for seen in trial.private.seen)


def test_a_version_whose_deployment_no_rule_names_is_the_policys_no_and_says_what_to_do(
    gateway: RunningGateway,
) -> None:
    """Nobody answers in its place, and asking again won't help: 403, which no client repeats."""
    chatter = gateway.company.service.workloads.get(name="chatter")
    names = {}
    for deployment in ("ext-llm", "private-a"):
        version = factories.make_version(
            Deployment.objects.get(name=deployment), chatter, "candidate", version="ft", upstream_model="m@ft",
            lineage={"job": "job_1"},
        )  # fmt: skip
        names[deployment] = public_name(version)
    gateway.refresh()
    body = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5}
    with gateway.client() as client:
        refused = client.post("/v1/chat/completions", json=body | {"model": names["ext-llm"]})
        named = client.post("/v1/chat/completions", json=body | {"model": names["private-a"]})
    error = refused.json()["error"]
    assert (refused.status_code, error["code"]) == (403, "policy_denied"), refused.text
    assert "Have ext-llm added to that rule's route" in error["message"] and "chatter" in error["message"]
    assert gateway.external.seen == []
    assert named.status_code == 200 and gateway.private.seen[-1].body["model"] == "m@ft"
