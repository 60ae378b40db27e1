"""What arrives on the wire that no client of ours would write: smuggled, pipelined, cut, doubled, or of another age; and values
of every kind where another one belongs. Refused in words or served, never a fault of ours, and nobody is asked twice."""

from __future__ import annotations

import copy
import gzip
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from tests.conformance.test_bad_clients import CHAT, connect, still_fine
from tests.fakes.gateway import RunningGateway
from tests.fakes.upstream import raw_stream

pytestmark = pytest.mark.django_db(transaction=True)
BODY = orjson.dumps(CHAT)
SMUGGLED = b"GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n"


def spoken(gateway: RunningGateway, *pieces: bytes) -> bytes:
    """Everything that comes back until the server hangs up, or has nothing more to say."""
    with connect(gateway) as caller:
        caller.settimeout(3)
        for piece in pieces:
            caller.sendall(piece)
        told = b""
        try:
            while part := caller.recv(65536):
                told += part
        except OSError:
            pass
    return told


def head(gateway: RunningGateway, *more: str, path: str = "chat/completions", version: str = "1.1") -> bytes:
    key = gateway.company.keys["customer-service"]
    lines = [f"POST /v1/{path} HTTP/{version}", "host: x", f"authorization: Bearer {key}", *more]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def chunked(raw: bytes, trailer: bytes = b"") -> bytes:
    return b"%x\r\n%b\r\n0\r\n%b\r\n" % (len(raw), raw, trailer)


def asked(gateway: RunningGateway) -> int:
    return len(gateway.external.seen) + len(gateway.private.seen)


# -------------------------------------------------------------------------------------------------------- smuggling
PAIRS = {
    "length and chunks": ("content-length: 5", "transfer-encoding: chunked"),
    "chunks and length": ("transfer-encoding: chunked", "content-length: 400"),
    "two lengths": (f"content-length: {len(BODY)}", "content-length: 5"),
    "chunks by another name": ("transfer-encoding: xchunked", f"content-length: {len(BODY)}"),
    "a space before the colon": ("transfer-encoding : chunked", f"content-length: {len(BODY)}"),
    "chunks that aren't last": ("transfer-encoding: chunked, identity",),
    "a negative length": ("content-length: -1",),
    "a length in words": ("content-length: all",),
    "a folded line": ("x-a: b", " transfer-encoding: chunked", "content-length: 5"),
    "a nought in a value": ("x-a: b\0c", f"content-length: {len(BODY)}"),
}


@pytest.mark.parametrize("pair", PAIRS)
def test_a_request_with_two_ends_is_none_and_nothing_is_smuggled_behind_it(
    gateway: RunningGateway, pair: str
) -> None:
    told = spoken(gateway, head(gateway, *PAIRS[pair]) + chunked(BODY) + SMUGGLED)
    answers = told.split(b"HTTP/1.1 ")[1:]
    assert all(answer[:3] in (b"400", b"401", b"501") for answer in answers), told[:400]
    assert asked(gateway) == 0
    still_fine(gateway)


def test_a_length_that_is_too_short_asks_nobody_and_its_rest_is_no_request(gateway: RunningGateway) -> None:
    told = spoken(gateway, head(gateway, "content-length: 20") + BODY)
    assert told.startswith(b"HTTP/1.1 400") and b"200 OK" not in told and asked(gateway) == 0


def test_chunks_and_their_trailers_are_read_and_a_trailer_is_no_header(gateway: RunningGateway) -> None:
    trailer = b"authorization: Bearer no\r\n"
    told = spoken(
        gateway, head(gateway, "transfer-encoding: chunked", "connection: close") + chunked(BODY, trailer)
    )
    assert told.startswith(b"HTTP/1.1 200") and b"x-switchyard-route: external" in told
    bad = spoken(gateway, head(gateway, "transfer-encoding: chunked") + b"zz\r\n" + BODY)
    assert not bad.startswith(b"HTTP/1.1 200") and asked(gateway) == 1


def test_two_requests_in_one_breath_are_answered_in_their_order(gateway: RunningGateway) -> None:
    other = orjson.dumps(CHAT | {"model": "nobody"})
    first = head(gateway, f"content-length: {len(BODY)}") + BODY
    second = head(gateway, f"content-length: {len(other)}", "connection: close") + other
    told = spoken(gateway, first + second)
    assert [part[:3] for part in told.split(b"HTTP/1.1 ")[1:]] == [b"200", b"404"]


def test_who_waits_for_leave_gets_it(gateway: RunningGateway) -> None:
    with connect(gateway) as caller:
        caller.sendall(
            head(gateway, f"content-length: {len(BODY)}", "expect: 100-continue", "connection: close")
        )
        assert caller.recv(64).startswith(b"HTTP/1.1 100")
        caller.sendall(BODY)
        told = b"".join(iter(lambda: caller.recv(65536), b""))
    assert told.startswith(b"HTTP/1.1 200") and b"All is well." in told


@pytest.mark.parametrize("stream", [False, True])
def test_the_older_protocol_is_answered_without_chunks_and_hung_up(
    gateway: RunningGateway, stream: bool
) -> None:
    body = orjson.dumps(CHAT | {"stream": stream})
    told = spoken(gateway, head(gateway, f"content-length: {len(body)}", version="1.0") + body)
    status, _, rest = told.partition(b"\r\n")
    assert status.split()[1] == b"200" and b"well" in rest
    assert not stream or rest.rstrip().endswith(b"data: [DONE]"), "no chunk's length stands in it"


def test_frames_that_came_together_leave_together(gateway: RunningGateway) -> None:
    """Several frames of one piece of the upstream's are one write: what a stream costs hangs on it."""
    frames = list(gateway.external.frames(CHAT))
    gateway.external.always(raw_stream(b"".join(frames)))
    body = orjson.dumps(CHAT | {"stream": True})
    told = spoken(gateway, head(gateway, f"content-length: {len(body)}", "connection: close") + body)
    _, _, rest = told.partition(b"\r\n\r\n")
    size, _, first = rest.partition(b"\r\n")
    assert first[: int(size, 16)].count(b"data: ") == len(frames) - 1 and rest.count(b"[DONE]") == 1


# ------------------------------------------------------------------------------------------------------- JSON's edges
@pytest.mark.parametrize(
    "raw",
    [b"", b"\xef\xbb\xbf{}", b"[]", b"null", b'"a"', b"{", BODY[:-1] + b',"temperature": NaN}', BODY[:-1] + b',"a": Infinity}',
     BODY[:-1] + b',"a": "\\ud800"}', BODY[:-1] + b',"a": "\xed\xa0\x80"}', BODY[:-1] + b',"a": 01}', BODY + b"{}",
     BODY[:-1] + b',}', BODY.replace(b'"', b"'"), gzip.compress(BODY, mtime=0), BODY.decode().encode("utf-16")],
)  # fmt: skip
def test_what_is_no_object_of_json_is_400_in_every_shape(gateway: RunningGateway, raw: bytes) -> None:
    with gateway.client() as client:
        for path in ("chat/completions", "responses", "messages", "embeddings", "batches", "feedback"):
            reply = client.post(f"/v1/{path}", content=raw)
            assert reply.status_code == 400 and reply.json()["error"]["message"], path
    assert asked(gateway) == 0


def test_of_a_name_that_stands_twice_the_last_counts_for_all_of_us(gateway: RunningGateway) -> None:
    """What was looked through is what is sent."""
    raw = (
        b'{"model": "nobody", "messages": [{"role": "user", "content": "IBAN DE89370400440532013000"}],'
        + BODY[1:]
    )
    with gateway.client() as client:
        assert client.post("/v1/chat/completions", content=raw).status_code == 200
    assert gateway.external.seen[0].body["messages"] == CHAT["messages"]


def test_numbers_that_no_machine_holds_and_names_without_end_are_no_fault_of_ours(
    gateway: RunningGateway,
) -> None:
    with gateway.client() as client:
        for more in (
            b'"seed": 1' + b"0" * 400,
            b'"seed": ' + b"9" * 30,
            b'"temperature": 1e400',
            b'"seed": -0.0',
        ):
            assert client.post(
                "/v1/chat/completions", content=BODY[:-1] + b"," + more + b"}"
            ).status_code in (200, 400)
        for name in ("max_tokens", "n"):
            raw = BODY[:-1] + f',"{name}": {10**30}}}'.encode()
            assert client.post("/v1/chat/completions", content=raw).json()["error"]["param"] == name
        reply = client.post("/v1/chat/completions", json=CHAT | {"model": "m" * 1_000_000})
        assert reply.status_code == 404 and len(reply.content) < 1000


def test_noughts_in_names_texts_and_ids_are_no_fault_of_ours(gateway: RunningGateway) -> None:
    said = [{"role": "user", "content": "a\0b"}]
    with gateway.client() as client:
        assert client.post("/v1/chat/completions", json=CHAT | {"model": "a\0b"}).status_code == 404
        more = {"messages": said, "user": "a\0b", "metadata": {"a\0": "\0"}}
        assert client.post("/v1/chat/completions", json=CHAT | more).status_code == 200
        made = client.post(
            "/v1/responses", json={"model": "chatter", "input": "a\0b", "metadata": {"a": "\0"}}
        )
        assert made.status_code == 200 and client.get(f"/v1/responses/{made.json()['id']}").status_code == 200
        for path in ("responses", "decisions", "files", "batches", "models", "fine_tuning/jobs"):
            assert client.get(f"/v1/{path}/a%00b").status_code == 404, path
        previous = {"model": "chatter", "input": "x", "previous_response_id": "a\0b"}
        assert client.post("/v1/responses", json=previous).status_code == 404
        for path in ("/v1//chat/completions", "/v1/%2e%2e/admin/", "/v1/" + "a" * 8000):
            assert client.post(path, json=CHAT).status_code in (404, 405), path


# ------------------------------------------------------------------------------------------------------ every value
TEXT = {"type": "text", "text": "Hello?"}
TOOL = {"type": "function", "function": {"name": "w", "description": "d", "parameters": {"type": "object"}}}
CALL = {"id": "a", "type": "function", "function": {"name": "w", "arguments": "{}"}}
PICTURE = {"type": "base64", "media_type": "image/png", "data": "aA"}
WELL: dict[str, dict[str, Any]] = {
    "chat/completions": {
        "model": "chatter", "max_tokens": 9, "n": 1, "temperature": 0, "stop": ["x"], "tools": [TOOL], "user": "u",
        "tool_choice": {"type": "function", "function": {"name": "w"}}, "response_format": {"type": "json_object"},
        "stream": True, "stream_options": {"include_usage": True}, "logprobs": False, "seed": 1, "metadata": {"a": "b"},
        "messages": [
            {"role": "system", "content": "s"},
            {"role": "user", "content": [TEXT, {"type": "image_url", "image_url": {"url": "data:x"}}]},
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "a", "content": "r"},
        ],
    },
    "completions": {"model": "chatter", "prompt": ["a"], "best_of": 1, "suffix": "s", "echo": False, "max_tokens": 9},
    "embeddings": {"model": "vectors", "input": ["a"], "encoding_format": "float", "dimensions": 2, "user": "u"},
    "moderations": {"model": "auto", "input": [TEXT]},
    "classifications": {"model": "support-sentiment", "input": ["a"]},
    "predictions": {"model": "price-advice", "records": [{"a": 1}]},
    "responses": {
        "model": "chatter", "instructions": "i", "max_output_tokens": 9, "metadata": {"a": "b"}, "store": False, "include": ["a"],
        "reasoning": {"effort": "low", "summary": "auto"}, "text": {"format": {"type": "json_schema", "name": "n", "schema": {}}},
        "tools": [{"type": "function", "name": "w", "parameters": {}}], "tool_choice": {"type": "function", "name": "w"},
        "top_logprobs": 1, "stream": True, "stream_options": {"include_obfuscation": False}, "truncation": "auto",
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "x"}, {"type": "input_image", "image_url": "data:x"}]},
            {"type": "function_call", "call_id": "a", "name": "w", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "a", "output": [{"type": "input_text", "text": "x"}]},
            {"type": "reasoning", "id": "r", "summary": []},
        ],
    },
    "messages": {
        "model": "chatter", "max_tokens": 9, "system": [TEXT], "stop_sequences": ["x"], "metadata": {"user_id": "u"},
        "tools": [{"name": "w", "description": "d", "input_schema": {}}], "tool_choice": {"type": "tool", "name": "w"},
        "thinking": {"type": "enabled", "budget_tokens": 9}, "stream": True, "service_tier": "auto",
        "messages": [
            {"role": "user", "content": [TEXT, {"type": "image", "source": PICTURE}]},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "w", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": [TEXT], "is_error": False}]},
        ],
    },
    "messages/count_tokens": {
        "model": "chatter", "messages": [{"role": "user", "content": "x"}], "tools": [{"name": "w", "input_schema": {}}],
    },
    "batches": {"input_file_id": "file-x", "endpoint": "/v1/embeddings", "completion_window": "24h", "metadata": {"a": "b"}},
    "feedback": {"decision_id": "dec_x", "index": 0, "label": "a"},
    "fine_tuning/jobs": {"model": "chatter", "training_file": "file-x", "hyperparameters": {"n_epochs": 1}, "suffix": "s",
                         "method": {"type": "supervised", "supervised": {"hyperparameters": {}}}, "metadata": {"a": "b"}},
}  # fmt: skip
ODD: tuple[Any, ...] = (None, True, -1, 1.5, "", "x\0", [], [None], [[]], {}, {"type": []}, {"": {}}, 10**18)


def changed(body: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Places of a body, each once."""
    for place, value in (
        body.items() if isinstance(body, dict) else enumerate(body) if isinstance(body, list) else ()
    ):
        yield (*at, place)
        yield from changed(value, (*at, place))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("path", WELL)
def test_any_value_anywhere_is_answered_or_refused_in_words(gateway: RunningGateway, path: str) -> None:
    faults = []
    with gateway.client() as client:
        for place in changed(WELL[path]):
            for odd in ODD:
                body = copy.deepcopy(WELL[path])
                inside: Any = body
                for step in place[:-1]:
                    inside = inside[step]
                inside[place[-1]] = odd
                reply = client.post(f"/v1/{path}", content=orjson.dumps(body))
                told = reply.text
                if reply.status_code == 500 or (reply.status_code >= 400 and '"message"' not in told):
                    faults.append((place, odd, reply.status_code, told[:100]))
    assert not faults, f"{len(faults)}: {faults[:8]}"
