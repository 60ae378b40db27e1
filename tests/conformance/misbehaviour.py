"""What the fake upstream does when a user's last message says `misbehave: <name>`: checks run in processes of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import web

from tests.fakes.upstream import SERVER, Fault, cut_stream, garbage, raw_stream, reset, status

WORDS = "misbehave:"


def command_in(body: Mapping[str, Any]) -> str:
    """The name in the last user message, or in a prompt; "" for anybody else."""
    said: Any = body.get("prompt")
    for message in body.get("messages") or ():
        if message.get("role") == "user":
            said = message.get("content")
    if isinstance(said, list):
        said = next((part.get("text") for part in said if part.get("type") == "text"), "")
    return said.partition(WORDS)[2].strip() if isinstance(said, str) and said.startswith(WORDS) else ""


def _answer(text: str, **more: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    usage = {"prompt_tokens": 12, "completion_tokens": 4, "total_tokens": 16}
    choice = {"index": 0, "finish_reason": "stop", "logprobs": None, "message": message}
    return {
        "id": "up-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [choice],
        "usage": usage,
    } | more


async def echo(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    """What it was asked, as its answer."""
    return web.json_response(_answer(orjson.dumps(body).decode()))


async def calls_a_tool(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    call = {
        "id": "call_a",
        "type": "function",
        "function": {"name": "weather", "arguments": '{"city": "Oslo"}'},
    }
    if not body.get("stream"):
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
        choice = {"index": 0, "finish_reason": "tool_calls", "message": message}
        return web.json_response(_answer("", choices=[choice]))
    response = await request.app[SERVER].open_stream(request)
    for choice in (
        {
            "index": 0,
            "delta": {"role": "assistant", "tool_calls": [{"index": 0} | call]},
            "finish_reason": None,
        },
        {"index": 0, "delta": {}, "finish_reason": "tool_calls"},
    ):
        chunk = {
            "id": "up-1",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "m",
            "choices": [choice],
        }
        await response.write(b"data: " + orjson.dumps(chunk) + b"\n\n")
    await response.write(b"data: [DONE]\n\n")
    return response


async def html(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    return web.Response(text="<html><body>It works!</body></html>", content_type="text/html")


async def redirect(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    raise web.HTTPTemporaryRedirect("http://169.254.169.254/latest/meta-data")


def replies(**more: Any) -> Fault:
    async def fault(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return web.json_response(_answer("All is well.", **more))

    return fault


def _chunk(content: str, end: bytes) -> bytes:
    choice = {"index": 0, "delta": {"content": content}, "finish_reason": None}
    head = {"id": "u", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return b"data: " + orjson.dumps(head) + end


# An umlaut cut in two, lines that end in CRLF, a comment, and no usage at all.
_SPLIT = b": hello\r\n\r\n" + _chunk("für ", b"\r\n\r\n") + _chunk("alle", b"\n\n") + b"data: [DONE]\n\n"
_CUT = _SPLIT.index("ü".encode()) + 1
COMMANDS: dict[str, Fault] = {
    "echo": echo, "tool": calls_a_tool, "html": html, "redirect": redirect, "reset": reset(),
    "garbage": garbage(), "500": status(500), "429": status(429, retry_after=1), "401": status(401),
    "422": status(422, message="the temperature is too high"), "no choices": replies(choices=[]),
    "other model": replies(model="somebody-elses-model"), "no usage": replies(usage=None),
    "absurd usage": replies(usage={"prompt_tokens": -5, "completion_tokens": 10**15, "total_tokens": "many"}),
    "cut": cut_stream(2), "split": raw_stream(_SPLIT[:_CUT], _SPLIT[_CUT:]),
}  # fmt: skip


async def on_command(request: web.Request, body: dict[str, Any]) -> web.StreamResponse | None:
    """A fault for FakeUpstream.always: misbehaves when asked to, else behaves."""
    fault = COMMANDS.get(command_in(body))
    return await fault(request, body) if fault is not None else None
