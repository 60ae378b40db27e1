"""A shadow version on real requests in the gateway: recorded, never called, crossings counted, harm kept out."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from routing.rollout import beside
from routing.services.policies import create_draft
from routing.services.shadows import start_shadow
from tests.fakes.gateway import RunningGateway

HOME = "rules:\n  - {name: home, when: true, route: {prefer: [private-a]}}\n"


@pytest.fixture(autouse=True)
def every_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside, "SAMPLE_EVERY", 1)


def shadow(gateway: RunningGateway, document: str, lob: Any) -> Any:
    draft = create_draft(organisation=gateway.company.organisation, lob=lob, document=document, user=None)
    start_shadow(policy=draft, user=None)
    gateway.refresh()
    return draft


def asked(
    gateway: RunningGateway,
    body: dict[str, Any],
    path: str = "classifications",
    lob: str = "customer-service",
) -> Any:
    with gateway.client(lob) as client:
        return client.post(
            f"/v1/{path}", content=orjson.dumps(body), headers={"content-type": "application/json"}
        )


def test_what_a_shadow_would_have_done_is_recorded_and_nobody_is_called(gateway: RunningGateway) -> None:
    draft = shadow(gateway, HOME, gateway.company.service)
    reply = asked(gateway, {"model": "support-sentiment", "input": "fine"})
    assert (reply.status_code, reply.headers["x-switchyard-model"]) == (200, "ext-a")
    [event] = gateway.events()
    [said] = event["beside"]
    assert said["policy"] == draft.pk
    assert (said["live"], said["hop"], said["live_side"], said["side"]) == (
        "ext-a",
        "private-a",
        "external",
        "private",
    )
    assert said["crosses"] == 0 and said["worst_nusd"] > 0
    assert not gateway.private.seen and len(gateway.external.seen) == 1


def test_streams_and_refusals_are_seen_too(gateway: RunningGateway) -> None:
    shadow(gateway, HOME, gateway.company.service)
    chat = {"model": "chatter", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    assert asked(gateway, chat, "chat/completions").status_code == 200
    [event] = gateway.events()
    assert event["beside"][0]["hop"] == "private-a"


def test_what_would_leave_against_an_invariant_in_force_is_counted(gateway: RunningGateway) -> None:
    """An organisation's draft without the invariant: its own engine lets the request out, the one in force would not."""
    loose = "rules:\n  - {name: out, when: true, route: {prefer: [ext-a]}}\ndefault: deny\n"
    shadow(gateway, loose, None)
    assert asked(gateway, {"model": "contract-clauses", "input": "x"}, lob="legal").status_code == 200
    [event] = gateway.events()
    assert (event["deployment"], event["beside"][0]["hop"], event["beside"][0]["crosses"]) == (
        "private-a",
        "ext-a",
        1,
    )
    assert not gateway.external.seen


def test_a_neighbours_shadow_says_nothing_about_ours(gateway: RunningGateway) -> None:
    shadow(gateway, HOME, gateway.company.legal)
    asked(gateway, {"model": "support-sentiment", "input": "fine"})
    assert "beside" not in gateway.events()[0] or gateway.events()[0]["beside"] == []


def test_a_shadow_that_breaks_harms_nobody(gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    draft = shadow(gateway, HOME, gateway.company.service)
    [world] = gateway.front.keeper.world.organisations.values()
    [trial] = world.trials

    def broken(*args: Any, **kwargs: Any) -> Any:
        raise KeyError("no such fact")

    monkeypatch.setattr(
        type(trial.policies), "decide", _only_for(trial.policies, broken, type(trial.policies).decide)
    )
    assert asked(gateway, {"model": "support-sentiment", "input": "fine"}).status_code == 200
    assert gateway.events()[0]["beside"] == [{"policy": draft.pk, "error": "KeyError"}]


def _only_for(policies: Any, broken: Any, real: Any) -> Any:
    return lambda self, *args, **kwargs: (broken if self is policies else real)(
        *((self,) if self is not policies else ()), *args, **kwargs
    )


def test_one_request_in_four_is_asked(gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside, "SAMPLE_EVERY", 4)
    shadow(gateway, HOME, gateway.company.service)
    for _ in range(60):
        asked(gateway, {"model": "support-sentiment", "input": "fine"})
    sampled = sum(bool(event.get("beside")) for event in gateway.events(60))
    assert 4 <= sampled <= 28
