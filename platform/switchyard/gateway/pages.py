"""Where pages, the admin and REST are answered: in this process, or in one of their own to which we pass requests on.

`SWITCHYARD_PAGES_URL` decides: empty, or `unix:///path/of/pages.sock`, or `http://host:port`. A process of their own keeps the
gateway's event loop and its interpreter lock free of Django.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol
from urllib.parse import quote, urlsplit

import aiohttp
from yarl import URL

from switchyard.gateway.metrics import observe_pages
from switchyard.gateway.pages_away import send_away
from switchyard.gateway.pages_headers import from_pages, has_body, to_pages
from switchyard.gateway.replies import Send

log = logging.getLogger(__name__)
Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
CONNECTIONS = 512
CONNECT_S = 2.0
LOOK_S = 1.0  # how long /readyz waits for the pages process's word
STATE_FOR_S = 1.0
KEEP_ALIVE_S = 30.0  # under the pages server's 75 s, so that no request meets a closing connection
HEAD_MAX_BYTES = 64 * 1024
SAFE = bytes(range(0x21, 0x7F)).decode()  # a target's own bytes stay as they are; others are written as %XX


class BadPagesUrl(Exception):
    """SWITCHYARD_PAGES_URL can't be used; the message says what it must look like."""


class Pages(Protocol):
    """An ASGI application with a life, and a word on how it is: `here`, `up` or `away`."""

    async def open(self) -> None: ...
    async def close(self) -> None: ...
    async def state(self) -> str: ...
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...


class PagesHere:
    """Django in this process."""

    def __init__(self, django: Callable[..., Awaitable[None]]) -> None:
        self._django = django

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def state(self) -> str:
        return "here"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._django(scope, receive, _Observed(send))


class PagesElsewhere:
    """Passes each request on to the pages process and its answer back, both as they come."""

    def __init__(self, url: str, token: bytes) -> None:
        """Raises BadPagesUrl."""
        self._socket, self._base = pages_address(url)
        self._token = token
        self._session: aiohttp.ClientSession | None = None
        self._state, self._known = "away", 0.0

    async def open(self) -> None:
        connector: aiohttp.BaseConnector
        if self._socket:
            connector = aiohttp.UnixConnector(self._socket, limit=CONNECTIONS, keepalive_timeout=KEEP_ALIVE_S)
        else:
            connector = aiohttp.TCPConnector(
                limit=CONNECTIONS, keepalive_timeout=KEEP_ALIVE_S, ttl_dns_cache=10
            )
        self._session = aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False, trust_env=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            max_line_size=HEAD_MAX_BYTES, max_field_size=HEAD_MAX_BYTES,
        )  # fmt: skip

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def state(self) -> str:
        """`up` or `away`; asked anew when the last answer is older than STATE_FOR_S."""
        if time.monotonic() - self._known > STATE_FOR_S:
            assert self._session is not None
            try:
                wait = aiohttp.ClientTimeout(total=LOOK_S)
                async with self._session.get(self._base + "/healthz", timeout=wait) as answer:
                    self._tell("up" if answer.status == 200 else "away")
            except (aiohttp.ClientError, TimeoutError):
                self._tell("away")
        return self._state

    def _tell(self, state: str) -> None:
        self._state, self._known = state, time.monotonic()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ends with the answer, or as soon as the client has left: then the pages process sees its connection close."""
        upload = _Upload(receive)
        work = asyncio.ensure_future(self._pass_on(scope, upload, _Observed(send)))
        gone = asyncio.ensure_future(upload.client_left())
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (work, gone):
                task.cancel()
            await asyncio.wait({work, gone})
        if not work.cancelled() and (error := work.exception()) is not None and not upload.left:
            raise error

    async def _pass_on(self, scope: Scope, upload: _Upload, send: _Observed) -> None:
        assert self._session is not None
        target = quote(scope.get("raw_path") or scope["path"].encode(), safe=SAFE)
        if query := scope.get("query_string"):
            target += "?" + quote(query, safe=SAFE)
        try:
            async with self._session.request(
                scope["method"], URL(self._base + target, encoded=True), headers=to_pages(scope, self._token),
                data=upload.parts() if has_body(scope["headers"]) else None, allow_redirects=False,
            ) as answer:  # fmt: skip
                self._tell("up")
                await _send_on(answer, upload, send)
        except (aiohttp.ClientError, TimeoutError) as error:
            if upload.left:
                return
            self._known = 0.0  # whatever broke, the next who asks how the pages are looks anew
            never_reached = isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)
            if never_reached:
                self._tell("away")
            log.warning("pages: %s %s: %s", scope["method"], scope["path"], type(error).__name__)
            if send.started:
                raise BrokenOff from error  # the server closes the connection: a cut answer must look cut
            await send_away(scope, send, begun=not never_reached)


class BrokenOff(Exception):
    """The pages process ended in the middle of an answer."""


class _Upload:
    """The client's side of a request: its body in parts, then whether it is still there."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._read = asyncio.Event()
        self._taken = False
        self.left = False

    @property
    def whole(self) -> bool:
        """Nobody waits for more of the body."""
        return not self._taken or self._read.is_set()

    def parts(self) -> AsyncIterator[bytes]:
        """The body as it arrives; once."""
        self._taken = True
        return self._parts()

    async def _parts(self) -> AsyncIterator[bytes]:
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self.left = True
                self._read.set()
                raise ConnectionResetError("the client left in the middle of its request")
            more = message.get("more_body", False)
            if part := message.get("body", b""):
                yield part
        self._read.set()

    async def client_left(self) -> None:
        """Returns when the client has hung up."""
        await asyncio.sleep(0)  # the request begins first
        if self._taken:
            await self._read.wait()
        while not self.left:
            self.left = (await self._receive())["type"] == "http.disconnect"


class _Observed:
    """A `send` that knows whether the answer has begun, and counts it."""

    def __init__(self, send: Send) -> None:
        self._send, self._began = send, time.monotonic()
        self.started = False

    async def __call__(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            observe_pages(message["status"], time.monotonic() - self._began)
        await self._send(message)


async def _send_on(answer: aiohttp.ClientResponse, upload: _Upload, send: _Observed) -> None:
    headers = from_pages(answer.status, answer.raw_headers)
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    async for part in answer.content.iter_any():
        await send({"type": "http.response.body", "body": part, "more_body": True})
    if not upload.whole:
        answer.close()  # it answered before it had read everything: that connection can't be used again
    await send({"type": "http.response.body", "body": b""})


def pages_address(url: str) -> tuple[str, str]:
    """(path of the socket or nothing, base of the addresses). Raises BadPagesUrl."""
    parts = urlsplit(url)
    if parts.scheme == "unix" and not parts.netloc and parts.path.startswith("/"):
        return parts.path, "http://pages"
    try:
        right = (
            parts.scheme == "http" and parts.hostname and parts.port is not None and parts.path in ("", "/")
        )
    except ValueError:
        right = False
    if not right or parts.query or parts.fragment or parts.username:
        raise BadPagesUrl(
            f"SWITCHYARD_PAGES_URL={url!r} is no place of the pages process. Write unix:///path/of/pages.sock, "
            "http://host:port, or leave it empty: then this process answers pages itself."
        )
    return "", f"http://{parts.netloc}"
