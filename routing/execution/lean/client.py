"""The lean client as the pipeline uses it: the interface of openai_http.Upstream, and the same failures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import orjson

from routing.contracts import DeploymentInfo
from routing.execution.base import AttemptFailed, Reply, address_of, own_headers
from routing.execution.deadlines import Deadline
from routing.execution.lean.exchange import AnswerTooLarge, Exchange, LeanError, TooSlow
from routing.execution.lean.pool import Limits, Origin, Pool
from routing.execution.openai_http import ANSWER_MAX_BYTES
from routing.execution.refusals import broken, failure, refused, slow, too_large
from routing.kept import forgets
from switchyard.core.errors import UpstreamMisconfigured

PORTS = {"http": 80, "https": 443}
KNOWN_HEADS = 2048


class LeanUpstream:
    """Pools by origin. One per event loop; `open()` before use, `close()` after."""

    def __init__(
        self,
        *,
        connect_s: float,
        first_byte_s: float,
        idle_s: float,
        check_address: Callable[[str, str], None] | None = None,
    ) -> None:
        """`check_address(address, host)` raises ValueError for where calls may not go; asked when a name is resolved."""
        self.first_byte_s, self.idle_s = first_byte_s, idle_s
        self._limits = Limits(connect_s, check_address)
        self._pools: dict[Origin, Pool] = {}
        # By identity: a snapshot's deployments are the same objects for as long as it lives, and held here while known.
        self._heads: dict[tuple[int, str], tuple[DeploymentInfo, Pool, bytes]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        forgets(self)

    def forget(self) -> None:
        self._heads.clear()

    async def open(self) -> None:
        self._loop = asyncio.get_running_loop()

    async def close(self) -> None:
        for pool in self._pools.values():
            pool.close()
        self._pools.clear()
        self._heads.clear()

    # ------------------------------------------------------------------ whole answers
    async def whole(
        self,
        target: DeploymentInfo,
        path: str,
        body: Mapping[str, Any],
        *,
        request_id: str,
        deadline: Deadline,
    ) -> Reply:
        """The answer of status 200; every failure leaves as AttemptFailed."""
        exchange = await self._send(target, path, body, request_id, deadline, streaming=False)
        if exchange.status == 200:
            return Reply(200, exchange.headers, exchange.joined())
        raise failure(target, exchange.status, exchange.headers, exchange.joined())

    @asynccontextmanager
    async def stream(
        self,
        target: DeploymentInfo,
        path: str,
        body: Mapping[str, Any],
        *,
        request_id: str,
        deadline: Deadline,
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Chunks of bytes as they come. Leaving early closes the connection, which tells the server to stop."""
        exchange = await self._send(target, path, body, request_id, deadline, streaming=True)
        if exchange.status != 200:
            raise failure(target, exchange.status, exchange.headers, exchange.joined())
        try:
            yield exchange.iterate()
        except LeanError as error:
            raise _failed(target, exchange, error) from None
        finally:
            exchange.leave()

    async def _send(
        self,
        target: DeploymentInfo,
        path: str,
        body: Mapping[str, Any],
        request_id: str,
        deadline: Deadline,
        *,
        streaming: bool,
    ) -> Exchange:
        loop = self._loop
        assert loop is not None, "LeanUpstream.open() was not called"
        known = self._heads.get((id(target), path))
        pool, head = known[1:] if known is not None else self._head(target, path)
        payload = orjson.dumps(body)
        left_s = deadline.left()
        request = b"%bx-request-id: %b\r\nx-switchyard-deadline-ms: %d\r\ncontent-length: %d\r\n\r\n%b" % (
            head, request_id.encode(), int(1000 * left_s), len(payload), payload,
        )  # fmt: skip
        now = loop.time()
        due = now + min(self.first_byte_s, left_s)
        connection = pool.ready()
        if connection is None:
            try:
                connection = await pool.connect(due)
            except TooSlow:
                raise slow(target) from None
            except LeanError as error:
                raise refused(target, error) from None
        waiter = loop.create_future()
        exchange = Exchange(
            waiter,
            due=due,
            whole_due=now + left_s,
            idle_s=self.idle_s,
            limit=ANSWER_MAX_BYTES,
            streaming=streaming,
        )
        connection.begin(request, exchange)
        pool.watch()
        try:
            await waiter
        except LeanError as error:
            exchange.error = waiter = None  # type: ignore[assignment]  # its traceback holds this frame, and the frame them
            raise _failed(target, exchange, error) from None
        except asyncio.CancelledError:
            exchange.leave()
            raise
        return exchange

    # ------------------------------------------------------------------ what stays the same
    def _head(self, target: DeploymentInfo, path: str) -> tuple[Pool, bytes]:
        """The pool of a deployment's origin, and the part of a request that is always the same."""
        parts = urlsplit(address_of(target.base_url, path))
        headers = {
            "host": parts.netloc,
            "content-type": "application/json",
            "accept": "*/*",
            **own_headers(target),
        }
        try:
            port = parts.port or PORTS[parts.scheme]
            lines = [f"POST {parts.path}{'?' + parts.query if parts.query else ''} HTTP/1.1"]
            lines += [f"{name}: {value}" for name, value in headers.items()]
            head = "\r\n".join([*lines, ""]).encode("latin-1")
        except (KeyError, ValueError):
            raise _unusable(target) from None
        whole_lines = head.count(b"\r\n") == head.count(b"\r") == head.count(b"\n") == len(lines)
        if not parts.hostname or "@" in parts.netloc or not whole_lines or lines[0].count(" ") != 2:
            raise _unusable(target)
        origin = Origin(parts.scheme, parts.hostname, port)
        if origin not in self._pools:
            assert self._loop is not None
            self._pools[origin] = Pool(origin, self._limits, self._loop)
        if len(self._heads) >= KNOWN_HEADS:
            self._heads.clear()
        self._heads[id(target), path] = (target, self._pools[origin], head)
        return self._pools[origin], head


def _failed(target: DeploymentInfo, exchange: Exchange, error: LeanError) -> AttemptFailed:
    if isinstance(error, TooSlow):
        return slow(target)
    if isinstance(error, AnswerTooLarge):
        return too_large(target)
    return broken(target, error) if exchange.head_done else refused(target, error)


def _unusable(target: DeploymentInfo) -> AttemptFailed:
    said = f"{target.name} is misconfigured: its base URL or key can't be written into a request."
    return AttemptFailed("misconfigured", UpstreamMisconfigured(said))
