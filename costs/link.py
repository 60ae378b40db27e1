"""One lean connection to Valkey: commands go out in order, replies come back in order.

The general client spends most of a request's admission budget on its pool, retries and bookkeeping; here a call is one
write and one future. TLS, passwords and database numbers of the url are honoured.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from typing import Any

import hiredis
from redis.connection import parse_url


class LinkDown(ConnectionError):
    """Valkey can't be reached, or didn't answer in time."""


class ScriptUnknown(RuntimeError):
    """EVALSHA of a script the server hasn't got."""


class _Protocol(asyncio.Protocol):
    def __init__(self) -> None:
        self.reader = hiredis.Reader()
        self.waiting: deque[asyncio.Future[Any]] = deque()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self.reader.feed(data)
        while (reply := self.reader.gets()) is not False:
            future = self.waiting.popleft()
            if future.done():
                continue
            if isinstance(reply, hiredis.ReplyError):
                text = str(reply)
                future.set_exception(
                    ScriptUnknown(text) if text.startswith("NOSCRIPT") else RuntimeError(text)
                )
            else:
                future.set_result(reply)

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None
        while self.waiting:
            future = self.waiting.popleft()
            if not future.done():
                future.set_exception(LinkDown(f"The connection to Valkey was lost: {error}"))


class ValkeyLink:
    """`await call(…)`. Connects when first needed; after a failure the next call tries again."""

    def __init__(self, url: str, *, connect_timeout_s: float = 0.5, timeout_s: float = 1.0) -> None:
        self._options = dict(parse_url(url))
        self._tls = url.startswith("rediss://")
        self._connect_timeout_s = connect_timeout_s
        self._timeout_s = timeout_s
        self._protocol: _Protocol | None = None
        self._connecting: asyncio.Task[_Protocol] | None = None

    async def call(self, *parts: bytes | str | int) -> Any:
        """The reply of one command. Raises LinkDown, ScriptUnknown, or RuntimeError for another error reply."""
        protocol = self._protocol
        if protocol is None or protocol.transport is None:
            protocol = await self._connect()
        return await self._send(protocol, parts)

    async def _send(self, protocol: _Protocol, parts: tuple[bytes | str | int, ...]) -> Any:
        if protocol.transport is None:
            raise LinkDown("The connection to Valkey was lost.")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        protocol.waiting.append(future)
        protocol.transport.write(hiredis.pack_command(parts))  # type: ignore[arg-type]  # its stub says one part
        timer = loop.call_later(self._timeout_s, self._give_up, protocol, future)
        try:
            return await future
        finally:
            timer.cancel()

    def _give_up(self, protocol: _Protocol, future: asyncio.Future[Any]) -> None:
        """Replies have no names, so a late one would be taken for the next: the connection ends."""
        if not future.done():
            future.set_exception(LinkDown(f"Valkey didn't answer within {self._timeout_s:g} s."))
        if protocol.transport is not None:
            protocol.transport.abort()
            protocol.transport = None

    async def _connect(self) -> _Protocol:
        """Callers that meet here share one attempt."""
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._open())
            self._connecting.add_done_callback(lambda _: setattr(self, "_connecting", None))
        return await asyncio.shield(self._connecting)

    async def _open(self) -> _Protocol:
        loop, options = asyncio.get_running_loop(), self._options
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                if path := options.get("path"):
                    _, protocol = await loop.create_unix_connection(_Protocol, path)
                else:
                    host, port = options.get("host", "localhost"), options.get("port", 6379)
                    tls = ssl.create_default_context() if self._tls else None
                    _, protocol = await loop.create_connection(_Protocol, host, port, ssl=tls)
            if password := options.get("password"):
                await self._send(protocol, ("AUTH", options.get("username") or "default", password))
            if options.get("db"):
                await self._send(protocol, ("SELECT", str(options["db"])))
        except (OSError, TimeoutError) as error:
            raise LinkDown(f"Valkey can't be reached: {error}") from error
        self._protocol = protocol
        return protocol

    def close(self) -> None:
        if self._protocol is not None and self._protocol.transport is not None:
            self._protocol.transport.close()
        self._protocol = None
