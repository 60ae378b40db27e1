"""Requests that few send and the shapes allow: what they cost is held, what nobody can read stays home, the rest passes."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from costs.models import Price
from routing.execution.adapters import answers_of, written_for
from routing.inspection.gather import gather
from tests.fakes.gateway import RunningGateway
from tests.switchyard.gateway.test_guarded import guarded

pytestmark = pytest.mark.django_db(transaction=True)
SAID = [{"role": "user", "content": "Hello?"}]
CHAT: dict[str, Any] = {"model": "chatter", "messages": SAID, "max_tokens": 60}


def ask(gateway: RunningGateway, path: str = "chat/completions", **more: Any) -> Any:
    with gateway.client(**more.pop("headers", {})) as client:
        return client.post(f"/v1/{path}", json=more.pop("body", None) or CHAT | more)


def sent_for(gateway: RunningGateway, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """The body that another one becomes, whoever was asked."""
    reply = ask(gateway, path, body=body)
    assert reply.status_code == 200, reply.text
    [seen] = gateway.external.seen + gateway.private.seen
    return seen.body


# ------------------------------------------------------------------------------------------------------------- money
@pytest.mark.parametrize(
    ("body", "back", "written"),
    [({}, 1, 1), ({"n": 3}, 3, 3), ({"prompt": "a"}, 1, 1), ({"prompt": ["a", "b"], "n": 2}, 4, 4),
     ({"prompt": "a", "best_of": 5}, 1, 5), ({"prompt": ["a", "b"], "n": 2, "best_of": 3}, 4, 6),
     ({"prompt": "a", "n": 4, "best_of": 2}, 4, 4)],
)  # fmt: skip
def test_every_text_that_is_written_is_counted(body: dict[str, Any], back: int, written: int) -> None:
    assert (answers_of(body), written_for(body)) == (back, written)


def test_prompts_and_draws_that_could_cost_more_than_the_cap_are_refused(gateway: RunningGateway) -> None:
    body: dict[str, Any] = {"model": "ext-a", "prompt": "Say", "max_tokens": 100}
    one = _worst(gateway, body)
    for more, times in (({"best_of": 10}, 10), ({"prompt": ["Say"] * 10}, 10), ({"n": 10}, 10)):
        assert _worst(gateway, body | more) > 0.9 * times * one, more


def _worst(gateway: RunningGateway, body: dict[str, Any]) -> float:
    """The dearest that the one permitted deployment may come to, as its decision says."""
    with gateway.client() as client:
        reply = client.post("/v1/completions", json=body | {"model": "chatter"})
        assert reply.status_code == 200, reply.text
        told = client.get(f"/v1/decisions/{reply.headers['x-switchyard-decision-id']}").json()
    return float(next(c["cost_usd"] for c in told["candidates"] if c["deployment"] == "ext-a"))


@pytest.mark.parametrize(
    ("path", "more", "param"),
    [("chat/completions", {"max_completion_tokens": 5}, "max_tokens"),
     ("chat/completions", {"service_tier": "priority"}, "service_tier"),
     ("completions", {"prompt": "x", "best_of": 0}, "best_of"),
     ("completions", {"prompt": "x", "best_of": "many"}, "best_of"),
     ("completions", {"prompt": [1, 2, 3]}, "prompt"), ("completions", {"prompt": [[1, 2], [3]]}, "prompt"),
     ("completions", {"prompt": []}, "prompt"), ("completions", {"prompt": ["a", None]}, "prompt"),
     ("completions", {"prompt": ["a"] * 2049}, "prompt")],
)  # fmt: skip
def test_what_could_not_be_held_or_read_is_refused_by_name(
    gateway: RunningGateway, path: str, more: dict[str, Any], param: str
) -> None:
    reply = ask(gateway, path, **more)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)
    assert gateway.external.seen == gateway.private.seen == []


# ---------------------------------------------------------------------------------------------------- what is unreadable
def test_an_answer_that_is_spoken_is_read_by_its_transcript(gateway: RunningGateway) -> None:
    guarded(gateway, "enforce")
    Price.objects.filter(deployment="ext-a").update(audio_output_nusd_per_munit=80_000_000_000)
    gateway.refresh()
    sound = {"id": "audio_1", "data": "aGk=", "transcript": "They are all vermin.", "expires_at": 1}
    gateway.external.manners.message = {"content": None, "audio": sound}
    gateway.external.manners.deltas = [
        {"role": "assistant", "audio": {"id": "audio_1", "transcript": "They are all vermin."}}
    ]
    modal: dict[str, Any] = {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}}
    whole = ask(gateway, **modal)
    assert whole.json()["choices"][0]["finish_reason"] == "content_filter" and "vermin" not in whole.text
    stream = ask(gateway, stream=True, **modal)
    assert "content_filter" in stream.text and "vermin" not in stream.text and "audio_1" not in stream.text


@pytest.mark.parametrize(
    ("part", "media"),
    [({"type": "image_url", "image_url": {"url": "https://cdn.example/a.png"}}, True),
     ({"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}, True),
     ({"type": "file", "file": {"file_id": "file-1"}}, True), ({"type": "video_url", "video_url": {"url": "https://a/b"}}, True),
     ({"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}}, True),
     ({"type": "file", "file": {"filename": "a.txt", "file_data": "data:text/plain;base64,aGk="}}, False),
     ({"type": "text", "text": "see https://cdn.example/a.png"}, False)],
)  # fmt: skip
def test_a_picture_that_its_server_fetches_counts_as_one(part: dict[str, Any], media: bool) -> None:
    body = {"messages": [{"role": "user", "content": [{"type": "text", "text": "Look"}, part]}]}
    assert gather(body).media is media


def test_a_picture_by_its_address_stays_home(gateway: RunningGateway) -> None:
    part = {"type": "image_url", "image_url": {"url": "https://cdn.example/a.png"}}
    reply = ask(gateway, messages=[{"role": "user", "content": [part]}])
    assert reply.status_code == 200 and reply.headers["x-switchyard-route"] == "private"


# ------------------------------------------------------------------------------------------------------- what passes
def test_roles_tools_and_options_of_every_age_pass_as_they_are(gateway: RunningGateway) -> None:
    body: dict[str, Any] = {
        "model": "chatter", "max_completion_tokens": 40, "parallel_tool_calls": False, "reasoning_effort": "low",
        "messages": [
            {"role": "developer", "content": "Be kind."}, {"role": "user", "content": "Weather?", "name": "ann"},
            {"role": "assistant", "content": None, "function_call": {"name": "weather", "arguments": "{}"}},
            {"role": "function", "name": "weather", "content": "Rain"},
            {"role": "assistant", "content": None, "refusal": "No."},
            {"role": "user", "content": [{"type": "text", "text": "And now?"}]},
        ],
        "functions": [{"name": "weather", "parameters": {}}], "function_call": {"name": "weather"},
        "tools": [{"type": "custom", "custom": {"name": "sql", "format": {"type": "text"}}}],
        "tool_choice": {"type": "custom", "custom": {"name": "sql"}}, "logit_bias": {"50256": -100}, "stop": None,
        "prediction": {"type": "content", "content": "It rains."}, "verbosity": "low", "store": True, "user": None,
    }  # fmt: skip
    sent = sent_for(gateway, "chat/completions", body)
    assert {name: sent[name] for name in body if name != "model"} == {
        k: v for k, v in body.items() if k != "model"
    }


def test_two_choices_of_a_stream_with_calls_of_tools_arrive_apart(gateway: RunningGateway) -> None:
    calls = [
        {"index": i, "id": f"call_{i}", "type": "function", "function": {"name": "w", "arguments": text}}
        for i, text in enumerate(('{"a":', '{"b":'))
    ]
    gateway.external.manners.deltas = [
        {"role": "assistant", "tool_calls": calls},
        {"tool_calls": [{"index": 1, "function": {"arguments": "2}"}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]},
    ]
    reply = ask(gateway, stream=True, n=2, stream_options={"include_usage": False})
    assert reply.text.endswith("data: [DONE]\n\n") and '"usage"' not in reply.text
    got: dict[int, str] = {}
    for line in reply.text.split("\n\n"):
        for choice in orjson.loads(line[6:])["choices"] if line.startswith("data: {") else ():
            for call in choice["delta"].get("tool_calls") or ():
                got[call["index"]] = got.get(call["index"], "") + call["function"]["arguments"]
    assert got == {0: '{"a":1}', 1: '{"b":2}'}


def test_schemas_whose_types_are_lists_or_have_a_property_of_that_name_are_looked_through(
    gateway: RunningGateway,
) -> None:
    """As strict schemas write what may be null."""
    properties = {"type": {"type": ["string", "null"]}, "role": {"type": "string", "enum": ["tool"]}}
    schema = {
        "type": "object",
        "properties": properties,
        "required": ["type", "role"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "a", "strict": True, "schema": schema}}
    tool = {"type": "function", "function": {"name": "w", "strict": True, "parameters": schema}}
    sent = sent_for(gateway, "chat/completions", CHAT | {"response_format": form, "tools": [tool]})
    assert (sent["response_format"], sent["tools"]) == (form, [tool])
    body = {
        "model": "chatter",
        "max_tokens": 9,
        "messages": SAID,
        "tools": [{"name": "w", "input_schema": schema}],
    }
    assert ask(gateway, "messages", body=body).status_code == 200
    body = {
        "model": "chatter",
        "input": "x",
        "text": {"format": {"type": "json_schema", "name": "a", "schema": schema}},
    }
    assert ask(gateway, "responses", body=body).status_code == 200


# ----------------------------------------------------------------------------------------- messages, as Anthropic's clients
def test_a_tools_picture_follows_its_result(gateway: RunningGateway) -> None:
    """A chat knows only text as the result of a tool."""
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
    result = {
        "type": "tool_result",
        "tool_use_id": "t1",
        "is_error": True,
        "content": [{"type": "text", "text": "Seen"}, picture],
    }
    use = {"type": "tool_use", "id": "t1", "name": "look", "input": {}}
    thought = {"type": "thinking", "thinking": "Hm.", "signature": "x"}
    sent = sent_for(gateway, "messages", {
        "model": "chatter", "max_tokens": 50, "service_tier": "standard_only",
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "system": [{"type": "text", "text": "Be kind.", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {"role": "user", "content": "Look."}, {"role": "assistant", "content": [thought, use]},
            {"role": "user", "content": [result, {"type": "text", "text": "Well?", "cache_control": {"type": "ephemeral"}}]},
        ],
    })  # fmt: skip
    system, first, call, answer, last = sent["messages"]
    assert system["content"] == [{"type": "text", "text": "Be kind."}] and first["role"] == "user"
    assert call["content"] is None and call["tool_calls"][0]["id"] == "t1"
    assert answer == {"role": "tool", "tool_call_id": "t1", "content": "Error: Seen"}
    assert [part["type"] for part in last["content"]] == ["text", "image_url", "text"]
    assert sent["service_tier"] == "default" and "thinking" not in sent


# ------------------------------------------------------------------------------------------------------------ responses
def test_a_custom_tool_of_a_response_is_asked_for_called_and_answered(gateway: RunningGateway) -> None:
    """Free text in place of arguments, maybe by a grammar."""
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: /a+/"}
    call = {"id": "call_a", "type": "custom", "custom": {"name": "sql", "input": "select 1"}}
    for manners in (gateway.external.manners, gateway.private.manners):
        manners.message, manners.finish = {"content": None, "tool_calls": [call]}, "tool_calls"
        manners.deltas = [{"tool_calls": [{"index": 0} | call]}]
    body: dict[str, Any] = {
        "model": "chatter", "tools": [{"type": "custom", "name": "sql", "format": grammar}],
        "tool_choice": {"type": "custom", "name": "sql"},
        "input": [
            {"role": "user", "content": "Count."},
            {"type": "custom_tool_call", "call_id": "b", "name": "sql", "input": "select 0"},
            {"type": "custom_tool_call_output", "call_id": "b", "output": "0"},
        ],
    }  # fmt: skip
    made = gateway.openai().responses.create(**body)
    sent = (gateway.external.seen + gateway.private.seen)[0].body
    assert sent["tools"] == [{"type": "custom", "custom": {"name": "sql", "format": {
        "type": "grammar", "grammar": {"syntax": "lark", "definition": "start: /a+/"}}}}]  # fmt: skip
    assert sent["tool_choice"] == {"type": "custom", "custom": {"name": "sql"}}
    assert sent["messages"][1]["tool_calls"] == [
        {"id": "b", "type": "custom", "custom": {"name": "sql", "input": "select 0"}}
    ]
    assert sent["messages"][2] == {"role": "tool", "tool_call_id": "b", "content": "0"}
    [item] = made.output
    assert (item.type, item.call_id, item.name, item.input) == (
        "custom_tool_call",
        "call_a",
        "sql",
        "select 1",
    )
    events = list(gateway.openai().responses.create(**body, stream=True))
    assert [e.type for e in events[2:-1]] == [
        "response.output_item.added", "response.custom_tool_call_input.delta", "response.custom_tool_call_input.done",
        "response.output_item.done",
    ]  # fmt: skip
    assert events[4].input == "select 1" and events[-1].response.output[0].input == "select 1"


def test_a_response_is_asked_for_with_a_form_a_choice_of_tools_and_calls_in_parallel(
    gateway: RunningGateway,
) -> None:
    schema = {"type": "object", "properties": {}}
    sent = sent_for(gateway, "responses", {
        "model": "chatter", "max_output_tokens": 50, "parallel_tool_calls": True, "reasoning": {"effort": "low"},
        "input": [
            {"role": "developer", "content": "Be kind."}, {"role": "user", "content": "Weather?"},
            {"type": "reasoning", "summary": [], "id": "rs_1"},
            {"type": "function_call", "call_id": "a", "name": "w", "arguments": "{}"},
            {"type": "function_call", "call_id": "b", "name": "w", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "a", "output": "Rain"},
            {"type": "function_call_output", "call_id": "b", "output": [{"type": "input_text", "text": "Sun"}]},
            {"role": "user", "content": [{"type": "input_text", "text": "Well?"}]},
        ],
        "text": {"format": {"type": "json_schema", "name": "w", "schema": schema, "strict": True}, "verbosity": "low"},
        "tools": [{"type": "function", "name": "w", "parameters": schema, "strict": True}],
        "tool_choice": {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "w"}]},
    })  # fmt: skip
    assert [m["role"] for m in sent["messages"]] == ["system", "user", "assistant", "tool", "tool", "user"]
    assert [c["id"] for c in sent["messages"][2]["tool_calls"]] == ["a", "b"]
    assert sent["response_format"]["json_schema"] == {"name": "w", "schema": schema, "strict": True}
    assert sent["tool_choice"]["allowed_tools"]["mode"] == "required" and sent["reasoning_effort"] == "low"
