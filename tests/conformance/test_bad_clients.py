"""Callers who send what nobody should: refused in words or served, and nobody else notices."""

from __future__ import annotations

import socket
import time
from typing import Any

import orjson
import pytest

from tests.fakes.gateway import RunningGateway

pytestmark = pytest.mark.django_db(transaction=True)
CHAT: dict[str, Any] = {"model": "chatter", "messages": [{"role": "user", "content": "Hello?"}]}


def connect(gateway: RunningGateway) -> socket.socket:
    host, port = gateway.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=15)


def head(gateway: RunningGateway, length: int, *more: str) -> bytes:
    lines = ["POST /v1/chat/completions HTTP/1.1", "host: x", f"authorization: Bearer {gateway.company.keys['customer-service']}",
             "content-type: application/json", f"content-length: {length}", *more]  # fmt: skip
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def still_fine(gateway: RunningGateway) -> None:
    answer = gateway.openai().chat.completions.create(**CHAT)
    assert answer.choices[0].message.content == "All is well."


def test_ten_thousand_tools_are_carried_and_answered(gateway: RunningGateway) -> None:
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}}
    tools = [
        {"type": "function", "function": {"name": f"tool_{i}", "parameters": parameters}}
        for i in range(10_000)
    ]
    with gateway.client() as client:
        reply = client.post("/v1/chat/completions", json=CHAT | {"tools": tools})
    assert reply.status_code == 200 and len(gateway.external.seen[0].body["tools"]) == 10_000


def test_a_thousand_levels_are_400_on_every_endpoint(gateway: RunningGateway) -> None:
    deep = b'{"model": "chatter", "messages": ' + b"[" * 1000 + b"]" * 1000 + b"}"
    with gateway.client() as client:
        for path in (
            "chat/completions",
            "responses",
            "messages",
            "messages/count_tokens",
            "embeddings",
            "batches",
        ):
            reply = client.post(f"/v1/{path}", content=deep)
            assert (reply.status_code, reply.json()["error"]["code"]) == (400, "body_too_deep"), path
    assert gateway.external.seen == []


@pytest.mark.parametrize("endpoint", ["chat/completions", "responses", "messages"])
def test_bodies_that_are_too_large_are_413_in_each_shape(gateway: RunningGateway, endpoint: str) -> None:
    with gateway.client() as client:
        reply = client.post(f"/v1/{endpoint}", content=b" " * (11 << 20))
    assert reply.status_code == 413 and reply.json()["error"]["code"] == "body_too_large"


def test_a_bomb_of_headers_hurts_its_caller_alone(gateway: RunningGateway) -> None:
    with connect(gateway) as caller:
        caller.sendall(b"GET /v1/models HTTP/1.1\r\nhost: x\r\n")
        try:
            for i in range(2000):
                caller.sendall(f"x-{i}: {'a' * 1000}\r\n".encode())
            caller.sendall(b"\r\n")
            told = caller.recv(200)
        except OSError:  # hung up on while it was still sending
            told = b""
    assert told == b"" or told.split(b" ")[1] in (b"400", b"401", b"431"), told
    still_fine(gateway)


def test_a_body_that_stops_halfway_asks_nobody(gateway: RunningGateway) -> None:
    with connect(gateway) as caller:
        caller.sendall(head(gateway, 5000) + b'{"model": "chatter", "mess')
        time.sleep(0.2)
    time.sleep(0.3)
    assert gateway.external.seen == []
    still_fine(gateway)


def test_who_sends_a_byte_at_a_time_is_served_and_holds_nobody_up(gateway: RunningGateway) -> None:
    body = orjson.dumps(CHAT)
    with connect(gateway) as caller:
        caller.sendall(head(gateway, len(body), "connection: close"))
        for i in range(len(body)):
            caller.sendall(body[i : i + 1])
            if i == len(body) // 2:
                still_fine(gateway)
            time.sleep(0.002)
        told = b"".join(iter(lambda: caller.recv(65536), b""))
    assert told.startswith(b"HTTP/1.1 200") and b"All is well." in told


def test_who_reads_a_stream_a_byte_at_a_time_gets_all_of_it(gateway: RunningGateway) -> None:
    body = orjson.dumps(CHAT | {"stream": True})
    with connect(gateway) as caller:
        caller.sendall(head(gateway, len(body), "connection: close") + body)
        told = b""
        while piece := caller.recv(1):
            told += piece
            if len(told) == 100:
                time.sleep(0.3)
                still_fine(gateway)
    assert b"data: [DONE]" in told


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"stream": False, "stream_options": {"include_usage": True}}, "stream_options"),
        ({"stream": True, "stream_options": []}, "stream_options"),
        ({"stream": True, "stream_options": {"include_usage": "yes"}}, "stream_options.include_usage"),
        ({"stream": "true"}, "stream"),
    ],
)
def test_stream_options_that_contradict_each_other_are_named(
    gateway: RunningGateway, change: dict[str, Any], param: str
) -> None:
    with gateway.client() as client:
        reply = client.post("/v1/chat/completions", json=CHAT | change)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)


def test_a_header_with_a_colon_in_its_name_can_not_pass_for_ours(gateway: RunningGateway) -> None:
    """The edge tells the pipeline its endpoint by such a name; a caller's never arrives."""
    body = orjson.dumps(CHAT)
    with connect(gateway) as caller:
        caller.sendall(head(gateway, len(body), ":surface: messages", "connection: close") + body)
        told = b"".join(iter(lambda: caller.recv(65536), b""))
    assert told.startswith(b"HTTP/1.1 400") or all(
        e["endpoint"] == "chat/completions" for e in gateway.events()
    )
