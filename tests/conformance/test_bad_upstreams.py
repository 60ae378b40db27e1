"""Upstreams that answer what nobody should, to every endpoint, whole and as a stream: refused or read in each one's own words."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import orjson
import pytest
from aiohttp import web

from costs.contracts import Usage
from costs.pricing import external_cost
from tests.conformance.misbehaviour import html, redirect
from tests.fakes.gateway import RunningGateway
from tests.fakes.upstream import SERVER, Fault, garbage, raw_stream

pytestmark = pytest.mark.django_db(transaction=True)
SAID = [{"role": "user", "content": "Hello?"}]
BODIES: dict[str, dict[str, Any]] = {
    "chat/completions": {"model": "chatter", "messages": SAID, "max_tokens": 60},
    "completions": {"model": "chatter", "prompt": "Hello?", "max_tokens": 60},
    "responses": {"model": "chatter", "input": "Hello?", "max_output_tokens": 60},
    "messages": {"model": "chatter", "messages": SAID, "max_tokens": 60},
    "embeddings": {"model": "vectors", "input": "Hello?"},
    "classifications": {"model": "support-sentiment", "input": "Hello?"},
    "predictions": {"model": "price-advice", "records": [{"a": 1}]},
}
STREAMING = ("chat/completions", "completions", "responses", "messages")


def everywhere(gateway: RunningGateway, fault: Fault) -> None:
    gateway.external.always(fault)
    gateway.private.always(fault)


def ask(gateway: RunningGateway, endpoint: str, **more: Any) -> tuple[int, str]:
    headers = more.pop("headers", {})
    with gateway.client() as client:
        reply = client.post(f"/v1/{endpoint}", json=BODIES[endpoint] | more, headers=headers)
    return reply.status_code, reply.text


# ------------------------------------------------------------------------------------------------- what is no answer
def answers(body: bytes, content_type: str = "application/json", **headers: str) -> Fault:
    async def fault(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
        return web.Response(body=body, content_type=content_type, headers=headers)

    return fault


NONSENSE: dict[str, Fault] = {
    "HTML": html,
    "a redirect": redirect,
    "nothing": answers(b""),
    "a list": answers(b"[1, 2]"),
    "null": answers(b"null"),
    "a number": answers(b"7"),
    "no UTF-8": answers(b'{"choices": [{"message": {"content": "\xff\xfe"}}], "data": "\xff"}'),
    "JSON that ends halfway": garbage('{"choices": [{"message": {"cont'),
    "choices that are none": garbage('{"choices": {"a": 1}, "data": 5}'),
    "a choice that is none": garbage('{"choices": [null], "data": [null]}'),
    "JSON 10,000 deep": answers(b'{"choices": ' + b"[" * 10_000 + b"]" * 10_000 + b"}"),
}


@pytest.mark.parametrize("what", NONSENSE)
def test_what_is_no_answer_is_502_for_every_endpoint_and_its_upstream_is_named_nowhere(
    gateway: RunningGateway, what: str
) -> None:
    for endpoint in BODIES:
        everywhere(gateway, NONSENSE[what])
        status, told = ask(gateway, endpoint)
        error = orjson.loads(told)["error"]
        assert (status, error["code"]) == (502, "upstream_error"), (endpoint, told)
        assert "127.0.0.1" not in told and "169.254" not in told, "no address of anybody leaves"
        close_breakers(gateway)


def close_breakers(gateway: RunningGateway) -> None:
    """As if the pause of every breaker were over."""
    with gateway.valkey.client() as client:
        for name in client.scan_iter("sy:cb:*"):
            client.delete(name)


@pytest.mark.parametrize("endpoint", STREAMING)
@pytest.mark.parametrize("what", ["HTML", "a redirect", "nothing", "a list"])
def test_what_is_no_stream_is_no_200(gateway: RunningGateway, endpoint: str, what: str) -> None:
    everywhere(gateway, NONSENSE[what])
    status, told = ask(gateway, endpoint, stream=True)
    assert status == 502 and orjson.loads(told)["error"]["code"] == "upstream_error", told


# ---------------------------------------------------------------------------------------------- another model's name
@pytest.mark.parametrize("endpoint", BODIES)
def test_another_models_name_is_shown_nowhere(gateway: RunningGateway, endpoint: str) -> None:
    secret = "internal-model-7b-q4"
    gateway.external.manners.more = {"model": secret}
    status, told = ask(gateway, endpoint)
    assert status == 200 and secret not in told
    assert orjson.loads(told)["model"] == BODIES[endpoint]["model"]


def named(model: str) -> Fault:
    """A stream of a model that calls itself so."""

    async def fault(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        server = request.app[SERVER]
        response = await server.open_stream(request)
        for frame in server.frames(body | {"model": model}):
            await response.write(frame)
        return response

    return fault


@pytest.mark.parametrize("endpoint", STREAMING)
def test_another_models_name_is_shown_in_no_stream(gateway: RunningGateway, endpoint: str) -> None:
    gateway.external.always(named("internal-model-7b-q4"))
    status, told = ask(gateway, endpoint, stream=True)
    assert status == 200 and "All" in told and "internal-model-7b-q4" not in told
    assert '"chatter"' in told


# ------------------------------------------------------------------------------------------------------------ streams
def chunk(content: str = "", end: str = "\n\n", **more: Any) -> bytes:
    choice = {
        "index": 0,
        "delta": {"content": content} if content else {},
        "finish_reason": more.pop("finish", None),
    }
    head = {"id": "u", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return b"data: " + orjson.dumps(head | more) + end.encode()


CRLF = "\r\n\r\n"
AWKWARD = (
    b": hello" + CRLF.encode() + b"event: x\r\nid: 7\r\nretry: 5\r\n" + chunk("Grüße, ", CRLF) + b":\n\n" + chunk("😀 ", "\n\n")
    + chunk("дела", CRLF) + chunk("", CRLF, finish="stop") + b": bye\r\n\r\n" + b"data: [DONE]\r\n\r\n"
)  # fmt: skip


def words_of(endpoint: str, told: str) -> str:
    """The text of a stream of any endpoint."""
    found = []
    for line in told.splitlines():
        if not line.startswith("data: {"):
            continue
        frame = orjson.loads(line[6:])
        if endpoint == "messages":
            found.append(frame.get("delta", {}).get("text") or "")
        elif endpoint == "responses":
            found.append(frame["delta"] if frame["type"] == "response.output_text.delta" else "")
        else:
            found += [c["delta"].get("content") or "" for c in frame["choices"]]
    return "".join(found)


@pytest.mark.parametrize("endpoint", ["chat/completions", "messages", "responses"])
@pytest.mark.parametrize("step", [1, 3, 1000])
def test_bytes_may_be_cut_anywhere(gateway: RunningGateway, endpoint: str, step: int) -> None:
    gateway.external.always(raw_stream(*(AWKWARD[i : i + step] for i in range(0, len(AWKWARD), step))))
    status, told = ask(gateway, endpoint, stream=True)
    assert status == 200 and words_of(endpoint, told) == "Grüße, 😀 дела"
    if endpoint == "chat/completions":
        assert told.endswith("data: [DONE]\n\n")
        kinds = {line.partition(":")[0] for line in told.splitlines() if line}
        assert kinds <= {"data", ""}, "no id, event or retry of theirs"


def whole(usage: Any, place: str) -> tuple[bytes, ...]:
    """A stream with its usage in one of the places where vendors put it."""
    last = {"usage": usage} if place == "in the last chunk" else {}
    every = {"usage": usage} if place == "in every chunk" else {}
    alone = b"data: " + orjson.dumps({"id": "u", "choices": [], "usage": usage}) + b"\n\n"
    return (
        chunk("All ", **every), chunk("is well.", **every), chunk(finish="stop", **every, **last),
        *((alone,) if place == "alone" else ()), b"data: [DONE]\n\n",
        *((alone,) if place == "after the end" else ()),
    )  # fmt: skip


USAGE = {"prompt_tokens": 40, "completion_tokens": 30, "total_tokens": 70}


@pytest.mark.parametrize("place", ["in the last chunk", "in every chunk", "alone"])
def test_usage_is_taken_wherever_it_appears_and_told_once(gateway: RunningGateway, place: str) -> None:
    gateway.external.always(raw_stream(*whole(USAGE, place)))
    _, told = ask(gateway, "chat/completions", stream=True, stream_options={"include_usage": True})
    (attempt,) = gateway.events(1)[0]["attempts"]
    assert (attempt["tokens_in"], attempt["tokens_out"], attempt["usage_source"]) == (40, 30, "reported")
    frames = [orjson.loads(line[6:]) for line in told.splitlines() if line.startswith("data: {")]
    assert frames[-1]["choices"] == [] and frames[-1]["usage"]["completion_tokens"] == 30


ABSURD: list[Any] = [
    None,
    {},
    [],
    "many",
    7,
    {"prompt_tokens": -5, "completion_tokens": -1},
    {"prompt_tokens": 10**15, "completion_tokens": 10**15},
    {"prompt_tokens": True, "completion_tokens": 1.5},
    {"prompt_tokens": {"a": 1}},
    {"prompt_tokens": "nan", "completion_tokens": None},
]


@pytest.mark.parametrize("usage", ABSURD, ids=[str(i) for i in range(len(ABSURD))])
def test_usage_that_is_missing_or_absurd_costs_an_estimate(gateway: RunningGateway, usage: Any) -> None:
    gateway.external.always(raw_stream(*whole(usage, "in the last chunk")))
    status, told = ask(gateway, "chat/completions", stream=True)
    assert status == 200 and told.endswith("data: [DONE]\n\n")
    gateway.external.behave()
    gateway.external.manners.usage = usage if isinstance(usage, dict) else {}
    assert ask(gateway, "chat/completions")[0] == 200
    for event in gateway.events(2):
        (attempt,) = event["attempts"]
        assert attempt["usage_source"] == "estimated" and 0 < event["cost_nusd"] < 10**9, attempt
        assert 0 <= attempt["tokens_out"] <= 60


# --------------------------------------------------------------------------------------------------- ends in the middle
CUT: dict[str, tuple[bytes, ...]] = {
    "it ends without an end": (chunk("All "), chunk("is")),
    "in the middle of a frame": (chunk("All "), chunk("is well.")[:40]),
    "in the middle of a letter": (chunk("All "), chunk("für")[: chunk("für").index("ü".encode()) + 1]),
    "an error in words": (chunk("All "), b'data: {"error": {"message": "out of memory", "code": 500}}\n\n'),
    "nonsense": (chunk("All "), b"data: {nonsense\n\n"),
}
ERRORS: dict[str, Callable[[str], bool]] = {
    "chat/completions": lambda told: '"code":"upstream_error"' in told and "[DONE]" not in told,
    "completions": lambda told: '"code":"upstream_error"' in told and "[DONE]" not in told,
    "messages": lambda told: "event: error" in told and "message_stop" not in told,
    "responses": lambda told: "response.failed" in told and "response.completed" not in told,
}


@pytest.mark.parametrize("endpoint", STREAMING)
@pytest.mark.parametrize("what", CUT)
def test_a_stream_that_is_not_whole_never_looks_whole(
    gateway: RunningGateway, endpoint: str, what: str
) -> None:
    gateway.external.always(raw_stream(*CUT[what]))
    status, told = ask(gateway, endpoint, stream=True)
    assert status == 200 and ERRORS[endpoint](told), told
    assert "out of memory" not in told
    event = gateway.events(1)[0]
    assert event["error_code"] == "upstream_error" and event["attempts"][0]["status"] == "cut"
    assert event["cost_nusd"] > 0, "what was written is paid"


# ---------------------------------------------------------------------------------------- cut by us, settled exactly
def settled(gateway: RunningGateway, endpoint: str, **more: Any) -> tuple[str, dict[str, Any]]:
    """(the stream, its event); what was reserved is settled to the nano-dollar."""
    status, told = ask(gateway, endpoint, stream=True, **more)
    assert status == 200
    event = gateway.events(1)[0]
    (attempt,) = event["attempts"]
    sheet = next(iter(gateway.front.keeper.world.organisations.values())).deployments["ext-a"].prices
    assert sheet is not None
    used = Usage(tokens_in=attempt["tokens_in"], tokens_out=attempt["tokens_out"])
    assert event["cost_nusd"] == attempt["cost_nusd"] == external_cost(used, sheet) > 0
    with gateway.valkey.client() as client:
        assert client.keys("sy:r:*") == []
        for name in client.scan_iter("sy:b:*"):
            kept = client.hgetall(name) if client.type(name) == b"hash" else {}
            if b"spent" in kept:
                assert (int(kept[b"spent"]), int(kept[b"reserved"])) == (event["cost_nusd"], 0)
    return told, event


TYPED: dict[str, Callable[[str], bool]] = {
    "chat/completions": lambda told: '"type":"insufficient_quota"' in told and "[DONE]" not in told,
    "completions": lambda told: '"type":"insufficient_quota"' in told and "[DONE]" not in told,
    "messages": lambda told: "event: error" in told and "message_stop" not in told,
    "responses": lambda told: "response.failed" in told and "response.completed" not in told,
}


@pytest.mark.parametrize("endpoint", STREAMING)
def test_a_stream_that_outgrows_what_was_bought_is_cut_with_a_typed_end(
    gateway: RunningGateway, endpoint: str
) -> None:
    gateway.external.manners.words = ["w"] * 500
    gateway.external.manners.report_usage = False
    cap = "max_output_tokens" if endpoint == "responses" else "max_tokens"
    told, event = settled(gateway, endpoint, **{cap: 20})
    assert TYPED[endpoint](told) and event["error_code"] == "project_spend_limit_exceeded"
    assert event["attempts"][0]["status"] == "cut" and 20 <= event["attempts"][0]["tokens_out"] <= 22


def test_a_stream_that_reaches_its_callers_cap_is_cut_with_a_typed_end(gateway: RunningGateway) -> None:
    """A server that thinks for long tells more tokens than it shows; the worst case stays under the cap."""
    frames = [chunk("w ", usage={"prompt_tokens": 40, "completion_tokens": 50 * (i + 1)}) for i in range(40)]
    gateway.external.always(raw_stream(*frames, chunk(finish="stop"), b"data: [DONE]\n\n"))
    sheet = next(iter(gateway.front.keeper.world.organisations.values())).deployments["ext-a"].prices
    assert sheet is not None
    cap = external_cost(Usage(tokens_in=400, tokens_out=200), sheet)
    usd = format(Decimal(cap) / 10**9, "f")
    told, event = settled(
        gateway, "chat/completions", max_tokens=100, headers={"X-Switchyard-Max-Cost-Usd": usd}
    )
    assert TYPED["chat/completions"](told) and f"${usd}"[:8] in told
    assert event["error_code"] == "project_spend_limit_exceeded" and event["attempts"][0]["status"] == "cut"
