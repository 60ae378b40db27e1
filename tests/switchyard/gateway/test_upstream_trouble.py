"""Upstreams that fail: who is asked next, what the caller hears, what is charged."""

from __future__ import annotations

import time

import pytest

from tests.fakes import upstream
from tests.fakes.gateway import RunningGateway

CHAT = {"model": "chatter", "messages": [{"role": "user", "content": "hi"}]}
LEGAL = {"model": "contract-clauses", "input": "The party of the first part."}


@pytest.mark.parametrize(
    "fault",
    [upstream.status(500), upstream.status(429), upstream.status(401), upstream.garbage(), upstream.reset()],
)
def test_a_failing_first_choice_falls_back_to_the_private_side(
    gateway: RunningGateway, fault: upstream.Fault
) -> None:
    gateway.external.always(fault)
    with gateway.client() as client:
        reply = client.post("/v1/chat/completions", json=CHAT)
    assert reply.status_code == 200 and reply.headers["x-switchyard-route"] == "private"
    event = gateway.events()[0]
    assert [a["status"] for a in event["attempts"]] == ["error", "ok"]
    assert event["attempts"][0]["cost_nusd"] == 0 and event["side"] == "private"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("hop", "lob", "calls"), [("fallback", "customer-service", 0), ("retry", "legal", 1)]
)
def test_policy_is_asked_again_for_each_hop_and_its_no_ends_the_plan(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch, hop: str, lob: str, calls: int, stream: bool
) -> None:
    """Whatever the plan said: between it and the hop something may have been learned."""
    world = gateway.front.keeper.world.organisations[gateway.company.organisation.pk]
    monkeypatch.setattr(
        type(world.policies), "permits", lambda self, facts, target, kind, *, masked=False: kind != hop
    )
    for side in (gateway.external, gateway.private):
        side.always(upstream.status(500))
    model = "chatter" if lob == "customer-service" else "memo"
    with gateway.client(lob) as client:
        reply = client.post("/v1/chat/completions", json=CHAT | {"model": model, "stream": stream})
    assert reply.status_code in (502, 503) and len(gateway.private.seen) == calls


def test_what_the_upstream_rejects_is_the_callers_to_mend_and_nobody_else_is_asked(
    gateway: RunningGateway,
) -> None:
    gateway.external.always(upstream.status(422, message="temperature must be under 2"))
    with gateway.client() as client:
        reply = client.post("/v1/chat/completions", json=CHAT)
    assert reply.status_code == 422 and reply.json()["error"]["code"] == "upstream_rejected"
    assert "temperature" in reply.json()["error"]["message"] and gateway.private.seen == []


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (upstream.status(500), 502, "upstream_error"),
        (upstream.status(429, retry_after=9), 503, "upstream_busy"),
        (upstream.status(403), 502, "upstream_misconfigured"),
        (upstream.garbage("{}"), 502, "upstream_error"),
    ],
)
def test_when_everybody_fails_the_last_failure_has_its_own_code(
    gateway: RunningGateway, fault: upstream.Fault, status: int, code: str
) -> None:
    gateway.external.always(fault)
    gateway.private.always(fault)
    with gateway.client() as client:
        reply = client.post("/v1/chat/completions", json=CHAT)
    assert (reply.status_code, reply.json()["error"]["code"]) == (status, code)
    if status == 503:
        assert reply.headers["retry-after"] == "9" and reply.headers["x-should-retry"] == "false"
    assert gateway.events()[0]["error_code"] == code


@pytest.mark.parametrize("fault", [upstream.status(500), upstream.reset(), upstream.status(503)])
def test_confidential_work_waits_for_its_own_side_and_never_leaves(
    gateway: RunningGateway, fault: upstream.Fault
) -> None:
    gateway.private.always(fault)
    with gateway.client("legal") as client:
        reply = client.post("/v1/classifications", json=LEGAL)
        declared = client.post("/v1/chat/completions", json=CHAT | {"model": "memo"})
    for answer in (reply, declared):
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "residency_capacity_unavailable"
        assert answer.headers["retry-after"]
    assert gateway.external.seen == []


def test_a_header_that_raises_the_class_keeps_the_request_home(gateway: RunningGateway) -> None:
    with gateway.client(**{"X-Switchyard-Sensitivity": "restricted"}) as client:
        reply = client.post("/v1/classifications", json={"model": "support-sentiment", "input": "x"})
    assert reply.headers["x-switchyard-route"] == "private" and gateway.external.seen == []
    assert gateway.events()[0]["sealed_answers"] == ""


def test_a_black_hole_ends_at_the_first_token_limit(gateway: RunningGateway) -> None:
    assert gateway.front.office is not None
    gateway.front.office.upstream.first_byte_s = 0.3
    gateway.external.always(upstream.black_hole())
    gateway.private.always(upstream.black_hole())
    began = time.monotonic()
    with gateway.client() as client:
        reply = client.post("/v1/chat/completions", json=CHAT)
    assert reply.status_code == 504 and reply.json()["error"]["code"] == "upstream_timeout"
    assert time.monotonic() - began < 3


def test_a_server_error_is_tried_once_more_where_nobody_else_is_left(gateway: RunningGateway) -> None:
    gateway.private.next(upstream.status(500))
    with gateway.client("legal") as client:
        reply = client.post("/v1/classifications", json=LEGAL)
    assert reply.status_code == 200 and len(gateway.private.seen) == 2
    assert [a["attempt"] for a in gateway.events()[0]["attempts"]] == [0, 1]


def test_a_breaker_that_opened_keeps_a_broken_side_from_being_asked(gateway: RunningGateway) -> None:
    gateway.external.always(upstream.status(500))
    with gateway.client() as client:
        for _ in range(5):
            assert client.post("/v1/chat/completions", json=CHAT).status_code == 200
        asked = len(gateway.external.seen)
        reply = client.post("/v1/chat/completions", json=CHAT)
    assert reply.headers["x-switchyard-route"] == "private" and len(gateway.external.seen) == asked == 5


def test_a_cascade_asks_the_next_only_when_the_small_one_is_unsure_and_pays_for_both(
    gateway: RunningGateway,
) -> None:
    body = {"model": "cascade-intent", "input": "x"}
    with gateway.client() as client:
        sure = client.post("/v1/classifications", json=body)
        gateway.external.manners.confidence = 0.6
        unsure = client.post("/v1/classifications", json=body)
    assert sure.headers["x-switchyard-route"] == "external"
    assert unsure.headers["x-switchyard-route"] == "private"
    event = gateway.events(2)[1]
    costs = [a["cost_nusd"] for a in event["attempts"]]
    assert len(costs) == 2 and all(costs) and event["cost_nusd"] == sum(costs)


def test_every_answer_carries_what_the_other_side_would_have_cost(gateway: RunningGateway) -> None:
    with gateway.client() as client:
        home = {"X-Switchyard-Sensitivity": "confidential"}
        client.post("/v1/chat/completions", json=CHAT)
        client.post("/v1/chat/completions", json=CHAT, headers=home)
        body = {"model": "chatter", "messages": [{"role": "user", "content": "hi"}]}
        client.post("/v1/chat/completions", json=body | {"model": "private-a"})
    out, kept, _ = gateway.events(3)
    assert out["side"] == "external"
    assert kept["side"] == "private" and kept["other_side_cost_nusd"] is None  # it could not have left


def test_a_neighbours_decision_is_unknown(gateway: RunningGateway) -> None:
    with gateway.client() as client:
        reply = client.post("/v1/classifications", json={"model": "support-sentiment", "input": "x"})
        decision = reply.headers["x-switchyard-decision-id"]
        mine = client.get(f"/v1/decisions/{decision}")
    with gateway.client("legal") as neighbour:
        theirs = neighbour.get(f"/v1/decisions/{decision}")
        word = neighbour.post("/v1/feedback", json={"decision_id": decision, "correct": True})
    assert mine.status_code == 200 and theirs.status_code == word.status_code == 404
    told = mine.json()
    assert {"facts", "trace", "candidates", "attempts", "policy", "prices", "cost_usd", "other_side_cost_usd",
            "guard"} <= set(told)  # fmt: skip
    assert told["trace"][1]["matched"] is True and told["policy"]["version"].startswith("org@")
    assert {c["deployment"] for c in told["candidates"]} >= {"ext-a", "private-a"}


def test_feedback_by_label_is_judged_against_the_sealed_answer(gateway: RunningGateway) -> None:
    with gateway.client() as client:
        reply = client.post("/v1/classifications", json={"model": "support-sentiment", "input": ["x", "y"]})
        decision = reply.headers["x-switchyard-decision-id"]
        words = [
            {"label": "positive"}, {"label": "negative", "index": 1}, {"score": 0.5}, {"correct": False},
        ]  # fmt: skip
        judged = [client.post("/v1/feedback", json={"decision_id": decision} | w).json() for w in words]
        beyond = client.post("/v1/feedback", json={"decision_id": decision, "index": 2, "correct": True})
        both = client.post("/v1/feedback", json={"decision_id": decision, "correct": True, "score": 1})
    assert [j["correct"] for j in judged] == [True, False, None, False]
    assert judged[2]["score"] == 0.5
    assert beyond.status_code == 404 and both.status_code == 400
    event = gateway.events(5)[1]
    assert event["kind"] == "feedback" and event["workload"] == "support-sentiment"
