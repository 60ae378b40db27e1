"""What each kind of server does in its own way: vLLM, SGLang, TGI, Ollama, Azure, DeepSeek, OpenRouter, OpenAI's newer models."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from aiohttp import web

from modelhub.models import Deployment
from tests.fakes.gateway import RunningGateway
from tests.fakes.upstream import Fault, raw_stream

pytestmark = pytest.mark.django_db(transaction=True)
SAID = [{"role": "user", "content": "Hello?"}]
CHAT: dict[str, Any] = {"model": "chatter", "messages": SAID, "max_tokens": 60}
USAGE = {"include_usage": True}
DONE = b"data: [DONE]\n\n"


def data(choices: list[Any], **more: Any) -> bytes:
    head = {"id": "up-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices}
    return b"data: " + orjson.dumps(head | more) + b"\n\n"


def said(text: str, finish: str | None = None, **more: Any) -> list[dict[str, Any]]:
    return [{"index": 0, "delta": {"content": text} | more, "finish_reason": finish}]


def answers(choice: dict[str, Any], *, before: bytes = b"", **more: Any) -> Fault:
    usage = {"prompt_tokens": 12, "completion_tokens": 4, "total_tokens": 16}
    whole = {"id": "up-1", "object": "chat.completion", "created": 1, "model": "m", "usage": usage}

    async def fault(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        told = whole | {"choices": [{"index": 0, "finish_reason": "stop"} | choice]} | more
        return web.Response(body=before + orjson.dumps(told), content_type="application/json")

    return fault


def everywhere(gateway: RunningGateway, fault: Fault) -> None:
    gateway.external.always(fault)
    gateway.private.always(fault)


def ask(gateway: RunningGateway, path: str = "chat/completions", **more: Any) -> Any:
    with gateway.client() as client:
        return client.post(f"/v1/{path}", json=CHAT | more)


def chunks(reply: Any) -> list[dict[str, Any]]:
    assert reply.status_code == 200 and reply.text.endswith("data: [DONE]\n\n"), reply.text
    return [orjson.loads(line[6:]) for line in reply.text.split("\n\n") if line.startswith("data: {")]


def spent(gateway: RunningGateway) -> dict[str, Any]:
    (attempt,) = gateway.events()[-1]["attempts"]
    return attempt


def test_deepseek_tells_cached_and_thought_tokens_and_keeps_us_waiting_with_empty_lines(
    gateway: RunningGateway,
) -> None:
    usage = {
        "prompt_tokens": 100, "completion_tokens": 40, "total_tokens": 140, "prompt_cache_hit_tokens": 64,
        "prompt_cache_miss_tokens": 36, "prompt_tokens_details": {"cached_tokens": 64},
        "completion_tokens_details": {"reasoning_tokens": 30},
    }  # fmt: skip
    message = {"role": "assistant", "content": "Yes.", "reasoning_content": "Let me see."}
    everywhere(gateway, answers({"message": message}, before=b"\n\n\n", usage=usage))
    reply = ask(gateway).json()
    assert reply["choices"][0]["message"] == message and reply["usage"] == usage
    attempt = spent(gateway)
    assert (attempt["tokens_in"], attempt["cached_tokens_in"], attempt["reasoning_tokens"]) == (100, 64, 30)
    assert attempt["usage_source"] == "reported"


def test_deepseeks_stream_tells_usage_with_the_last_words_and_keeps_alive_by_comments(
    gateway: RunningGateway,
) -> None:
    usage = {"prompt_tokens": 12, "completion_tokens": 4, "total_tokens": 16, "prompt_cache_hit_tokens": 8}
    everywhere(gateway, raw_stream(
        b": keep-alive\n\n", data(said("", reasoning_content="Hm.")), data(said("Yes.")), b": keep-alive\n\n",
        data(said("", "stop"), usage=usage), DONE,
    ))  # fmt: skip
    told = chunks(ask(gateway, stream=True, stream_options=USAGE))
    assert told[0]["choices"][0]["delta"]["reasoning_content"] == "Hm."
    assert told[-1]["choices"] == [] and told[-1]["usage"]["prompt_cache_hit_tokens"] == 8
    assert (spent(gateway)["cached_tokens_in"], spent(gateway)["tokens_out"]) == (8, 4)


BROKEN = {
    "deepseek out of machines": [data(said("Half ")), data(said("", "insufficient_system_resource")), DONE],
    "vllm aborted": [data(said("Half ")), data(said("", "abort")), DONE],
    "openrouter": [data(said("Half ")), data(said("", "error"), error={"code": 502, "message": "gone"})],
    "older vllm": [data(said("Half ")), b'data: {"object":"error","message":"oom","type":"E","code":500}\n\n', DONE],
    "tgi": [data(said("Half ")), b'data: {"error":"Input validation","error_type":"validation"}\n\n', DONE],
}  # fmt: skip


@pytest.mark.parametrize("kind", BROKEN)
def test_an_answer_that_its_server_broke_off_never_looks_whole(gateway: RunningGateway, kind: str) -> None:
    everywhere(gateway, raw_stream(*BROKEN[kind]))
    reply = ask(gateway, stream=True)
    assert "Half " in reply.text and "[DONE]" not in reply.text
    assert orjson.loads(reply.text.strip().split("\n\n")[-1][6:])["error"]["code"] == "upstream_error"
    with gateway.client() as client:
        told = client.post("/v1/responses", json={"model": "chatter", "input": "x", "stream": True}).text
    assert "response.failed" in told and "response.completed" not in told


@pytest.mark.parametrize("reason", ["insufficient_system_resource", "abort", "error"])
def test_a_whole_answer_that_its_server_broke_off_is_asked_for_elsewhere(
    gateway: RunningGateway, reason: str
) -> None:
    gateway.external.always(answers({"message": {"content": "Half "}, "finish_reason": reason}))
    reply = ask(gateway)
    assert reply.status_code == 200 and reply.headers["x-switchyard-route"] == "private"
    first = gateway.events()[-1]["attempts"][0]
    assert first["status"] == "error" and first["cost_nusd"] > 0, "it answered, and bills"


def test_azures_first_chunk_is_about_the_prompt_and_names_nothing(gateway: RunningGateway) -> None:
    about = {
        "id": "", "object": "", "created": 0, "model": "", "choices": [],
        "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": {}}],
    }  # fmt: skip
    everywhere(gateway, raw_stream(
        b"data: " + orjson.dumps(about) + b"\n\n", data(said("Yes.")), data(said("", "stop")),
        data([], usage={"prompt_tokens": 12, "completion_tokens": 4, "total_tokens": 16}), DONE,
    ))  # fmt: skip
    told = chunks(ask(gateway, stream=True, stream_options=USAGE))
    assert told[-1]["usage"]["completion_tokens"] == 4
    assert (told[-1]["id"], told[-1]["object"]) == ("up-1", "chat.completion.chunk")


def test_azure_is_asked_with_its_own_key_header_and_its_version_in_the_query(gateway: RunningGateway) -> None:
    asked: list[Any] = []

    async def note(request: web.Request, body: dict[str, Any]) -> None:
        asked.append((str(request.rel_url), request.headers.get("api-key")))

    gateway.external.always(note)
    row = Deployment.objects.get(name="ext-a")
    row.base_url, row.headers = gateway.external.url + "?api-version=preview", {"api-key": "of-azure"}
    row.save()
    gateway.refresh()
    assert ask(gateway).status_code == 200
    assert asked == [("/v1/chat/completions?api-version=preview", "of-azure")]


def test_vllm_counts_as_it_goes_and_says_which_stop_it_met(gateway: RunningGateway) -> None:
    def so_far(count: int) -> dict[str, Any]:
        return {"prompt_tokens": 12, "completion_tokens": count, "total_tokens": 12 + count}

    last = [{"index": 0, "delta": {"content": ""}, "finish_reason": "stop", "stop_reason": "END"}]
    everywhere(gateway, raw_stream(
        data(said("All "), usage=so_far(1)), data(said("well."), usage=so_far(2)), data(last, usage=so_far(3)),
        data([], usage=so_far(3) | {"prompt_tokens_details": None}), DONE,
    ))  # fmt: skip
    told = chunks(ask(gateway, stream=True, stream_options=USAGE))
    assert told[-1]["choices"] == [] and told[-1]["usage"]["completion_tokens"] == 3
    assert spent(gateway)["tokens_out"] == 3
    with gateway.client() as client:
        stream = client.post("/v1/messages", json=CHAT | {"stream": True, "stop_sequences": ["END"]}).text
    assert '"stop_reason":"stop_sequence","stop_sequence":"END"' in stream


def test_sglangs_own_fields_pass(gateway: RunningGateway) -> None:
    choice = {
        "message": {"role": "assistant", "content": "Yes.", "reasoning_content": None},
        "matched_stop": 2,
    }
    everywhere(gateway, answers(choice, metadata={"weight_version": "default"}))
    reply = ask(gateway, extra_key="x").json()
    assert reply["choices"][0]["matched_stop"] == 2 and reply["metadata"] == {"weight_version": "default"}


def test_ollama_ends_a_call_of_a_tool_like_any_answer(gateway: RunningGateway) -> None:
    call = {
        "index": 0,
        "id": "call_a",
        "type": "function",
        "function": {"name": "weather", "arguments": "{}"},
    }
    everywhere(gateway, raw_stream(
        data(said("", role="assistant", tool_calls=[call])), data(said("", "stop")), DONE,
    ))  # fmt: skip
    with gateway.client() as client:
        stream = client.post("/v1/messages", json=CHAT | {"stream": True}).text
        everywhere(gateway, answers({"message": {"content": "", "tool_calls": [call]}}))
        whole = client.post("/v1/messages", json=CHAT).json()
    assert '"stop_reason":"tool_use"' in stream, "else its client would stop here"
    assert whole["stop_reason"] == "tool_use" and whole["content"][0]["type"] == "tool_use"


def test_arguments_given_as_an_object_become_the_text_that_clients_read(gateway: RunningGateway) -> None:
    """As older TGI and Ollama write them; a guard reads texts alone."""
    call = {"id": "0", "type": "function", "function": {"name": "weather", "arguments": {"city": "Oslo"}}}
    everywhere(
        gateway, answers({"message": {"content": None, "tool_calls": [call]}, "finish_reason": "tool_calls"})
    )
    [told] = ask(gateway).json()["choices"][0]["message"]["tool_calls"]
    assert told["function"]["arguments"] == '{"city":"Oslo"}'
    everywhere(gateway, raw_stream(
        data(said("", tool_calls=[{"index": 0} | call | {"function": {"name": "w", "arguments": {"city": "Oslo"}}}])),
        data(said("", "tool_calls")), DONE,
    ))  # fmt: skip
    first = chunks(ask(gateway, stream=True))[0]["choices"][0]["delta"]["tool_calls"][0]
    assert first["function"]["arguments"] == '{"city":"Oslo"}'


def test_tgi_ends_without_a_word_where_it_said_why_it_finished(gateway: RunningGateway) -> None:
    everywhere(gateway, raw_stream(
        data(said("Yes."), usage=None).replace(b"data: ", b"data:"), data(said("", "eos_token")),
    ))  # fmt: skip
    told = chunks(ask(gateway, stream=True))
    assert (
        told[0]["choices"][0]["delta"]["content"] == "Yes." and spent(gateway)["usage_source"] == "estimated"
    )


@pytest.mark.parametrize(
    ("found", "asks", "name"),
    [("max_completion_tokens", "max_tokens", "max_completion_tokens"), ("max_tokens", "max_completion_tokens", "max_tokens"),
     ("", "max_tokens", "max_tokens"), ("", "max_completion_tokens", "max_completion_tokens")],
)  # fmt: skip
def test_the_cap_is_sent_by_the_name_that_a_probe_found_its_server_keeps(
    gateway: RunningGateway, found: str, asks: str, name: str
) -> None:
    """OpenAI's newer models refuse `max_tokens`; DeepSeek and others ignore `max_completion_tokens`."""
    if found:
        told = {"found": {"max_tokens": {"support": "yes", "why": "", "name": found}}}
        Deployment.objects.filter(name="ext-a").update(capabilities=told)
        gateway.refresh()
    body = {"model": "chatter", "messages": SAID, asks: 50}
    with gateway.client() as client:
        assert client.post("/v1/chat/completions", json=body).status_code == 200
        sent = gateway.external.seen[-1].body
        assert {n: v for n, v in sent.items() if n.startswith("max_")} == {name: 50}
        assert (
            client.post("/v1/completions", json={"model": "chatter", "prompt": "x", asks: 50}).status_code
            == 200
        )
    sent = gateway.external.seen[-1].body
    assert {n: v for n, v in sent.items() if n.startswith("max_")} == {"max_tokens": 50}
