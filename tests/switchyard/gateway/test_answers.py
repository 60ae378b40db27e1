"""What a well-behaved request gets, endpoint by endpoint."""

from __future__ import annotations

import base64
import struct

import pytest

from tests.fakes.gateway import RunningGateway

HEADERS = ("x-request-id", "x-switchyard-decision-id", "x-switchyard-route", "x-switchyard-model",
           "x-switchyard-policy-version", "x-switchyard-cost-usd", "x-switchyard-overhead-ms",
           "x-switchyard-cache")  # fmt: skip


def test_a_classification_has_the_contracts_shape_and_headers(gateway: RunningGateway) -> None:
    with gateway.client() as client:
        reply = client.post("/v1/classifications", json={"model": "support-sentiment", "input": ["a", "b"]})
    body = reply.json()
    assert reply.status_code == 200, body
    assert body["object"] == "list" and body["model"] == "support-sentiment"
    assert [row["label"] for row in body["data"]] == ["positive", "positive"]
    assert body["data"][1]["index"] == 1 and set(body["data"][0]["scores"][0]) == {"label", "score"}
    assert body["usage"] == {"input_tokens": 12, "output_tokens": 2, "total_tokens": 14}
    assert all(reply.headers.get(name) for name in HEADERS)
    assert reply.headers["x-switchyard-route"] == "external"
    assert reply.headers["x-switchyard-model"] == "ext-a"
    assert gateway.external.seen[0].body["model"] == "txt-edge/support-sentiment"


def test_a_prediction_keeps_the_servers_items(gateway: RunningGateway) -> None:
    gateway.external.manners.prediction = 7.5
    with gateway.client() as client:
        reply = client.post("/v1/predictions", json={"model": "price-advice", "records": [{"price": 2.0}]})
    assert reply.json()["data"] == [{"index": 0, "prediction": 7.5, "probability": 0.95}]


def test_the_official_client_chats_plain(gateway: RunningGateway) -> None:
    answer = gateway.openai().chat.completions.create(
        model="chatter",
        messages=[{"role": "user", "content": "How are you?"}],
        n=2,
        stop=["x"],
        logit_bias={},
    )
    assert [c.message.content for c in answer.choices] == ["All is well.", "All is well."]
    assert answer.usage is not None and answer.usage.completion_tokens == 8
    sent = gateway.external.seen[0].body
    assert sent["stop"] == ["x"] and sent["max_tokens"] == 1024 and sent["logit_bias"] == {}


def test_the_official_client_streams_and_sees_usage_only_when_asked(gateway: RunningGateway) -> None:
    client = gateway.openai()
    messages = [{"role": "user", "content": "How are you?"}]
    plain = list(client.chat.completions.create(model="chatter", messages=messages, stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in plain) == "All is well."
    assert all(chunk.usage is None for chunk in plain)
    assert gateway.external.seen[0].body["stream_options"] == {"include_usage": True}
    asked = list(
        client.chat.completions.create(
            model="chatter", messages=messages, stream=True, stream_options={"include_usage": True}
        )
    )
    last = asked[-1]
    assert last.choices == [] and last.usage.completion_tokens == 4
    assert set(last.usage.switchyard) == {"cost_usd", "decision_id"}
    assert "accelerator_ns" not in last.usage.model_dump()


def test_a_text_completion_goes_through(gateway: RunningGateway) -> None:
    answer = gateway.openai().completions.create(model="chatter", prompt="Say so.", max_tokens=5)
    assert answer.choices[0].text == "All is well."
    assert gateway.external.seen[0].path == "completions" and gateway.external.seen[0].body["max_tokens"] == 5


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_embeddings_come_in_both_encodings(gateway: RunningGateway, encoding: str) -> None:
    with gateway.client() as client:
        body = {"model": "vectors", "input": ["abc"], "encoding_format": encoding}
        reply = client.post("/v1/embeddings", json=body)
    value = reply.json()["data"][0]["embedding"]
    vector = list(struct.unpack("<3f", base64.b64decode(value))) if encoding == "base64" else value
    assert vector == [1.0, 3.0, 0.5]


def test_the_official_client_embeds(gateway: RunningGateway) -> None:
    answer = gateway.openai().embeddings.create(model="vectors", input="abcd")
    assert answer.data[0].embedding == [1.0, 4.0, 0.5]


def test_chat_on_a_classification_workload_answers_with_the_label(gateway: RunningGateway) -> None:
    client = gateway.openai()
    messages = [{"role": "user", "content": "I love it"}]
    plain = client.chat.completions.create(model="support-sentiment", messages=messages)
    assert plain.choices[0].message.content == "positive"
    scored = client.chat.completions.create(
        model="support-sentiment", messages=messages, response_format={"type": "json_object"}
    )
    assert '"label":"positive"' in (scored.choices[0].message.content or "")
    assert '"scores":[' in (scored.choices[0].message.content or "")
    chunks = list(client.chat.completions.create(model="support-sentiment", messages=messages, stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == "positive"
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_chat_on_a_prediction_workload_takes_a_record_in_the_message(gateway: RunningGateway) -> None:
    client = gateway.openai()
    answer = client.chat.completions.create(
        model="price-advice", messages=[{"role": "user", "content": 'Please: {"price": 2.5, "week": 3}'}]
    )
    assert answer.choices[0].message.content == "1"
    assert gateway.external.seen[0].body["records"] == [{"price": 2.5, "week": 3}]


def test_a_chat_deployment_classifies_by_prompt_and_may_answer_only_labels(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    world = gateway.front.keeper.world
    snapshot = world.organisations[gateway.company.organisation.pk]
    labelled = replace(snapshot.workloads["by-prompt"], labels=("yes", "no"))
    workloads = {**snapshot.workloads, "by-prompt": labelled}
    gateway.front.keeper.world = replace(
        world,
        organisations={gateway.company.organisation.pk: replace(snapshot, workloads=workloads)},
    )
    with gateway.client() as client:
        good = client.post("/v1/classifications", json={"model": "by-prompt", "input": ["fine?"]})
        assert good.json()["data"][0]["label"] == "yes"
        gateway.external.manners.prompt_label = "perhaps"
        bad = client.post("/v1/classifications", json={"model": "by-prompt", "input": ["fine?"]})
    assert bad.status_code == 502 and bad.json()["error"]["code"] == "upstream_error"
    assert gateway.external.seen[0].path == "chat/completions"
    assert gateway.external.seen[0].body["response_format"]["type"] == "json_schema"


def test_models_lists_what_the_key_may_use_and_nothing_of_the_neighbours(gateway: RunningGateway) -> None:
    ids = {model.id for model in gateway.openai().models.list()}
    assert {"support-sentiment", "chatter", "ext-a", "private-a"} <= ids and "contract-clauses" not in ids
    assert gateway.openai().models.retrieve("chatter").id == "chatter"
    with gateway.client() as client:
        assert client.get("/v1/models/contract-clauses").status_code == 404


def test_auto_and_a_deployment_find_the_only_workload(gateway: RunningGateway) -> None:
    with gateway.client() as client:
        chat = {"messages": [{"role": "user", "content": "hi"}]}
        auto = client.post("/v1/chat/completions", json={"model": "auto", **chat})
        assert auto.status_code == 200 and auto.json()["model"] == "chatter"
        several = client.post("/v1/classifications", json={"model": "auto", "input": "x"})
        assert several.status_code == 400 and "support-sentiment" in several.json()["error"]["message"]
        wished = client.post("/v1/chat/completions", json={"model": "private-a", **chat})
    assert wished.status_code == 200
    assert gateway.events(2)[-1]["facts"]["request"]["wish"] == "private-a"


def test_health_readiness_metrics_and_the_rest(gateway: RunningGateway) -> None:
    with gateway.client() as client:
        client.post("/v1/classifications", json={"model": "support-sentiment", "input": "x"})
        assert client.get("/healthz").json() == {"status": "ok"}
        assert client.get("/readyz").json()["ready"] is True
        assert 'switchyard_requests_total{code="ok"' in client.get("/metrics").text
        assert client.get("/elsewhere").text == "django"
        gateway.front.keeper.checked -= 60
        assert client.get("/readyz").status_code == 503
