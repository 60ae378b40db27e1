"""Bad requests: the error table, one row each, and nothing charged."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx2 as httpx
import orjson
import pytest

from modelhub.models import Deployment
from switchyard.core.clock import now
from switchyard.tenancy.models import Workload
from switchyard.tenancy.services import revoke_key
from tests import factories
from tests.fakes.gateway import RunningGateway

CHAT = {"model": "chatter", "messages": [{"role": "user", "content": "hi"}]}
DEEP = b'{"model":"support-sentiment","input":"x","a":' + b"[" * 70 + b"]" * 70 + b"}"

# endpoint, body (bytes as they are), status, code, param
TABLE: list[tuple[str, Any, int, str, str | None]] = [
    ("classifications", b'{"model": "support-sentiment", "input": ', 400, "invalid_json", None),
    ("classifications", b'{"model": "support-sentiment", "input": "\xff\xfe"}', 400, "invalid_json", None),
    ("classifications", b"", 400, "invalid_json", None),
    ("classifications", b"[1, 2]", 400, "invalid_value", None),
    ("classifications", DEEP, 400, "body_too_deep", None),
    ("classifications", {"input": "x"}, 400, "invalid_value", "model"),
    ("classifications", {"model": 7, "input": "x"}, 400, "invalid_value", "model"),
    ("classifications", {"model": "support-sentiment", "input": []}, 400, "invalid_value", "input"),
    ("classifications", {"model": "support-sentiment", "input": [""]}, 400, "invalid_value", "input"),
    ("classifications", {"model": "support-sentiment", "input": 7}, 400, "invalid_value", "input"),
    ("classifications", {"model": "support-sentiment", "input": ["a", None]}, 400, "invalid_value", "input"),
    ("classifications", {"model": "support-sentiment", "input": ["a"] * 2049}, 400, "invalid_value", "input"),
    ("classifications", {"model": "no-such-thing", "input": "x"}, 404, "model_not_found", "model"),
    ("classifications", {"model": "contract-clauses", "input": "x"}, 404, "model_not_found", "model"),
    ("classifications", {"model": "chatter", "input": "x"}, 400, "wrong_endpoint", "model"),
    ("predictions", {"model": "price-advice", "records": []}, 400, "invalid_value", "records"),
    ("predictions", {"model": "price-advice", "records": [7]}, 400, "invalid_value", "records"),
    ("predictions", b'{"model": "price-advice", "records": [{"price": NaN}]}', 400, "invalid_json", None),
    ("predictions", b'{"model": "price-advice", "records": [{"price": 1e999}]}', 400, "invalid_json", None),
    ("chat/completions", CHAT | {"messages": []}, 400, "invalid_value", "messages"),
    ("chat/completions", CHAT | {"messages": "hi"}, 400, "invalid_value", "messages"),
    ("chat/completions", CHAT | {"messages": [{"content": "x"}]}, 400, "invalid_value", "messages[0]"),
    ("chat/completions", CHAT | {"messages": [{"role": "user", "content": 7}]}, 400, "invalid_value", "messages[0].content"),
    ("chat/completions", CHAT | {"stream": "yes"}, 400, "invalid_value", "stream"),
    ("chat/completions", CHAT | {"stream_options": 7}, 400, "invalid_value", "stream_options"),
    ("chat/completions", CHAT | {"max_tokens": 0}, 400, "invalid_value", "max_tokens"),
    ("chat/completions", CHAT | {"max_tokens": 1.5}, 400, "invalid_value", "max_tokens"),
    ("chat/completions", CHAT | {"n": 1000}, 400, "invalid_value", "n"),
    ("chat/completions", CHAT | {"model": "price-advice"}, 400, "invalid_value", "messages"),
    ("chat/completions", CHAT | {"model": "vectors"}, 400, "wrong_endpoint", "model"),
    ("completions", {"model": "chatter"}, 400, "invalid_value", "prompt"),
    ("embeddings", {"model": "vectors", "input": []}, 400, "invalid_value", "input"),
    ("feedback", {"correct": True}, 400, "invalid_value", "decision_id"),
    ("feedback", {"decision_id": "dec_x", "correct": True}, 404, "not_found", None),
    ("nowhere", {}, 404, "not_found", None),
]  # fmt: skip


def test_every_row_of_the_table_is_refused_in_words_and_nothing_is_called(gateway: RunningGateway) -> None:
    with gateway.client() as client:
        for endpoint, body, status, code, param in TABLE:
            raw = body if isinstance(body, bytes) else orjson.dumps(body)
            reply = client.post(f"/v1/{endpoint}", content=raw)
            error = reply.json()["error"]
            seen = (reply.status_code, error["code"], error["param"])
            assert seen == (status, code, param), (endpoint, raw[:80], error)
            assert error["message"] and error["type"] and reply.headers["x-request-id"]
    assert gateway.external.seen == [] and gateway.private.seen == []


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer sy_live_nobody_knows_this", "Basic abc", "Bearer " + "sy_" + "x" * 500,
     "Bearer sk-something"],
)  # fmt: skip
def test_a_missing_or_bad_key_is_401(gateway: RunningGateway, header: str) -> None:
    headers = {"authorization": header} if header else {}
    reply = httpx.post(f"{gateway.url}/v1/chat/completions", json=CHAT, headers=headers)
    assert reply.status_code == 401 and reply.json()["error"]["code"] == "invalid_api_key"


def test_expired_and_revoked_keys_are_401(gateway: RunningGateway) -> None:
    application = factories.make_application(gateway.company.service, "second")
    _, expired = factories.make_key(application, expires_at=now() - timedelta(seconds=1))
    row, revoked = factories.make_key(application)
    gateway.refresh()

    def status_of(key: str) -> int:
        headers = {"authorization": f"Bearer {key}"}
        return httpx.get(f"{gateway.url}/v1/models", headers=headers).status_code

    assert status_of(expired) == 401 and status_of(revoked) == 200
    revoke_key(key=row, actor=None)
    gateway.refresh()
    assert status_of(revoked) == 401


def test_twenty_mebibytes_are_413_whether_announced_or_not(gateway: RunningGateway) -> None:
    with gateway.client() as client:
        announced = client.post("/v1/classifications", content=b"x" * (20 * 1024 * 1024))

        def chunks() -> Any:
            for _ in range(11):
                yield b"x" * (1024 * 1024)

        unannounced = client.post("/v1/classifications", content=chunks())
    assert [r.status_code for r in (announced, unannounced)] == [413, 413]
    assert announced.json()["error"]["code"] == "body_too_large"


def test_a_get_where_a_post_belongs_says_so(gateway: RunningGateway) -> None:
    with gateway.client() as client:
        reply = client.get("/v1/chat/completions")
    assert reply.status_code == 405 and reply.json()["error"]["code"] == "wrong_endpoint"


def test_an_unknown_class_is_refused_and_a_lower_one_ignored(gateway: RunningGateway) -> None:
    body = {"model": "support-sentiment", "input": "x"}
    with gateway.client() as client:
        unknown = client.post(
            "/v1/classifications", json=body, headers={"X-Switchyard-Sensitivity": "secret"}
        )
        lower = client.post("/v1/classifications", json=body, headers={"X-Switchyard-Sensitivity": "public"})
    assert unknown.status_code == 400 and lower.status_code == 200
    assert gateway.events(1)[-1]["sensitivity"] == "internal"


def test_a_cap_below_every_worst_case_is_refused_before_anybody_is_called(gateway: RunningGateway) -> None:
    with gateway.client() as client:
        low = client.post(
            "/v1/chat/completions", json=CHAT, headers={"X-Switchyard-Max-Cost-Usd": "0.000000001"}
        )
        nonsense = client.post(
            "/v1/chat/completions", json=CHAT, headers={"X-Switchyard-Max-Cost-Usd": "lots"}
        )
    assert low.status_code == 403 and low.json()["error"]["code"] == "policy_denied"
    assert nonsense.status_code == 400 and gateway.external.seen == []


def test_an_exhausted_budget_is_429_and_not_to_be_retried(gateway: RunningGateway) -> None:
    factories.make_budget(
        gateway.company.organisation, "lob:customer-service", usd="0.000000001", period="day", action="stop"
    )
    gateway.refresh()
    with gateway.client() as client:
        reply = client.post("/v1/chat/completions", json=CHAT)
    error = reply.json()["error"]
    assert (reply.status_code, error["code"], error["type"]) == (
        429,
        "project_spend_limit_exceeded",
        "insufficient_quota",
    )
    assert reply.headers["x-should-retry"] == "false" and gateway.external.seen == []
    assert {"budget", "scope", "period", "spent_usd", "limit_usd"} <= set(error)


def test_a_rate_limit_is_429_with_retry_after(gateway: RunningGateway) -> None:
    application = factories.make_application(gateway.company.service, "slowly")
    _, key = factories.make_key(application, rpm=1)
    gateway.refresh()
    headers = {"authorization": f"Bearer {key}"}
    body = {"model": "support-sentiment", "input": "x"}
    replies = [httpx.post(f"{gateway.url}/v1/classifications", json=body, headers=headers) for _ in range(2)]
    assert [r.status_code for r in replies] == [200, 429]
    assert replies[1].json()["error"]["code"] == "rate_limit_exceeded" and replies[1].headers["retry-after"]
    assert any(name.startswith("x-ratelimit-") for name in replies[0].headers)


def test_a_deployment_of_labels_is_asked_by_the_only_workload_of_labels_or_by_none(
    gateway: RunningGateway,
) -> None:
    Deployment.objects.filter(name="ext-a").update(tasks=["classification"])
    labels = Workload.objects.filter(lob=gateway.company.service, task="classification")

    def asked() -> httpx.Response:
        gateway.refresh()
        with gateway.client() as client:
            return client.post("/v1/chat/completions", json=CHAT | {"model": "ext-a"})

    several = asked()
    labels.exclude(name="support-sentiment").update(task="prediction")
    one = asked()
    labels.update(task="prediction")
    none = asked()
    assert one.status_code == 200, one.text
    assert [event["workload"] for event in gateway.events(1)] == ["support-sentiment"]
    for reply, told in ((several, "by-prompt, cascade-intent"), (none, "this key has none")):
        error = reply.json()["error"]
        assert (reply.status_code, error["param"]) == (400, "model") and told in error["message"], error
