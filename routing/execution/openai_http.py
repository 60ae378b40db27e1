"""Both sides over HTTP with one aiohttp session: whole answers and streams, each failure with its name."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import orjson
from aiohttp.abc import ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from routing.contracts import DeploymentInfo
from routing.execution.base import AttemptFailed, Reply
from routing.execution.deadlines import Deadline
from switchyard.core.errors import (
    UpstreamBusy,
    UpstreamFailure,
    UpstreamMisconfigured,
    UpstreamRejected,
    UpstreamTimeout,
)

ANSWER_MAX_BYTES = 32 * 1024 * 1024
CONNECTIONS = 512
KEEP_ALIVE_S = (
    4.0  # under the 5 s after which uvicorn (vLLM) hangs up, so that no request meets a closing connection
)


class CheckedResolver(ThreadedResolver):
    """Resolves once, checks every address, and the connection goes to a checked one: no second look-up to turn it."""

    def __init__(self, check: Callable[[str, str], None]) -> None:
        super().__init__()
        self._check = check

    async def resolve(self, host: str, port: int = 0, family: Any = socket.AF_INET) -> list[ResolveResult]:
        found = await super().resolve(host, port, family)
        for item in found:
            try:
                self._check(item["host"], host)
            except ValueError as error:
                raise OSError(str(error)) from None
        return found


class Upstream:
    """One session for all upstreams: pooled connections, no cookies, no redirects, bytes as they come."""

    def __init__(
        self,
        *,
        connect_s: float,
        first_byte_s: float,
        idle_s: float,
        check_address: Callable[[str, str], None] | None = None,
    ) -> None:
        """`check_address(address, host)` raises ValueError for where calls may not go; asked when a name is resolved."""
        self._check_address = check_address
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_s)
        self.first_byte_s, self.idle_s = first_byte_s, idle_s
        self._session: aiohttp.ClientSession | None = None
        self._urls: dict[tuple[str, str], URL] = {}

    async def open(self) -> None:
        resolver = CheckedResolver(self._check_address) if self._check_address else None
        connector = aiohttp.TCPConnector(
            limit=CONNECTIONS, ttl_dns_cache=60, keepalive_timeout=KEEP_ALIVE_S, resolver=resolver
        )
        self._session = aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar(), timeout=self._timeout,
            auto_decompress=True, trust_env=False, skip_auto_headers=("User-Agent", "Accept-Encoding"),
        )  # fmt: skip

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    def _url(self, target: DeploymentInfo, path: str) -> URL:
        key = (target.base_url, path)
        if key not in self._urls:
            self._urls[key] = URL(target.base_url.rstrip("/") + path)
        return self._urls[key]

    async def _post(
        self, target: DeploymentInfo, path: str, body: Mapping[str, Any], request_id: str, deadline: Deadline
    ) -> aiohttp.ClientResponse:
        """The open response of status 200; every failure leaves as AttemptFailed. The caller closes it."""
        assert self._session is not None, "Upstream.open() was not called"
        headers = {
            "authorization": f"Bearer {target.api_key}", "content-type": "application/json", "x-request-id": request_id,
            "x-switchyard-deadline-ms": str(int(1000 * deadline.left())),
        }  # fmt: skip
        try:
            async with asyncio.timeout(deadline.within(self.first_byte_s)):
                response = await self._session.post(
                    self._url(target, path), data=orjson.dumps(body), headers=headers, allow_redirects=False
                )
        except TimeoutError:
            raise slow(target) from None
        except aiohttp.ClientError as error:
            raise refused(target, error) from None
        if response.status == 200:
            _limit_idle(response, self.idle_s)
            return response
        with _closing(response), _named(target):
            async with asyncio.timeout(deadline.within(self.idle_s)):
                raise await _failure(target, response)

    async def whole(
        self,
        target: DeploymentInfo,
        path: str,
        body: Mapping[str, Any],
        *,
        request_id: str,
        deadline: Deadline,
    ) -> Reply:
        response = await self._post(target, path, body, request_id, deadline)
        with _closing(response), _named(target):
            if response.content.is_eof():
                payload = response.content.read_nowait()
            else:
                async with asyncio.timeout(deadline.left()):
                    payload = await _bounded(target, response)
            return Reply(response.status, response.headers, payload)

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
        response = await self._post(target, path, body, request_id, deadline)
        with _closing(response), _named(target):
            yield response.content.iter_any()


class _closing:
    """Gives a connection whose answer was read to its end back, and closes any other."""

    __slots__ = ("response",)

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None:
        if self.response.content.is_eof():
            self.response.release()
        else:
            self.response.close()


class _named:
    """Failures while an answer is read leave as AttemptFailed with the deployment's name."""

    __slots__ = ("target",)

    def __init__(self, target: DeploymentInfo) -> None:
        self.target = target

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, TimeoutError):
            raise slow(self.target) from None
        if isinstance(error, aiohttp.ClientError):
            raise broken(self.target, error) from None


async def _bounded(target: DeploymentInfo, response: aiohttp.ClientResponse) -> bytes:
    """The whole body, or AttemptFailed as soon as it is too large."""
    parts: list[bytes] = []
    size = 0
    while part := await response.content.readany():
        parts.append(part)
        size += len(part)
        if size > ANSWER_MAX_BYTES:
            raise AttemptFailed("garbage", UpstreamFailure(f"{target.name} answered with more than 32 MiB."))
    return b"".join(parts)


def _limit_idle(response: aiohttp.ClientResponse, seconds: float) -> None:
    """From now on at most so long between two reads. An answer that is whole already has no connection left."""
    protocol = response.connection.protocol if response.connection is not None else None
    if protocol is not None:
        protocol.read_timeout = seconds
        protocol.start_timeout()


def slow(target: DeploymentInfo) -> AttemptFailed:
    return AttemptFailed("timeout", UpstreamTimeout(f"{target.name} did not answer in time."))


def refused(target: DeploymentInfo, error: Exception) -> AttemptFailed:
    return AttemptFailed(
        "connect", UpstreamFailure(f"{target.name} can't be reached ({type(error).__name__}).")
    )


def broken(target: DeploymentInfo, error: Exception) -> AttemptFailed:
    return AttemptFailed(
        "status", UpstreamFailure(f"{target.name} broke off its answer ({type(error).__name__}).")
    )


async def _failure(target: DeploymentInfo, response: aiohttp.ClientResponse) -> AttemptFailed:
    """The server's refusal in our words; its own message only where the caller can mend something by it."""
    status = response.status
    text = await response.content.read(20_000)
    if status in (400, 413, 422):
        message = _message(text) or f"{target.name} refused the request."
        return AttemptFailed("rejected", UpstreamRejected(message, status=status), http_status=status)
    if status in (401, 403, 404):
        error: Any = UpstreamMisconfigured(f"{target.name} is misconfigured: its server answered {status}.")
        return AttemptFailed("misconfigured", error, http_status=status)
    wait = _seconds(response.headers.get("retry-after"))
    if status == 429 or (status == 503 and wait is not None):
        # Told how long, nobody asks it before: the rest is known to every process.
        busy = UpstreamBusy(f"{target.name} is busy.", retry_after_s=wait or 2.0)
        return AttemptFailed("busy", busy, http_status=status, retry_after_s=wait)
    if status in (408, 504):
        return AttemptFailed(
            "timeout", UpstreamTimeout(f"{target.name} did not answer in time."), http_status=status
        )
    return AttemptFailed(
        "status", UpstreamFailure(f"{target.name} failed with {status}."), http_status=status
    )


def _message(text: bytes) -> str:
    try:
        error = orjson.loads(text)["error"]
        return str(error["message"])[:500] if isinstance(error, dict) else str(error)[:500]
    except (KeyError, TypeError, orjson.JSONDecodeError):
        return ""


def _seconds(raw: str | None) -> float | None:
    """Retry-After in seconds, 1 to 60; None where the server said nothing that can be read."""
    if not raw:
        return None
    try:
        wait = float(raw)
    except ValueError:
        try:
            wait = parsedate_to_datetime(raw).timestamp() - time.time()
        except (TypeError, ValueError):
            return None
    return min(60.0, max(1.0, wait)) if wait == wait else None


def decode(target: DeploymentInfo, reply: Reply) -> dict[str, Any]:
    """The server's JSON object, or AttemptFailed `garbage`."""
    try:
        value = orjson.loads(reply.body)
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise AttemptFailed(
            "garbage", UpstreamFailure(f"{target.name} answered with something that is not JSON.")
        )
    return value
