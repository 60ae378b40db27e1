"""Every response to a known key says which policy version was in force: answers, streams, refusals, errors, look-ups."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.fakes import upstream
from tests.fakes.gateway import RunningGateway

HEADER = "x-switchyard-policy-version"
SENTIMENT = {"model": "support-sentiment", "input": "fine"}


def posted(
    gateway: RunningGateway, path: str, body: Any, lob: str = "customer-service", **headers: str
) -> Any:
    with gateway.client(lob, **headers) as client:
        data = body if isinstance(body, bytes) else orjson.dumps(body)
        return client.post(path, content=data, headers={"content-type": "application/json"})


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/classifications", SENTIMENT, 200),
        ("/v1/chat/completions", {"model": "chatter", "messages": [{"role": "user", "content": "hi"}]}, 200),
        ("/v1/classifications", b"{", 400),
        ("/v1/classifications", {"model": "support-sentiment"}, 400),
        ("/v1/classifications", {"model": "nobody-knows", "input": "x"}, 404),
        ("/v1/nothing", {}, 404),
        ("/v1/feedback", {"decision_id": "dec_x", "correct": True}, 404),
    ],
)
def test_answers_and_errors_carry_it(gateway: RunningGateway, path: str, body: Any, status: int) -> None:
    reply = posted(gateway, path, body)
    assert (reply.status_code, reply.headers[HEADER]) == (status, "org@1")


def test_streams_carry_it(gateway: RunningGateway) -> None:
    body = {"model": "chatter", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    reply = posted(gateway, "/v1/chat/completions", body)
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert reply.headers[HEADER] == "org@1"


def test_refusals_by_policy_and_broken_upstreams_carry_it(gateway: RunningGateway) -> None:
    body = {"model": "support-sentiment", "input": "x"}
    refused = posted(gateway, "/v1/classifications", body, **{"x-switchyard-max-cost-usd": "0.000000001"})
    assert (refused.status_code, refused.headers[HEADER]) == (403, "org@1")
    gateway.private.always(upstream.status(500))
    gateway.external.always(upstream.status(500))
    broken = posted(gateway, "/v1/classifications", body)
    assert broken.status_code in (502, 503) and broken.headers[HEADER] == "org@1"


def test_look_ups_carry_it(gateway: RunningGateway) -> None:
    with gateway.client() as client:
        reply = client.get("/v1/models")
    assert (reply.status_code, reply.headers[HEADER]) == (200, "org@1")


MESSAGE = {"model": "chatter", "max_tokens": 20, "messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/messages", MESSAGE, 200),
        ("/v1/messages", MESSAGE | {"stream": True}, 200),
        ("/v1/messages", MESSAGE | {"messages": []}, 400),
        ("/v1/messages", b"{", 400),
        ("/v1/messages", MESSAGE | {"model": "nobody-knows"}, 404),
        ("/v1/messages/count_tokens", MESSAGE, 200),
        ("/v1/responses", {"model": "chatter", "input": "hi"}, 200),
        ("/v1/responses", {"model": "chatter", "input": "hi", "stream": True}, 200),
        ("/v1/responses", {"model": "chatter", "input": "hi", "background": True}, 200),
        ("/v1/responses", b"{", 400),
        ("/v1/responses", {"model": "nobody-knows", "input": "hi"}, 404),
        ("/v1/responses", {"model": "nobody-knows", "input": "hi", "background": True}, 404),
        ("/v1/batches", {"input_file_id": "file_none", "endpoint": "/v1/chat/completions", "completion_window": "24h"}, 404),
        ("/v1/fine_tuning/jobs", {"model": "private-a", "training_file": "file_none"}, 400),
        ("/v1/moderations", {"input": "x"}, 404),
    ],
)  # fmt: skip
def test_other_dialects_and_endpoints_carry_it(
    gateway: RunningGateway, path: str, body: Any, status: int
) -> None:
    reply = posted(gateway, path, body)
    assert (reply.status_code, reply.headers.get(HEADER)) == (status, "org@1"), reply.text


def test_limits_and_repeated_keys_carry_it(gateway: RunningGateway) -> None:
    key = {"idempotency-key": "once"}
    first = posted(gateway, "/v1/classifications", SENTIMENT, **key)
    again = posted(gateway, "/v1/classifications", SENTIMENT, **key)
    other = posted(gateway, "/v1/classifications", SENTIMENT | {"input": "other"}, **key)
    assert [r.status_code for r in (first, again, other)] == [200, 200, 409]
    row = gateway.company.service
    row.rpm = 1
    row.save(update_fields=["rpm"])
    gateway.refresh()
    limited = [posted(gateway, "/v1/classifications", SENTIMENT) for _ in range(3)]
    assert limited[-1].status_code == 429
    seen = {r.headers.get(HEADER) for r in (first, again, other, *limited)}
    assert seen == {"org@1"}


def test_get_and_delete_carry_it_in_every_dialect(gateway: RunningGateway) -> None:
    with gateway.client() as client:
        replies = [
            client.get("/v1/models", headers={"anthropic-version": "2023-06-01"}), client.get("/v1/models/nobody"),
            client.get("/v1/responses/resp_none"), client.delete("/v1/files/file_none"), client.get("/v1/batches"),
            client.get("/v1/chat/completions"), client.get("/v1/decisions/dec_none"),
        ]  # fmt: skip
    assert {
        r.url.path + f" {r.status_code}": r.headers.get(HEADER)
        for r in replies
        if r.headers.get(HEADER) != "org@1"
    } == {}


def test_a_stranger_is_told_nothing(gateway: RunningGateway) -> None:
    with gateway.client() as client:
        reply = client.get("/v1/models", headers={"authorization": "Bearer sy_wrong"})
    assert reply.status_code == 401 and HEADER not in reply.headers


def test_both_versions_answer_while_one_is_rolled_out(gateway: RunningGateway) -> None:
    from routing.services.policies import create_draft, publish

    document = (
        "rules:\n  - {name: all, when: 'data.sensitivity <= internal', route: {prefer: [ext-a, private-a]}}\n"
    )
    for text, percent in ((document, 100), (document + "\n", 50)):
        draft = create_draft(
            organisation=gateway.company.organisation, lob=gateway.company.service, document=text, user=None
        )
        publish(policy=draft, user=None, percent=percent)
    gateway.refresh()
    seen = {posted(gateway, "/v1/classifications", SENTIMENT).headers[HEADER] for _ in range(40)}
    assert seen == {"org@1+customer-service@1", "org@1+customer-service@2"}
