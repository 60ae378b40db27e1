"""Streams: nothing before the first byte and verdict, every end in words, every end metered."""

from __future__ import annotations

import time
from typing import Any

import httpx2 as httpx
import orjson
import pytest

from tests.fakes import upstream
from tests.fakes.gateway import RunningGateway

CHAT = {"model": "chatter", "messages": [{"role": "user", "content": "hi"}], "stream": True}


def frames_of(reply: httpx.Response) -> list[Any]:
    """The data frames, [DONE] as None; anything that is neither data nor a comment fails."""
    found: list[Any] = []
    for line in reply.iter_lines():
        if not line or line.startswith(":"):
            continue
        assert line.startswith("data: "), line
        found.append(None if line == "data: [DONE]" else orjson.loads(line[6:]))
    return found


def text_of(frames: list[Any]) -> str:
    pieces = [c["delta"].get("content") or "" for f in frames if f for c in f.get("choices", ())]
    return "".join(pieces)


def ask(gateway: RunningGateway, **more: Any) -> tuple[int, httpx.Headers, list[Any]]:
    with gateway.client() as client, client.stream("POST", "/v1/chat/completions", json=CHAT | more) as reply:
        if reply.status_code != 200:
            return reply.status_code, reply.headers, [orjson.loads(reply.read())]
        return 200, reply.headers, frames_of(reply)


def test_a_stream_is_data_frames_and_done_and_names_its_route(gateway: RunningGateway) -> None:
    status, headers, frames = ask(gateway)
    assert status == 200 and headers["content-type"].startswith("text/event-stream")
    assert headers["x-switchyard-route"] == "external" and headers["x-switchyard-model"] == "ext-a"
    assert text_of(frames) == "All is well." and frames[-1] is None
    assert all("usage" not in frame for frame in frames[:-1])
    event = gateway.events()[0]
    assert event["stream"] and event["attempts"][0]["usage_source"] == "reported" and event["cost_nusd"] > 0


def test_before_the_first_byte_the_next_one_is_asked(gateway: RunningGateway) -> None:
    gateway.external.next(upstream.status(500))
    status, headers, frames = ask(gateway)
    assert status == 200 and headers["x-switchyard-route"] == "private" and frames[-1] is None


def test_when_nobody_answers_the_status_says_so(gateway: RunningGateway) -> None:
    gateway.external.always(upstream.status(500))
    gateway.private.always(upstream.status(500))
    status, _, frames = ask(gateway)
    assert status == 502 and frames[0]["error"]["code"] == "upstream_error"


def test_a_stream_that_breaks_off_ends_in_an_error_frame_and_is_charged_as_estimated(
    gateway: RunningGateway,
) -> None:
    gateway.external.next(upstream.cut_stream(2))
    status, _, frames = ask(gateway)
    assert status == 200 and text_of(frames[:-1]) == "All is"
    assert frames[-1]["error"]["code"] == "upstream_error" and None not in frames
    attempt = gateway.events()[0]["attempts"][0]
    assert attempt["usage_source"] == "estimated" and attempt["tokens_out"] == 2 and attempt["cost_nusd"] > 0
    assert gateway.events()[0]["error_code"] == "upstream_error"


def test_a_stream_that_falls_silent_ends_at_the_idle_limit(gateway: RunningGateway) -> None:
    assert gateway.front.office is not None
    gateway.front.office.upstream.idle_s = 0.3
    gateway.external.next(upstream.stall_stream(1))
    began = time.monotonic()
    status, _, frames = ask(gateway)
    assert status == 200 and frames[-1]["error"]["code"] == "upstream_timeout"
    assert time.monotonic() - began < 5


def test_frames_cut_anywhere_with_carriage_returns_and_comments_arrive_whole(gateway: RunningGateway) -> None:
    body = "".join(
        f'data: {{"id":"x","choices":[{{"index":0,"delta":{{"content":"{word}"}},"finish_reason":{end}}}]}}\r\n\r\n'
        for word, end in (("Grüße", "null"), (" all", '"stop"'))
    )
    raw = (": hello\r\n\r\nevent: x\r\nid: 7\r\n" + body + "data: [DONE]\r\n\r\n").encode()
    gateway.external.next(upstream.raw_stream(*[raw[i : i + 7] for i in range(0, len(raw), 7)]))
    status, _, frames = ask(gateway)
    assert status == 200 and text_of(frames) == "Grüße all" and frames[-1] is None


def test_garbage_in_place_of_a_stream_falls_back(gateway: RunningGateway) -> None:
    gateway.external.next(upstream.raw_stream(b"data: {not json}\n\n"))
    status, headers, _ = ask(gateway)
    assert status == 200 and headers["x-switchyard-route"] == "private"


def test_an_upstream_that_ignores_the_cap_is_cut_in_words(gateway: RunningGateway) -> None:
    gateway.external.manners.words = ["w"] * 50
    status, _, frames = ask(gateway, max_tokens=10)
    assert status == 200 and frames[-1]["error"]["code"] == "project_spend_limit_exceeded"
    assert frames[-1]["error"]["type"] == "insufficient_quota" and len(text_of(frames[:-1])) <= 12
    assert gateway.events()[0]["attempts"][0]["status"] == "cut"


def test_a_caller_who_hangs_up_stops_the_upstream_and_is_charged_for_what_came(
    gateway: RunningGateway,
) -> None:
    gateway.external.manners.words = ["word "] * 200
    gateway.external.manners.chunk_pause_s = 0.02
    with gateway.client() as client, client.stream("POST", "/v1/chat/completions", json=CHAT) as reply:
        lines = reply.iter_lines()
        for _ in range(8):
            next(lines)
    event = gateway.events()[0]
    assert event["status"] == 499 and event["attempts"][0]["status"] == "cut" and event["cost_nusd"] > 0
    deadline = time.monotonic() + 3
    while not gateway.external.hung_up and time.monotonic() < deadline:
        time.sleep(0.02)
    assert gateway.external.hung_up == 1


def test_draining_refuses_new_requests_and_ends_streams_in_words(
    gateway: RunningGateway, settings: Any
) -> None:
    settings.SWITCHYARD = settings.SWITCHYARD | {"DRAIN_S": 0.2}
    gateway.external.manners.words = ["word "] * 400
    gateway.external.manners.chunk_pause_s = 0.05
    with gateway.client() as client, client.stream("POST", "/v1/chat/completions", json=CHAT) as reply:
        lines = (line for line in reply.iter_lines() if line)
        next(lines)
        gateway.on_loop(gateway.front.drain)
        with gateway.client() as other:
            assert other.get("/readyz").status_code == 503
            assert other.post("/v1/chat/completions", json=CHAT).status_code == 503
        rest = list(lines)
    assert orjson.loads(rest[-1][6:])["error"]["code"] == "no_deployment_available"
    event = gateway.events()[0]
    assert (event["error_code"], event["status"]) == ("no_deployment_available", 503)


def test_silence_is_filled_with_comments(gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("switchyard.gateway.relaying.PING_S", 0.05)
    gateway.external.manners.chunk_pause_s = 0.15
    with gateway.client() as client, client.stream("POST", "/v1/chat/completions", json=CHAT) as reply:
        lines = list(reply.iter_lines())
    assert ": ping" in lines and lines[-2] == "data: [DONE]"


def test_two_choices_of_a_stream_are_counted(gateway: RunningGateway) -> None:
    _, _, frames = ask(gateway, n=2, stream_options={"include_usage": True})
    assert frames[-2]["usage"]["completion_tokens"] == 8 and frames[-2]["choices"] == []
    assert gateway.events()[0]["answers"] == 2
