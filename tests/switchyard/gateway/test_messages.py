"""/v1/messages: Anthropic's words both ways, over real HTTP, through the one pipeline."""

from __future__ import annotations

from typing import Any

import httpx2 as httpx
import orjson
import pytest

from tests.fakes.gateway import RunningGateway
from tests.fakes.upstream import cut_stream, status

HELLO: dict[str, Any] = {
    "model": "chatter",
    "max_tokens": 50,
    "messages": [{"role": "user", "content": "Hello?"}],
}
WEATHER = {
    "name": "weather",
    "description": "Tells it.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}
NO_IMAGE = {"type": "image", "source": {"type": "file"}}
TOOL_DELTAS = [
    {"content": "Let me look."},
    {
        "tool_calls": [
            {"index": 0, "id": "call_a", "type": "function", "function": {"name": "weather", "arguments": ""}}
        ]
    },
    {"tool_calls": [{"index": 0, "function": {"arguments": '{"city": "O'}}]},
    {
        "tool_calls": [
            {
                "index": 1,
                "id": "call_b",
                "type": "function",
                "function": {"name": "weather", "arguments": '{"city":'},
            }
        ]
    },
    {"tool_calls": [{"index": 0, "function": {"arguments": 'slo"}'}}]},
    {"tool_calls": [{"index": 1, "function": {"arguments": ' "Bergen"}'}}]},
]


def ask(
    gateway: RunningGateway, body: dict[str, Any], lob: str = "customer-service", **headers: str
) -> httpx.Response:
    told = {"x-api-key": gateway.company.keys[lob], "anthropic-version": "2023-06-01"} | headers
    return httpx.post(f"{gateway.url}/v1/messages", json=body, headers=told, timeout=20)


def events(reply: httpx.Response) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for block in reply.text.strip().split("\n\n"):
        name, data = block.split("\n")
        found.append((name.removeprefix("event: "), orjson.loads(data.removeprefix("data: "))))
    assert all(name == data["type"] for name, data in found)
    return found


def test_a_message_is_answered_in_its_own_shape(gateway: RunningGateway) -> None:
    reply = ask(
        gateway,
        HELLO | {"system": "Be kind.", "stop_sequences": ["END"], "metadata": {"user_id": "u-7"}, "top_k": 4},
    )
    body = reply.json()
    assert reply.status_code == 200, body
    assert body["type"] == "message" and body["role"] == "assistant" and body["model"] == "chatter"
    assert body["content"] == [{"type": "text", "text": "All is well."}]
    assert (body["stop_reason"], body["stop_sequence"]) == ("end_turn", None)
    assert body["usage"]["input_tokens"] == 12 and body["usage"]["output_tokens"] == 4
    assert reply.headers["request-id"].partition("_")[2] == body["id"].removeprefix("msg_")
    assert reply.headers["x-switchyard-cost-usd"] and reply.headers["x-switchyard-decision-id"]
    sent = gateway.external.seen[0].body
    assert sent["messages"] == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hello?"},
    ]
    assert (sent["stop"], sent["user"], sent["max_tokens"], sent["top_k"]) == (["END"], "u-7", 50, 4)
    assert "system" not in sent and "metadata" not in sent
    [event] = gateway.events()
    assert event["endpoint"] == "messages" and event["status"] == 200 and event["cost_nusd"] > 0


def test_every_kind_of_block_reaches_the_upstream(gateway: RunningGateway) -> None:
    image = {"type": "base64", "media_type": "image/png", "data": "aGk="}
    pdf = {"type": "base64", "media_type": "application/pdf", "data": "aGk="}
    messages = [
        {"role": "user", "content": [
            {"type": "text", "text": "What is this?"}, {"type": "image", "source": image},
            {"type": "document", "source": pdf, "title": "a.pdf"},
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "plain words"}},
        ]},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "hm", "signature": "x"}, {"type": "text", "text": "Let me look."},
            {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Oslo"}},
        ]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "Rain"}], "is_error": True},
            {"type": "text", "text": "And now?"},
        ]},
    ]  # fmt: skip
    body = HELLO | {
        "messages": messages,
        "tools": [WEATHER],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
    }
    assert ask(gateway, body).status_code == 200
    [seen] = gateway.external.seen + gateway.private.seen  # what nobody can look into may have to stay home
    sent = seen.body
    first, second, third, fourth = sent["messages"]
    assert [part["type"] for part in first["content"]] == ["text", "image_url", "file", "text"]
    assert first["content"][1]["image_url"]["url"] == "data:image/png;base64,aGk="
    assert first["content"][2]["file"] == {
        "filename": "a.pdf",
        "file_data": "data:application/pdf;base64,aGk=",
    }
    assert (
        second["content"] == "Let me look."
        and second["tool_calls"][0]["function"]["arguments"] == '{"city":"Oslo"}'
    )
    assert third == {"role": "tool", "tool_call_id": "toolu_1", "content": "Error: Rain"}
    assert fourth == {"role": "user", "content": [{"type": "text", "text": "And now?"}]}
    assert sent["tools"][0]["function"]["parameters"] == WEATHER["input_schema"]
    assert (sent["tool_choice"], sent["parallel_tool_calls"]) == ("required", False)


def test_calls_of_tools_come_back_as_blocks(gateway: RunningGateway) -> None:
    call = {
        "id": "call_a",
        "type": "function",
        "function": {"name": "weather", "arguments": '{"city": "Oslo"}'},
    }
    gateway.external.manners.message = {"content": None, "tool_calls": [call]}
    gateway.external.manners.finish = "tool_calls"
    body = ask(gateway, HELLO | {"tools": [WEATHER]}).json()
    assert body["content"] == [
        {"type": "tool_use", "id": "call_a", "name": "weather", "input": {"city": "Oslo"}}
    ]
    assert body["stop_reason"] == "tool_use"


def test_a_stream_has_the_typed_events_in_order(gateway: RunningGateway) -> None:
    reply = ask(gateway, HELLO | {"stream": True})
    assert reply.headers["content-type"].startswith("text/event-stream")
    found = events(reply)
    assert [name for name, _ in found] == [
        "message_start", "ping", "content_block_start", *["content_block_delta"] * 4, "content_block_stop",
        "message_delta", "message_stop",
    ]  # fmt: skip
    assert (
        "".join(data["delta"]["text"] for name, data in found if name == "content_block_delta")
        == "All is well."
    )
    delta = found[-2][1]
    assert delta["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}
    assert delta["usage"]["output_tokens"] == 4 and set(delta["usage"]["switchyard"]) == {
        "cost_usd",
        "decision_id",
    }


def test_calls_that_a_server_mixes_come_one_after_another(gateway: RunningGateway) -> None:
    gateway.external.manners.deltas = TOOL_DELTAS
    gateway.external.manners.finish = "tool_calls"
    found = [data for _, data in events(ask(gateway, HELLO | {"stream": True, "tools": [WEATHER]}))]
    inputs: dict[int, str] = {}
    opened: list[int] = []
    for data in found:
        if data["type"] == "content_block_start":
            assert not opened, "one block at a time"
            opened.append(data["index"])
        elif data["type"] == "content_block_stop":
            assert opened.pop() == data["index"]
        elif data["type"] == "content_block_delta" and data["delta"]["type"] == "input_json_delta":
            inputs[data["index"]] = inputs.get(data["index"], "") + data["delta"]["partial_json"]
    assert [orjson.loads(text) for text in inputs.values()] == [{"city": "Oslo"}, {"city": "Bergen"}]
    assert found[-2]["delta"]["stop_reason"] == "tool_use"


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "system", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": [{"type": "video"}]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [NO_IMAGE]}]}, "messages[0].content[0].source"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0]"),
        ({"tool_choice": "auto"}, "tool_choice"),
        ({"stop_sequences": "END"}, "stop_sequences"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_by_its_own_name(
    gateway: RunningGateway, change: dict[str, Any], param: str
) -> None:
    reply = ask(gateway, HELLO | change)
    body = reply.json()
    assert reply.status_code == 400 and body["type"] == "error", body
    assert body["error"]["type"] == "invalid_request_error" and body["error"]["param"] == param
    assert body["request_id"] == reply.headers["request-id"] and gateway.external.seen == []


def test_refusals_have_its_shape_and_kinds(gateway: RunningGateway) -> None:
    for header in ({"x-api-key": "nothing"}, {"x-api-key": "", "authorization": "Bearer sy_live_no"}):
        reply = ask(gateway, HELLO, **header)
        assert (reply.status_code, reply.json()["error"]["type"]) == (401, "authentication_error")
    reply = ask(gateway, HELLO | {"model": "contract-clauses"})
    assert (reply.status_code, reply.json()["error"]["type"]) == (404, "not_found_error")
    assert reply.json()["error"]["code"] == "model_not_found"
    for upstream in (gateway.external, gateway.private):
        upstream.always(status(429, retry_after=1))
    reply = ask(gateway, HELLO)
    assert (reply.status_code, reply.json()["error"]["type"]) == (529, "overloaded_error")
    assert reply.headers["retry-after"]
    reply = httpx.get(f"{gateway.url}/v1/messages", headers={"x-api-key": gateway.company.keys["legal"]})
    assert reply.status_code == 405 and reply.json()["type"] == "error"


def test_a_stream_that_breaks_off_ends_in_an_error_event(gateway: RunningGateway) -> None:
    for upstream in (gateway.external, gateway.private):
        upstream.always(cut_stream(2))
    found = events(ask(gateway, HELLO | {"stream": True}))
    assert found[-1][0] == "error" and found[-1][1]["error"]["type"] == "api_error"
    assert "message_stop" not in [name for name, _ in found]


def test_confidential_words_stay_home_however_they_are_wrapped(gateway: RunningGateway) -> None:
    said = {
        "type": "tool_result",
        "tool_use_id": "t",
        "content": "Card 4111 1111 1111 1111, jane.doe@example.com",
    }
    call = {"type": "tool_use", "id": "t", "name": "weather", "input": {}}
    messages = [
        {"role": "user", "content": "Look."},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [said]},
    ]
    reply = ask(gateway, HELLO | {"messages": messages})
    assert reply.headers["x-switchyard-route"] == "private" and gateway.external.seen == []


def test_tokens_are_counted_without_asking_anybody(gateway: RunningGateway) -> None:
    headers = {"x-api-key": gateway.company.keys["customer-service"]}
    body = {"model": "chatter", "messages": HELLO["messages"], "system": "x" * 400}
    reply = httpx.post(f"{gateway.url}/v1/messages/count_tokens", json=body, headers=headers)
    told = reply.json()
    assert reply.status_code == 200 and 100 <= told["input_tokens"] <= 110 and told["estimated"] is True
    assert gateway.external.seen == []
    wrong = httpx.post(
        f"{gateway.url}/v1/messages/count_tokens", json=body | {"model": "nobody"}, headers=headers
    )
    assert wrong.status_code == 404 and wrong.json()["type"] == "error"


def test_models_are_listed_in_its_words_for_who_speaks_them(gateway: RunningGateway) -> None:
    headers = {"x-api-key": gateway.company.keys["customer-service"], "anthropic-version": "2023-06-01"}
    told = httpx.get(f"{gateway.url}/v1/models", headers=headers).json()
    assert told["has_more"] is False and {"chatter", "ext-a"} <= {model["id"] for model in told["data"]}
    assert all(model["type"] == "model" and model["created_at"].endswith("Z") for model in told["data"])


def test_a_label_comes_as_a_message_too(gateway: RunningGateway) -> None:
    body = ask(gateway, HELLO | {"model": "support-sentiment"}).json()
    assert body["content"] == [{"type": "text", "text": "positive"}]
