"""Callers who send what nobody should: refused in words or served, and nobody else notices."""

from __future__ import annotations

import socket
import struct
import time
from typing import Any

import orjson
import pytest

from switchyard.gateway import metrics
from switchyard.gateway.bodies import decode
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
    assert told == b"" or told.split(b" ")[1] == b"431", told
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


def patience(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateway's, shortened for a test."""
    settings.SWITCHYARD = settings.SWITCHYARD | {"UNTAKEN_MAX_S": 0.5, "BODY_MAX_S": 0.5}
    monkeypatch.setattr("switchyard.gateway.relaying.PING_S", 0.2)
    monkeypatch.setattr("switchyard.gateway.front.LOOK_S", 0.1)


def deaf(gateway: RunningGateway) -> socket.socket:
    """A caller with next to no room for what he is sent."""
    host, port = gateway.url.removeprefix("http://").split(":")
    caller = socket.socket()
    caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    caller.settimeout(15)
    caller.connect((host, int(port)))
    return caller


@pytest.mark.parametrize("endpoint", ["chat/completions", "messages"])
def test_who_never_reads_is_let_go_settled_and_holds_no_place(
    gateway: RunningGateway, settings: Any, monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    patience(settings, monkeypatch)
    gateway.external.manners.words = ["w" * 30_000] * 400
    body = orjson.dumps(CHAT | {"stream": True, "max_tokens": 900})
    with deaf(gateway) as caller:
        caller.sendall(head(gateway, len(body)).replace(b"chat/completions", endpoint.encode()) + body)
        assert gateway.front.office is not None
        in_flight = gateway.front.office.desk.executor.load.in_flight
        (event,) = gateway.events(1, timeout_s=10.0)
        assert (event["status"], event["error_code"]) == (499, "client_closed_request")
        assert event["attempts"][0]["status"] == "cut" and event["cost_nusd"] > 0
        assert in_flight["ext-a"] == 0 and not gateway.valkey.client().keys("sy:r:*")
        with pytest.raises(OSError):  # the connection is gone, what was buffered for him with it
            while caller.recv(65536):
                pass
            raise ConnectionResetError
    gateway.external.behave()
    still_fine(gateway)


def test_who_takes_his_time_but_reads_is_served_to_the_end(
    gateway: RunningGateway, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    patience(settings, monkeypatch)
    gateway.external.manners.words = ["w" * 3_000] * 300
    body = orjson.dumps(CHAT | {"stream": True, "max_tokens": 900})
    with deaf(gateway) as caller:
        caller.sendall(head(gateway, len(body), "connection: close") + body)
        told = b""
        for wait in (0.2, 0.2, 0.2, 0.2, 0.2):
            time.sleep(wait)
            told += caller.recv(40_000)
        told += b"".join(iter(lambda: caller.recv(65536), b""))
    assert b"data: [DONE]" in told and told.count(b"w" * 3_000) == 300


def test_who_hangs_up_with_a_reset_in_the_middle_is_settled(gateway: RunningGateway) -> None:
    gateway.external.manners.words = ["word "] * 200
    gateway.external.manners.chunk_pause_s = 0.01
    body = orjson.dumps(CHAT | {"stream": True})
    with connect(gateway) as caller:
        caller.sendall(head(gateway, len(body)) + body)
        told = b""
        while told.count(b"word") < 3:
            told += caller.recv(2000)
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    (event,) = gateway.events(1, timeout_s=10.0)
    assert event["status"] == 499 and 0 < event["attempts"][0]["tokens_out"] < 200
    gateway.external.behave()
    still_fine(gateway)


@pytest.mark.parametrize("part", [b"", b'{"model": "chatter", "mess'], ids=["no byte of it", "half of it"])
@pytest.mark.parametrize("endpoint", ["chat/completions", "messages", "responses", "embeddings", "batches"])
def test_a_body_that_never_comes_whole_is_408_and_asks_nobody(
    gateway: RunningGateway, settings: Any, monkeypatch: pytest.MonkeyPatch, part: bytes, endpoint: str
) -> None:
    patience(settings, monkeypatch)
    with connect(gateway) as caller:
        caller.sendall(head(gateway, 5000).replace(b"chat/completions", endpoint.encode()) + part)
        told = b"".join(iter(lambda: caller.recv(65536), b""))
    assert told.startswith(b"HTTP/1.1 408") and b"body_too_slow" in told, told
    assert b"\r\nconnection: close\r\n" in told
    assert gateway.external.seen == [] and metrics.IN_FLIGHT.count == 0
    still_fine(gateway)


def test_a_body_under_an_idempotency_key_is_decoded_once(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[bytes] = []

    def counted(raw: bytes, most: int) -> Any:
        decoded.append(raw)
        return decode(raw, most)

    monkeypatch.setattr("switchyard.gateway.bodies.decode", counted)
    with gateway.client() as client:
        for path, key in (
            ("chat/completions", "a"),
            ("messages", "b"),
            ("responses", "c"),
            ("chat/completions", ""),
        ):
            body = CHAT | ({"max_tokens": 9} if path == "messages" else {})
            if path == "responses":
                body = {"model": "chatter", "input": "Hello?"}
            headers = {"idempotency-key": key} if key else {}
            assert client.post(f"/v1/{path}", json=body, headers=headers).status_code == 200, path
    assert len(decoded) == 4, "once a request, whoever looks at it on the way"


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
