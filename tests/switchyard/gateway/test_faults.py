"""Twelve kinds of harm beneath HTTP: who answers, what the caller hears, and that the books hold what was written."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from modelhub.models import Deployment
from tests.fakes import upstream
from tests.fakes.fault_proxy import FaultProxy, Harm
from tests.fakes.gateway import RunningGateway
from tests.switchyard.gateway.test_streams import ask, frames_of, text_of

CHAT: dict[str, Any] = {"model": "chatter", "messages": [{"role": "user", "content": "hi"}]}
HEAD = 170  # bytes of a stream's HTTP head and less than its first frame


@pytest.fixture
def proxy(gateway: RunningGateway) -> Iterator[FaultProxy]:
    """Between the gateway and the external side."""
    assert gateway.front.office is not None
    with FaultProxy(gateway.external.url) as between:
        Deployment.objects.filter(name="ext-a").update(base_url=between.url)
        gateway.refresh()
        gateway.front.office.upstream.first_byte_s = gateway.front.office.upstream.idle_s = 1.0
        yield between


BEFORE = {
    "refused": Harm(refuse=True),
    "black hole": Harm(black_hole=True),
    "cut before the head": Harm(cut_after=10),
    "reset in the head": Harm(reset_after=40),
    "half closed in the head": Harm(half_close_after=40),
    "slower than the first byte's limit": Harm(latency_s=2.5),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("harm", BEFORE.values(), ids=BEFORE)
def test_before_the_first_byte_the_private_side_answers(
    gateway: RunningGateway, proxy: FaultProxy, harm: Harm, stream: bool
) -> None:
    proxy.harm = harm
    with gateway.client() as client:
        reply = client.post("/v1/chat/completions", json=CHAT | {"stream": stream})
    assert reply.status_code == 200 and reply.headers["x-switchyard-route"] == "private"
    event = gateway.events()[0]
    assert [a["status"] for a in event["attempts"]] == ["error", "ok"] and event["attempts"][0][
        "cost_nusd"
    ] == 0


@pytest.mark.parametrize("harm", [Harm(cut_after=330), Harm(reset_after=330)], ids=["cut", "reset"])
def test_a_whole_answer_that_breaks_off_is_asked_for_elsewhere(
    gateway: RunningGateway, proxy: FaultProxy, harm: Harm
) -> None:
    gateway.external.manners.words = ["word "] * 200
    proxy.harm = harm
    with gateway.client() as client:
        reply = client.post("/v1/chat/completions", json=CHAT)
    assert reply.status_code == 200 and reply.headers["x-switchyard-route"] == "private"


AFTER = {
    "cut": (Harm(cut_after=900), "upstream_error"),
    "reset": (Harm(reset_after=900), "upstream_error"),
    "half closed": (Harm(half_close_after=900), "upstream_error"),
}


@pytest.mark.parametrize(("harm", "code"), AFTER.values(), ids=AFTER)
def test_after_the_first_byte_the_stream_ends_in_words_and_is_charged_for_what_came(
    gateway: RunningGateway, proxy: FaultProxy, harm: Harm, code: str
) -> None:
    gateway.external.manners.words = ["word "] * 50
    proxy.harm = harm
    status, headers, frames = ask(gateway)
    assert status == 200 and headers["x-switchyard-route"] == "external" and None not in frames
    assert frames[-1]["error"]["code"] == code
    words = text_of(frames[:-1]).count("word")
    event = gateway.events()[0]
    (attempt,) = event["attempts"]
    assert (
        event["error_code"] == code and attempt["status"] == "cut" and attempt["usage_source"] == "estimated"
    )
    assert attempt["tokens_out"] == words > 0 and attempt["cost_nusd"] == event["cost_nusd"] > 0


@pytest.mark.parametrize("piece", [1, 2, 7])
def test_bytes_may_come_one_by_one(gateway: RunningGateway, proxy: FaultProxy, piece: int) -> None:
    gateway.external.manners.words = ["Grüße", " 北京", " 🙂", '"}\n\n{']
    proxy.harm = Harm(piece=piece)
    status, headers, frames = ask(gateway, stream_options={"include_usage": True})
    assert status == 200 and headers["x-switchyard-route"] == "external"
    assert text_of(frames) == 'Grüße 北京 🙂"}\n\n{' and frames[-1] is None
    assert frames[-2]["usage"]["completion_tokens"] == 4


def test_a_server_that_reads_slowly_gets_all_of_it(gateway: RunningGateway, proxy: FaultProxy) -> None:
    proxy.harm = Harm(slow_read=200)
    with gateway.client() as client:
        reply = client.post("/v1/chat/completions", json=CHAT)
    assert reply.status_code == 200 and reply.headers["x-switchyard-route"] == "external"


def test_nothing_waits_for_the_whole_answer(gateway: RunningGateway) -> None:
    """Each frame leaves when it came: the first is out long before the last was written."""
    gateway.external.manners.words = ["word "] * 10
    gateway.external.manners.chunk_pause_s = 0.1
    began = time.monotonic()
    with (
        gateway.client() as client,
        client.stream("POST", "/v1/chat/completions", json=CHAT | {"stream": True}) as reply,
    ):
        times = [time.monotonic() - began for line in reply.iter_lines() if line]
    assert times[0] < times[-1] / 2 and times[-1] - times[0] > 0.8


@pytest.mark.parametrize(
    "usage_at",
    ["own frame", "last frame", "every frame", "after done"],
)
def test_usage_is_taken_wherever_it_appears(gateway: RunningGateway, usage_at: str) -> None:
    usage = {"prompt_tokens": 31, "completion_tokens": 17, "total_tokens": 48}
    head = {"id": "x", "created": 1, "model": "m"}
    words = [
        head | {"choices": [{"index": 0, "delta": {"content": w}, "finish_reason": None}]} for w in ("a", "b")
    ]
    end = head | {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    if usage_at == "every frame":  # what was used so far; the last counts
        words = [
            w | {"usage": {"prompt_tokens": 31, "completion_tokens": i + 1}} for i, w in enumerate(words)
        ]
    frames = [*words, end | ({"usage": usage} if usage_at in ("last frame", "every frame") else {})]
    if usage_at == "own frame":
        frames.append(head | {"choices": [], "usage": usage})
    raw = [b"data: " + orjson.dumps(f) + b"\n\n" for f in frames]
    raw.append(b"data: [DONE]\n\n")
    if usage_at == "after done":
        raw.append(b"data: " + orjson.dumps(head | {"choices": [], "usage": usage}) + b"\n\n")
    gateway.external.next(upstream.raw_stream(*raw))
    status, _, told = ask(gateway, stream_options={"include_usage": True})
    (attempt,) = gateway.events()[0]["attempts"]
    assert status == 200 and text_of(told) == "ab"
    assert (attempt["tokens_in"], attempt["tokens_out"], attempt["usage_source"]) == (31, 17, "reported")
    assert sum(bool(f and f.get("usage") and not f["choices"]) for f in told) == 1


def test_a_stream_that_outgrows_the_callers_cap_is_cut_in_words_and_settled_exactly(
    gateway: RunningGateway,
) -> None:
    """The upstream writes ten times what it was allowed: the client gets a typed end, the books what came through."""
    gateway.external.manners.words = ["w "] * 400
    with (
        gateway.client() as client,
        client.stream(
            "POST", "/v1/chat/completions", json=CHAT | {"stream": True, "max_tokens": 40}
        ) as reply,
    ):
        frames = frames_of(reply)
    error = frames[-1]["error"]
    assert (error["code"], error["type"]) == ("project_spend_limit_exceeded", "insufficient_quota")
    event = gateway.events()[0]
    (attempt,) = event["attempts"]
    pieces = text_of(frames[:-1]).count("w")
    assert attempt["status"] == "cut" and abs(attempt["tokens_out"] - pieces) <= 1
    assert attempt["cost_nusd"] == event["cost_nusd"] == sum(attempt["legs"].values())
    reserved = gateway.valkey.client().keys("sy:r:*")
    assert reserved == []


def test_told_to_wait_nobody_is_asked_again_before(gateway: RunningGateway) -> None:
    gateway.external.next(upstream.status(429, retry_after=30))
    with gateway.client() as client:
        first = client.post("/v1/chat/completions", json=CHAT)
        asked = len(gateway.external.seen)
        second = client.post("/v1/chat/completions", json=CHAT)
    assert first.headers["x-switchyard-route"] == second.headers["x-switchyard-route"] == "private"
    assert len(gateway.external.seen) == asked == 1


def test_a_stream_is_tried_again_where_nobody_else_is_left(gateway: RunningGateway) -> None:
    gateway.private.next(upstream.status(500))
    with (
        gateway.client("legal") as client,
        client.stream("POST", "/v1/chat/completions", json=CHAT | {"model": "memo", "stream": True}) as reply,
    ):
        frames = frames_of(reply)
    assert frames[-1] is None and len(gateway.private.seen) == 2


def test_a_full_private_queue_overflows_only_for_classes_that_may_leave(gateway: RunningGateway) -> None:
    assert gateway.front.office is not None
    load = gateway.front.office.load
    load.in_flight["private-a"] = 10_000
    load.in_flight["ext-a"] = 0
    with gateway.client("legal") as client:
        kept = client.post("/v1/chat/completions", json=CHAT | {"model": "memo"})
    load.in_flight["ext-a"], load.in_flight["private-a"] = 10_000, 0
    with gateway.client() as client:
        moved = client.post("/v1/chat/completions", json=CHAT)
    assert kept.status_code == 503 and kept.json()["error"]["code"] == "residency_capacity_unavailable"
    assert kept.headers["retry-after"] and gateway.external.seen == []
    assert moved.status_code == 200 and moved.headers["x-switchyard-route"] == "private"
