"""Both sides over HTTP with one aiohttp session: whole answers and streams, each failure with its name."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson
from aiohttp.abc import ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from routing.contracts import DeploymentInfo
from routing.execution.base import Reply, address_of, own_headers
from routing.execution.deadlines import Deadline
from routing.execution.refusals import REFUSAL_MAX_BYTES, broken, decode, failure, refused, slow, too_large

__all__ = ["CheckedResolver", "Upstream", "broken", "decode"]
ANSWER_MAX_BYTES = 32 * 1024 * 1024
CONNECTIONS = 512  # to one origin
KEEP_ALIVE_S = (
    4.0  # under the 5 s after which uvicorn (vLLM) hangs up, so that no request meets a closing connection
)


class CheckedResolver(ThreadedResolver):
    """Resolves once, checks every address, and the connection goes to a checked one: no second look-up to turn it."""

    def __init__(self, check: Callable[[str, str], None], proxy: str = "") -> None:
        """`proxy`: a URL whose host the operator named, so that it may stand where no upstream may."""
        super().__init__()
        self._check, self._trusted = check, URL(proxy).host if proxy else None

    async def resolve(self, host: str, port: int = 0, family: Any = socket.AF_INET) -> list[ResolveResult]:
        found = await super().resolve(host, port, family)
        for item in found if host != self._trusted else ():
            try:
                self._check(item["host"], host)
            except ValueError as error:
                raise OSError(str(error)) from None
        return found


def connector_of(check: Callable[[str, str], None] | None, proxy: str, **more: Any) -> aiohttp.TCPConnector:
    """Connections to checked addresses, with the certificates that this machine trusts today (SSL_CERT_FILE too). No limit
    but each origin's: one that is slow can't take the connections of the others."""
    resolver = CheckedResolver(check, proxy) if check else None
    return aiohttp.TCPConnector(
        limit=0, limit_per_host=CONNECTIONS, resolver=resolver, ssl=ssl.create_default_context(), **more
    )


def way_to(target: DeploymentInfo, proxy: str) -> str | None:
    """The proxy for calls that leave; what is at home is asked directly."""
    return proxy if proxy and target.side == "external" else None


class Upstream:
    """One session for all upstreams: pooled connections, no cookies, no redirects, bytes as they come."""

    def __init__(
        self,
        *,
        connect_s: float,
        first_byte_s: float,
        idle_s: float,
        check_address: Callable[[str, str], None] | None = None,
        proxy: str = "",
    ) -> None:
        """`check_address(address, host)` raises ValueError for where calls may not go; asked when a name is resolved.
        `proxy`: URL of the one through which external deployments are asked. It then resolves their names."""
        self._check_address, self._proxy = check_address, proxy
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_s)
        self.first_byte_s, self.idle_s = first_byte_s, idle_s
        self._session: aiohttp.ClientSession | None = None
        self._urls: dict[tuple[str, str], URL] = {}

    async def open(self) -> None:
        connector = connector_of(
            self._check_address, self._proxy, ttl_dns_cache=60, keepalive_timeout=KEEP_ALIVE_S
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
            self._urls[key] = URL(address_of(target.base_url, path))
        return self._urls[key]

    async def _post(
        self, target: DeploymentInfo, path: str, body: Mapping[str, Any], request_id: str, deadline: Deadline
    ) -> aiohttp.ClientResponse:
        """The open response of status 200; every failure leaves as AttemptFailed. The caller closes it."""
        assert self._session is not None, "Upstream.open() was not called"
        headers = own_headers(target)
        headers["content-type"], headers["x-request-id"] = "application/json", request_id
        headers["x-switchyard-deadline-ms"] = str(int(1000 * deadline.left()))
        try:
            async with asyncio.timeout(deadline.within(self.first_byte_s)):
                response = await self._session.post(
                    self._url(target, path), data=orjson.dumps(body), headers=headers, allow_redirects=False,
                    proxy=way_to(target, self._proxy),
                )  # fmt: skip
        except TimeoutError:
            raise slow(target) from None
        except aiohttp.ClientError as error:
            raise refused(target, error) from None
        if response.status == 200:
            _limit_idle(response, self.idle_s)
            return response
        with _closing(response), _named(target):
            async with asyncio.timeout(deadline.within(self.idle_s)):
                text = await response.content.read(REFUSAL_MAX_BYTES)
                raise failure(target, response.status, response.headers, text)

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
            raise too_large(target)
    return b"".join(parts)


def _limit_idle(response: aiohttp.ClientResponse, seconds: float) -> None:
    """From now on at most so long between two reads. An answer that is whole already has no connection left."""
    protocol = response.connection.protocol if response.connection is not None else None
    if protocol is not None:
        protocol.read_timeout = seconds
        protocol.start_timeout()
