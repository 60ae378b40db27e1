"""A proxy to the outside: what leaves goes through it, what is at home doesn't, and it reads nothing of what is encrypted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from routing.contracts import DeploymentInfo
from routing.execution.base import AttemptFailed, Reply
from routing.execution.clients import make_client
from routing.execution.deadlines import Deadline
from routing.execution.openai_http import Upstream
from routing.execution.probes import Prober
from tests.routing.execution.test_clients import BODY, OK, Raw, certificate, says, served, target


class Proxy:
    """Notes what it is asked for; carries plain requests and tunnels."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.heard = b""
        self.url = ""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.asked.append(head.partition(b"\r\n")[0].decode())
        self.heard += head
        method, place, _ = self.asked[-1].split(" ")
        if method == "CONNECT":
            host, _, port = place.rpartition(":")
            inner, out = await asyncio.open_connection(host, int(port))
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await asyncio.gather(self._carry(reader, out), self._carry(inner, writer))
        else:
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
            self.heard += await reader.readexactly(length)
            writer.write(OK)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while part := await reader.read(65536):
            self.heard += part
            writer.write(part)
        writer.close()


@asynccontextmanager
async def proxied() -> AsyncIterator[Proxy]:
    proxy = Proxy()
    server = await asyncio.start_server(proxy.handle, "127.0.0.1", 0)
    proxy.url = f"http://localhost:{server.sockets[0].getsockname()[1]}"
    yield proxy
    server.close()


def only_outside(address: str, host: str) -> None:
    raise ValueError(f"{host} is at home")


def limits() -> dict[str, float]:
    return {"connect_s": 2.0, "first_byte_s": 2.0, "idle_s": 2.0}


async def asked(client: Any, deployment: DeploymentInfo) -> Reply | AttemptFailed:
    try:
        return await client.whole(  # type: ignore[no-any-return]
            deployment, "/chat/completions", {"model": "secret"}, request_id="r", deadline=Deadline(5)
        )
    except AttemptFailed as error:
        return error


def test_what_leaves_goes_through_it_and_what_is_at_home_does_not() -> None:
    async def run() -> tuple[list[Any], list[str], Raw]:
        async with proxied() as proxy, served(says(OK)) as home:
            client = Upstream(**limits(), proxy=proxy.url, check_address=only_outside)
            await client.open()
            out = replace(target("http://vendor.example:8080/v1"), side="external")
            given = [await asked(client, out), await asked(client, target(home.url))]
            await client.close()
            return given, proxy.asked, home

    given, told, home = asyncio.run(asyncio.wait_for(run(), 20))
    assert [reply.body for reply in given] == [BODY, BODY]
    assert (
        told == ["POST http://vendor.example:8080/v1/chat/completions HTTP/1.1"] and len(home.requests) == 1
    )


def test_https_is_a_tunnel_in_which_it_reads_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = certificate(tmp_path, "localhost")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "c.pem"))

    async def run() -> tuple[Any, Proxy, Raw]:
        async with proxied() as proxy, served(says(OK), ssl=context) as vendor:
            client = Upstream(**limits(), proxy=proxy.url)
            await client.open()
            url = vendor.url.replace("http://127.0.0.1", "https://localhost")
            given = await asked(client, replace(target(url), side="external"))
            await client.close()
            return given, proxy, vendor

    given, proxy, vendor = asyncio.run(asyncio.wait_for(run(), 20))
    assert isinstance(given, Reply) and given.body == BODY, given
    assert len(proxy.asked) == 1 and proxy.asked[0].startswith("CONNECT localhost:")
    assert b"upstream-key" not in proxy.heard and b"secret" not in proxy.heard
    assert b"upstream-key" in vendor.requests[0]


def test_a_certificate_of_nobody_we_know_is_refused_behind_it_too(tmp_path: Path) -> None:
    context = certificate(tmp_path, "localhost")

    async def run() -> tuple[Any, Raw]:
        async with proxied() as proxy, served(says(OK), ssl=context) as vendor:
            client = Upstream(**limits(), proxy=proxy.url)
            await client.open()
            url = vendor.url.replace("http://127.0.0.1", "https://localhost")
            given = await asked(client, replace(target(url), side="external"))
            await client.close()
            return given, vendor

    given, vendor = asyncio.run(asyncio.wait_for(run(), 20))
    assert isinstance(given, AttemptFailed) and given.kind == "connect" and vendor.requests == []


def test_one_that_is_away_is_a_failure_to_connect() -> None:
    async def run() -> Any:
        client = Upstream(**limits(), proxy="http://127.0.0.1:9")
        await client.open()
        given = await asked(client, replace(target("https://vendor.example/v1"), side="external"))
        await client.close()
        return given

    given = asyncio.run(asyncio.wait_for(run(), 20))
    assert isinstance(given, AttemptFailed) and given.kind == "connect"


def test_health_probes_take_the_same_way() -> None:
    async def run() -> tuple[list[str], list[str]]:
        async with proxied() as proxy:
            prober = Prober(
                "unix:///nowhere", every_s=0.0, deployments=tuple, tell=nothing, check_address=only_outside, proxy=proxy.url
            )  # fmt: skip
            out = replace(target("http://vendor.example/v1"), side="external")
            states = [(await prober.ask(d)).state for d in (out, target("http://localhost:9/v1"))]
            await prober.close()
            return states, proxy.asked

    states, told = asyncio.run(asyncio.wait_for(run(), 20))
    assert states == ["alive", "dead"] and told == ["GET http://vendor.example/v1/models HTTP/1.1"]


async def nothing(*_: Any) -> None: ...


@pytest.mark.parametrize(
    ("client", "proxy"), [("lean", "http://proxy.example:3128"), ("aiohttp", "proxy.example:3128")]
)
def test_a_proxy_that_nobody_would_ask_stops_the_start(client: str, proxy: str) -> None:
    with pytest.raises(ValueError, match="UPSTREAM_PROXY"):
        make_client(client, **limits(), proxy=proxy)
