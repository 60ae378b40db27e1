"""Other vendors' words for a chat, translated at the edge: the call goes on as /v1/chat/completions, its answer comes back.

Inside, everything is the one pipeline: keys, inspection, policy, money, guard, cache. A dialect only reads a body, and writes
answers, events and errors in its own shape; what it writes has its verdict already.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import orjson

from routing import shapes
from routing.contracts import KeyInfo
from routing.execution.sse import FrameReader
from routing.intake.parsing import SURFACE
from switchyard.gateway.bodies import handed_on, instead, read_json
from switchyard.gateway.replies import Send

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Authenticate = Callable[[], KeyInfo]


class Dialect(Protocol):
    """One call in another vendor's words; an object of its own for each call."""

    surface: str  # the endpoint as its caller knows it
    ping: bytes

    async def asked(self, body: dict[str, Any], key: KeyInfo) -> dict[str, Any]:
        """The chat request. Raises SwitchyardError with the parameter as the caller named it."""
        ...

    async def whole(self, answer: dict[str, Any], mark: str) -> dict[str, Any]:
        """The answer of a call that isn't streamed. `mark`: what its id ends in."""
        ...

    def frame(self, data: dict[str, Any], mark: str) -> bytes:
        """Events for one chunk of a stream."""
        ...

    async def ended(self) -> bytes:
        """The last events of a stream that came to its end; called once, after metering."""
        ...

    async def failed(self, error: dict[str, Any]) -> bytes:
        """The last events of one that broke off; `error` as in an error's body."""
        ...

    def refused(self, status: int, body: dict[str, Any], mark: str) -> tuple[int, dict[str, Any]]:
        """Status and body of a refusal."""
        ...

    def headers(self, mark: str) -> list[tuple[bytes, bytes]]:
        """Headers that its clients look for beside ours."""
        ...


def event(name: str, data: dict[str, Any]) -> bytes:
    """One typed event, its name beside its data, as clients of typed events read it."""
    return b"event: " + name.encode() + b"\ndata: " + orjson.dumps(data) + b"\n\n"


def bearer_of(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """A key in `x-api-key` counts as a bearer key where no other is given."""
    told = dict(headers)
    if b"x-api-key" not in told or b"authorization" in told:
        return headers
    return [*headers, (b"authorization", b"Bearer " + told[b"x-api-key"])]


def inner_scope(scope: Scope, dialect: Dialect, inner: str) -> Scope:
    """The same call to the endpoint that does the work, with the endpoint that its record will name."""
    headers = [*bearer_of(scope["headers"]), (SURFACE, dialect.surface.encode())]
    return {**scope, "path": f"/v1/{inner}", "raw_path": f"/v1/{inner}".encode(), "headers": headers}


def inner_receive(scope: Scope, receive: Receive, dialect: Dialect, authenticate: Authenticate) -> Receive:
    """The body is read and translated when the pipeline asks for it: after the key was looked at."""

    async def translated() -> dict[str, Any]:
        _, body = await read_json(receive, dict(scope["headers"]))
        chat = await dialect.asked(body, authenticate())
        return handed_on(orjson.dumps(chat), chat)

    return instead(translated, receive)


class Translator:
    """ASGI `send` that turns chat answers, streams and errors into the dialect's."""

    def __init__(self, dialect: Dialect, send: Send) -> None:
        self.dialect, self._send = dialect, send
        self._start: dict[str, Any] = {}
        self._mark = ""
        self._streams = self._over = False
        self._reader = FrameReader()
        self._parts: list[bytes] = []

    async def __call__(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            await self._begin(message)
        elif message["type"] != "http.response.body":
            await self._send(message)
        elif self._streams:
            await self._stream(message)
        else:
            self._parts.append(message.get("body", b""))
            if not message.get("more_body"):
                await self._whole(b"".join(self._parts))

    async def _begin(self, message: dict[str, Any]) -> None:
        told = dict(message["headers"])
        self._start = message
        name = told.get(b"x-switchyard-decision-id") or told.get(b"x-request-id") or b"_none"
        self._mark = name.decode("latin-1").partition("_")[2]
        self._streams = told.get(b"content-type", b"").startswith(b"text/event-stream")
        if self._streams:
            headers = [*message["headers"], *self.dialect.headers(self._mark)]
            await self._send({**message, "headers": headers})

    async def _whole(self, payload: bytes) -> None:
        status, body = self._start["status"], orjson.loads(payload)
        if status < 400:
            body = await self.dialect.whole(body, self._mark)
        else:
            status, body = self.dialect.refused(status, body, self._mark)
        payload = orjson.dumps(body)
        headers = [pair for pair in self._start["headers"] if pair[0] != b"content-length"]
        headers += [(b"content-length", str(len(payload)).encode()), *self.dialect.headers(self._mark)]
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": payload})

    async def _stream(self, message: dict[str, Any]) -> None:
        part, out = message.get("body", b""), b""
        if part == shapes.PING:
            out = self.dialect.ping
        else:
            for frame in self._reader.feed(part):
                out += await self._translated(frame.data, done=frame.done)
        if out or not message.get("more_body"):
            await self._send({**message, "body": out})

    async def _translated(self, data: dict[str, Any] | None, *, done: bool) -> bytes:
        if self._over:
            return b""
        if done:
            self._over = True
            return await self.dialect.ended()
        if data is not None and isinstance(data.get("error"), dict):
            self._over = True
            return await self.dialect.failed(data["error"])
        return self.dialect.frame(data or {}, self._mark)
