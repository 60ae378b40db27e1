"""Connections to one origin: made when needed, kept while they are fresh, at most so many; and the clock for all of them."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from routing.execution.lean.connection import Connection
from routing.execution.lean.exchange import LeanError, TooSlow

CONNECTIONS = 512  # to one origin
KEEP_ALIVE_S = 4.0  # under the 5 s after which uvicorn (vLLM) hangs up: no request meets a closing connection
ADDRESSES_S = 60.0  # how long a name's addresses are believed
TICK_S = 0.02  # how often time limits are looked at while a call is out


class CannotConnect(LeanError):
    """No address of the name took the connection, or none of them may be called."""


@dataclass(frozen=True, slots=True)
class Origin:
    scheme: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds to connect, and who says where calls may go: `check(address, name)` raises ValueError."""

    connect_s: float
    check: Callable[[str, str], None] | None = None


class Pool:
    """The connections of one origin. Not for several event loops."""

    def __init__(self, origin: Origin, limits: Limits, loop: asyncio.AbstractEventLoop) -> None:
        self.origin, self.limits, self.loop = origin, limits, loop
        self.now = loop.time
        self.idle: list[tuple[Connection, float]] = []  # the freshest last
        self.all: set[Connection] = set()
        self.opening = 0
        self.waiting: deque[asyncio.Future[None]] = deque()
        self._addresses: tuple[float, list[str]] = (0.0, [])
        self._tls = ssl.create_default_context() if origin.scheme == "https" else None
        self._ticking = False

    def ready(self) -> Connection | None:
        """A kept connection that is still good. One that the server closed was forgotten when it did."""
        while self.idle:
            connection, since = self.idle.pop()
            if self.now() - since > KEEP_ALIVE_S:
                for old, _ in (*self.idle, (connection, since)):
                    old.close()
                self.idle.clear()
            elif not connection.lost and not connection.transport.is_closing():
                return connection
        return None

    async def connect(self, until: float) -> Connection:
        """A new connection, or one that somebody gives back while all are taken. `until`: on this pool's clock."""
        while len(self.all) + self.opening >= CONNECTIONS:
            turn = self.loop.create_future()
            self.waiting.append(turn)
            try:
                async with asyncio.timeout(max(0.0, until - self.now())):
                    await turn
            except TimeoutError:
                raise TooSlow("Every connection is taken.") from None
            if (kept := self.ready()) is not None:
                return kept
        self.opening += 1
        try:
            async with asyncio.timeout(min(self.limits.connect_s, max(0.0, until - self.now()))):
                connection = await self._connected()
        except TimeoutError:
            raise CannotConnect("It didn't take the connection in time.") from None
        finally:
            self.opening -= 1
        self.all.add(connection)
        return connection

    async def _connected(self) -> Connection:
        failed: Exception | None = None
        for address in await self._resolved():
            try:
                # To the address that was checked; the certificate must still name the host.
                _, made = await self.loop.create_connection(
                    lambda: Connection(self), address, self.origin.port, ssl=self._tls,
                    server_hostname=self.origin.host if self._tls else None,
                )  # fmt: skip
                return made
            except OSError as error:  # ssl.SSLError is one
                failed = error
        raise CannotConnect(str(failed or "The name has no address."))

    async def _resolved(self) -> list[str]:
        """Every address of the name, each checked: one that may not be called makes the name unusable."""
        until, known = self._addresses
        if time.monotonic() < until:
            return known
        try:
            found = await self.loop.getaddrinfo(
                self.origin.host, self.origin.port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
            )
        except OSError as error:
            raise CannotConnect(str(error)) from None
        addresses = list(dict.fromkeys(str(item[4][0]) for item in found))
        if self.limits.check is not None:
            for address in addresses:
                try:
                    self.limits.check(address, self.origin.host)
                except ValueError as error:
                    raise CannotConnect(str(error)) from None
        self._addresses = (time.monotonic() + ADDRESSES_S, addresses)
        return addresses

    # ------------------------------------------------------------------ what connections tell
    def give_back(self, connection: Connection) -> None:
        self.idle.append((connection, self.now()))
        self._next()

    def forget(self, connection: Connection) -> None:
        self.all.discard(connection)
        self.idle = [entry for entry in self.idle if entry[0] is not connection]
        self._next()

    def _next(self) -> None:
        while self.waiting:
            turn = self.waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    # ------------------------------------------------------------------ the clock
    def watch(self) -> None:
        """Look at every exchange's limits until none is left: a timer for all costs less than one for each."""
        if not self._ticking:
            self._ticking = True
            self.loop.call_later(TICK_S, self._tick)

    def _tick(self) -> None:
        now, busy = self.now(), False
        for connection in list(self.all):
            if connection.exchange is not None:
                busy = True
                connection.check(now)
            elif now - connection.last > 2 * KEEP_ALIVE_S:
                connection.close()
        self._ticking = busy
        if busy:
            self.loop.call_later(TICK_S, self._tick)

    def close(self) -> None:
        for connection in list(self.all):
            connection.close()
        self.idle.clear()
