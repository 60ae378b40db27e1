"""What comes before a body is bounded in size and in time, before anybody's key is looked at."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from switchyard.gateway import heads
from tests.conformance.test_bad_clients import CHAT, connect, head, still_fine
from tests.fakes.gateway import RunningGateway

CAP = 64 * 1024


@pytest.fixture
def impatient(gateway: RunningGateway, settings: Any) -> RunningGateway:
    settings.SWITCHYARD = settings.SWITCHYARD | {"HEAD_MAX_S": 0.4}
    return gateway


def told(caller: socket.socket) -> bytes:
    try:
        return caller.recv(65536)
    except OSError:  # hung up on while it was still sending
        return b""


def answered(caller: socket.socket) -> bytes:
    """A whole answer, however many pieces it comes in."""
    got = b""
    while not got.endswith(b"}}"):
        got += caller.recv(65536)
    return got


def pieces(kind: str) -> Iterator[bytes]:
    yield b"GET /v1/models HTTP/1.1\r\nhost: x\r\n" if kind != "a path" else b"GET /v1/"
    if kind == "a name":
        yield b"x-"
    if kind == "a value":
        yield b"x-one: "
    while True:
        yield b"a" * 4096 if kind != "many" else b"x-one: two\r\n" * 400


@pytest.mark.parametrize("kind", ["many", "a value", "a name", "a path"])
def test_a_head_without_an_end_is_hung_up_on(gateway: RunningGateway, kind: str) -> None:
    sent = 0
    with connect(gateway) as caller:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)
        try:
            for piece in pieces(kind):
                caller.sendall(piece)
                sent += len(piece)
                assert sent < 64 * CAP, "nobody stops it"
        except OSError:
            pass
        answer = told(caller)
    assert answer == b"" or answer.startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 400 ")), answer
    still_fine(gateway)


@pytest.mark.parametrize(("more", "status"), [(CAP - 600, b"200"), (CAP, b"431")])
def test_a_whole_head_counts_by_its_size_and_not_by_how_it_came(
    gateway: RunningGateway, more: int, status: bytes
) -> None:
    body = orjson.dumps(CHAT)
    with connect(gateway) as caller:
        caller.sendall(head(gateway, len(body), "x-long: " + "a" * more) + body)
        assert caller.recv(65536).split(b" ")[1] == status


def test_a_large_body_is_no_large_head(gateway: RunningGateway) -> None:
    body = orjson.dumps(CHAT | {"user": "a" * (4 * CAP)})
    with connect(gateway) as caller:
        for _ in range(2):  # on one connection
            caller.sendall(head(gateway, len(body)) + body)
            assert answered(caller).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "sent", [b"", b"POST /v1/chat/comp", b"GET /v1/models HTTP/1.1\r\nhost: x\r\nx-a: b\r\n"]
)
def test_a_head_that_does_not_come_is_not_waited_for(impatient: RunningGateway, sent: bytes) -> None:
    with connect(impatient) as caller:
        caller.sendall(sent)
        assert told(caller).startswith(b"HTTP/1.1 408 ")
        assert told(caller) == b""
    still_fine(impatient)


def test_nor_is_the_next_head_of_a_connection_but_what_is_being_answered_is_left_to_it(
    impatient: RunningGateway,
) -> None:
    body = orjson.dumps(CHAT)

    async def slow(request: Any, asked: Any) -> None:
        await asyncio.sleep(1.0)

    impatient.external.next(slow)
    with connect(impatient) as caller:
        caller.sendall(head(impatient, len(body)) + body + b"POST /v1/ch")  # the next one has begun
        began = time.monotonic()
        assert answered(caller).startswith(b"HTTP/1.1 200 ") and time.monotonic() - began >= 0.9
        assert told(caller)[:13] in (b"", b"HTTP/1.1 408 ")


def test_bounds_are_given_once(gateway: RunningGateway) -> None:
    before = heads.HttpToolsProtocol.data_received
    heads.bound()
    assert heads.HttpToolsProtocol.data_received is before
    still_fine(gateway)
