"""One lean connection to Valkey: commands go out in order, replies come back in order.

The general client spends most of a request's admission budget on its pool, retries and bookkeeping; here a call is one
write and one future. TLS, passwords and database numbers of the url are honoured.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import hiredis
from redis.connection import parse_url

log = logging.getLogger(__name__)


class LinkDown(ConnectionError):
    """Valkey can't be reached, or didn't answer in time."""


class ScriptUnknown(RuntimeError):
    """The server hasn't got the script or function that was called."""


UNKNOWN = ("NOSCRIPT", "ERR Function not found")
Answered = Callable[[Any, Exception | None], None]  # the reply, or why there is none


class _Protocol(asyncio.Protocol):
    def __init__(self, timeout_s: float) -> None:
        self.reader = hiredis.Reader()
        self.waiting: deque[tuple[float, Answered]] = deque()  # until when, and who is told
        self.transport: asyncio.Transport | None = None
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def send(self, packed: bytes, answered: Answered) -> None:
        assert self.transport is not None
        self.waiting.append((self._loop.time() + self._timeout_s, answered))
        self.transport.write(packed)
        if self._timer is None:  # one for all: a timer a call would cost as much as the write
            self._timer = self._loop.call_later(self._timeout_s, self._look)

    def data_received(self, data: bytes) -> None:
        self.reader.feed(data)
        while (reply := self.reader.gets()) is not False:
            answered = self.waiting.popleft()[1]
            try:
                if isinstance(reply, hiredis.ReplyError):
                    text = str(reply)
                    unknown = text.startswith(UNKNOWN)
                    answered(None, ScriptUnknown(text) if unknown else RuntimeError(text))
                else:
                    answered(reply, None)
            except Exception:  # one caller's mistake isn't the connection's: the others' replies come over it
                log.exception("What was to be done with a reply of Valkey failed")

    def connection_lost(self, error: Exception | None) -> None:
        self._fail(LinkDown(f"The connection to Valkey was lost: {error}"))

    def _look(self) -> None:
        """Replies have no names, so a late one would be taken for the next: the connection ends."""
        self._timer = None
        if not self.waiting:
            return
        left_s = self.waiting[0][0] - self._loop.time()
        if left_s > 0:
            self._timer = self._loop.call_later(left_s, self._look)
        else:
            self._fail(LinkDown(f"Valkey didn't answer within {self._timeout_s:g} s."))

    def _fail(self, error: LinkDown) -> None:
        transport, self.transport = self.transport, None
        if transport is not None:
            transport.abort()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self.waiting:
            self.waiting.popleft()[1](None, error)


class ValkeyLink:
    """`await call(…)`, or `submit` with a function to be told. Connects when first needed; after a failure the next call tries
    again."""

    def __init__(self, url: str, *, connect_timeout_s: float = 0.5, timeout_s: float = 1.0) -> None:
        self._options = dict(parse_url(url))
        self._tls = url.startswith("rediss://")
        self._connect_timeout_s = connect_timeout_s
        self._timeout_s = timeout_s
        self._protocol: _Protocol | None = None
        self._connecting: asyncio.Task[_Protocol] | None = None
        self._submitting: set[asyncio.Task[None]] = set()

    async def call(self, *parts: bytes | str | int) -> Any:
        """The reply of one command. Raises LinkDown, ScriptUnknown, or RuntimeError for another error reply."""
        protocol = self._protocol
        if protocol is None or protocol.transport is None:
            protocol = await self._connect()
        return await self._send(protocol, parts)

    def submit(self, answered: Answered, *parts: bytes | str | int) -> None:
        """The same without a task: `answered` is called with the reply, or with what `call` would raise."""
        protocol = self._protocol
        if protocol is not None and protocol.transport is not None:
            protocol.send(hiredis.pack_command(parts), answered)  # type: ignore[arg-type]  # its stub says one part
            return
        task = asyncio.get_running_loop().create_task(self._submit_later(answered, parts))
        self._submitting.add(task)
        task.add_done_callback(self._submitting.discard)

    async def _submit_later(self, answered: Answered, parts: tuple[bytes | str | int, ...]) -> None:
        try:
            reply = await self.call(*parts)
        except Exception as error:
            answered(None, error)
        else:
            answered(reply, None)

    async def _send(self, protocol: _Protocol, parts: tuple[bytes | str | int, ...]) -> Any:
        if protocol.transport is None:
            raise LinkDown("The connection to Valkey was lost.")
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def answered(reply: Any, error: Exception | None) -> None:
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(reply)

        protocol.send(hiredis.pack_command(parts), answered)  # type: ignore[arg-type]
        return await future

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
                make = partial(_Protocol, self._timeout_s)
                if path := options.get("path"):
                    _, protocol = await loop.create_unix_connection(make, path)
                else:
                    host, port = options.get("host", "localhost"), options.get("port", 6379)
                    tls = ssl.create_default_context() if self._tls else None
                    _, protocol = await loop.create_connection(make, host, port, ssl=tls)
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
