"""A whole answer written in one piece says byte for byte what uvicorn's own messages would have."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from switchyard.gateway import direct
from switchyard.gateway.direct import body_at_hand, untouched, write_ok

LINES = [(b"content-type", b"application/json"), (b"x-one", b"1")]
ASK = b"POST /v1/x HTTP/1.1\r\nhost: h\r\ncontent-length: %d\r\n%b\r\n%b"


class Echo:
    """Answers with the body: in one write, or by ASGI's messages; tells whether the body was at hand."""

    def __init__(self) -> None:
        self.in_one = True
        self.at_hand: list[bool] = []
        self.gone = threading.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body = body_at_hand(receive)
        self.at_hand.append(body is not None)
        while body is None:
            body = (message := await receive())["body"]
            while message["more_body"]:
                body += (message := await receive())["body"]
        cycle = untouched(send)
        if self.in_one and cycle is not None:
            write_ok(cycle, b"".join(b"%b: %b\r\n" % pair for pair in LINES), body)
            assert untouched(send) is None
        else:
            headers = [*LINES, (b"content-length", b"%d" % len(body))]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": body})
        assert (await receive())["type"] == "http.disconnect"
        self.gone.set()


@pytest.fixture
def served() -> Iterator[tuple[Echo, int]]:
    echo = Echo()
    config = uvicorn.Config(
        echo, host="127.0.0.1", port=0, http="httptools", log_level="critical", lifespan="off", ws="none",
        access_log=False, date_header=False,
    )  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    while not server.started:
        threading.Event().wait(0.005)
    yield echo, server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join(10)


def answered(port: int, *parts: bytes, until: bytes) -> bytes:
    got = b""
    with socket.create_connection(("127.0.0.1", port), 5) as peer:
        peer.settimeout(5)
        for part in parts:
            peer.sendall(part)
            threading.Event().wait(0.03)
        while not got.endswith(until) and (more := peer.recv(65536)):
            got += more
    return got


@pytest.mark.parametrize("extra", [b"", b"connection: close\r\n"])
@pytest.mark.parametrize("body", [b"hello", b"", b"x" * 300_000])
def test_both_ways_give_the_same_bytes(served: tuple[Echo, int], body: bytes, extra: bytes) -> None:
    echo, port = served
    told = []
    for echo.in_one in (True, False):
        echo.gone.clear()
        ask = ASK % (len(body), extra, body)
        told.append(answered(port, ask, until=b"\r\n\r\n" + body))
        assert echo.gone.wait(5)
    heads = [sorted(answer.partition(b"\r\n\r\n")[0].split(b"\r\n")) for answer in told]
    assert heads[0] == heads[1] and told[0].endswith(b"\r\n\r\n" + body)
    assert (b"connection: close" in heads[0]) == bool(extra)


def test_a_connection_goes_on_after_it(served: tuple[Echo, int]) -> None:
    _, port = served
    both = answered(port, ASK % (3, b"", b"one"), ASK % (3, b"", b"two"), until=b"two")
    assert both.count(b"HTTP/1.1 200 OK") == 2 and both.endswith(b"two")
    pipelined = answered(port, ASK % (3, b"", b"one") + ASK % (3, b"", b"two"), until=b"two")
    assert pipelined.index(b"\r\n\r\none") < pipelined.index(b"\r\n\r\ntwo")


def test_a_body_that_comes_in_pieces_is_waited_for(served: tuple[Echo, int]) -> None:
    echo, port = served
    whole = ASK % (6, b"", b"abcdef")
    assert answered(port, whole[:-3], whole[-3:], until=b"abcdef").endswith(b"abcdef")
    assert echo.at_hand == [False]


def test_who_expects_a_word_to_go_on_gets_it(served: tuple[Echo, int]) -> None:
    echo, port = served
    told = answered(port, ASK % (2, b"expect: 100-continue\r\n", b""), b"ok", until=b"ok")
    assert told.startswith(b"HTTP/1.1 100 Continue\r\n\r\n") and told.endswith(b"ok")
    assert echo.at_hand == [False]


def test_another_servers_send_is_left_alone() -> None:
    async def send(message: Any) -> None: ...

    assert untouched(send) is None and body_at_hand(send) is None


def test_the_servers_own_lines_are_written_anew_when_they_change() -> None:
    first, second = [(b"date", b"today")], [(b"date", b"tomorrow"), (b"server", b"s")]
    assert direct._servers_own(first) == b"date: today\r\n"
    assert direct._servers_own(second) == b"date: tomorrow\r\nserver: s\r\n"
    assert direct._servers_own([]) == b""
