"""The front reference, 1× of the hot path: a plain ASGI callable ahead of Django in the same process that parses the
body, looks the key up in memory, forwards with aiohttp, reads usage and appends a record to a list. Nothing else. Streams are
relayed as they come, their tail parsed for usage.

uvicorn bench.front_reference:application, with REFERENCE_UPSTREAM and REFERENCE_KEY in the environment.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import orjson
from yarl import URL

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "switchyard.settings.dev")

from django.core.asgi import get_asgi_application

django_application = get_asgi_application()
UPSTREAM = URL(os.environ.get("REFERENCE_UPSTREAM", "http://127.0.0.1:9/v1/chat/completions"))
KEYS = {f"Bearer {os.environ.get('REFERENCE_KEY', 'key')}".encode(): "customer-service"}
RECORDS: list[tuple[str, str, int, int]] = []
JSON = (b"content-type", b"application/json")
SSE = (b"content-type", b"text/event-stream")
_session: aiohttp.ClientSession | None = None


async def application(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
    elif scope["path"] == "/v1/chat/completions":
        await _forward(scope, receive, send)
    elif scope["path"] == "/healthz":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})
    else:
        await django_application(scope, receive, send)  # type: ignore[arg-type]


async def _lifespan(receive: Any, send: Any) -> None:
    global _session
    await receive()
    _session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=512), cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
    )
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await _session.close()
    await send({"type": "lifespan.shutdown.complete"})


async def _forward(scope: dict[str, Any], receive: Any, send: Any) -> None:
    assert _session is not None
    headers = dict(scope["headers"])
    lob = KEYS.get(headers.get(b"authorization", b""))
    if lob is None:
        await send({"type": "http.response.start", "status": 401, "headers": []})
        await send({"type": "http.response.body", "body": b""})
        return
    raw = b""
    more = True
    while more:
        message = await receive()
        raw += message.get("body", b"")
        more = message.get("more_body", False)
    body = orjson.loads(raw)
    if body.get("stream"):
        await _stream(raw, lob, body["model"], send)
        return
    async with _session.post(UPSTREAM, data=raw, headers={"content-type": "application/json"}) as reply:
        payload = await reply.read()
    usage = orjson.loads(payload)["usage"]
    RECORDS.append((lob, body["model"], usage["prompt_tokens"], usage["completion_tokens"]))
    length = (b"content-length", str(len(payload)).encode())
    await send({"type": "http.response.start", "status": reply.status, "headers": [JSON, length]})
    await send({"type": "http.response.body", "body": payload})


async def _stream(raw: bytes, lob: str, model: str, send: Any) -> None:
    assert _session is not None
    tail = b""
    async with _session.post(UPSTREAM, data=raw, headers={"content-type": "application/json"}) as reply:
        await send({"type": "http.response.start", "status": reply.status, "headers": [SSE]})
        async for chunk in reply.content.iter_any():
            tail = (tail + chunk)[-4096:]
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
    last = tail[tail.rindex(b"data: {") :].split(b"\n\n")[0]
    usage = orjson.loads(last[6:])["usage"]
    RECORDS.append((lob, model, usage["prompt_tokens"], usage["completion_tokens"]))
