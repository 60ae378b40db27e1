"""One key, one question: one call, one charge, one answer, over any number of processes."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2 as httpx
import pytest

from switchyard.gateway.idempotency import fingerprint, place_of
from tests.fakes import upstream
from tests.fakes.gateway import RunningGateway

CHAT: dict[str, Any] = {"model": "chatter", "messages": [{"role": "user", "content": "hi"}]}
KEY = {"Idempotency-Key": "order-7"}


def ask(
    gateway: RunningGateway, lob: str = "customer-service", body: Any = None, **headers: str
) -> httpx.Response:
    with gateway.client(lob, **(KEY | headers)) as client:
        return client.post("/v1/chat/completions", json=CHAT if body is None else body)


def code(reply: httpx.Response) -> tuple[int, str]:
    return reply.status_code, reply.json()["error"]["code"]


def test_the_same_body_gets_the_same_answer_and_is_charged_once(gateway: RunningGateway) -> None:
    first = ask(gateway)
    again = ask(gateway, body={"messages": CHAT["messages"], "model": "chatter"})
    assert first.status_code == again.status_code == 200 and first.content == again.content
    assert len(gateway.external.seen) == 1 and len(gateway.events(1)) == 1
    assert (
        again.headers["x-switchyard-replayed"] == "true"
        and float(again.headers["x-switchyard-cost-usd"]) == 0
    )
    assert float(first.headers["x-switchyard-cost-usd"]) > 0 and "x-switchyard-replayed" not in first.headers
    assert again.headers["x-switchyard-decision-id"] == first.headers["x-switchyard-decision-id"]
    assert again.headers["x-request-id"] != first.headers["x-request-id"]


@pytest.mark.parametrize("change", [{"temperature": 0}, {"stream": True}, {"model": "private-a"}])
def test_another_body_is_a_conflict(gateway: RunningGateway, change: dict[str, Any]) -> None:
    ask(gateway)
    assert code(ask(gateway, body=CHAT | change)) == (409, "idempotency_conflict")
    assert len(gateway.external.seen) == 1


def test_headers_that_change_what_may_be_done_make_it_another_request(gateway: RunningGateway) -> None:
    ask(gateway)
    assert code(ask(gateway, **{"X-Switchyard-Sensitivity": "confidential"})) == (409, "idempotency_conflict")


def test_a_neighbours_key_is_another_key(gateway: RunningGateway) -> None:
    ask(gateway)
    theirs = ask(gateway, "legal", body=CHAT | {"model": "memo"})
    assert theirs.status_code == 200 and "x-switchyard-replayed" not in theirs.headers


def test_answers_to_restricted_data_are_not_kept_and_say_so(gateway: RunningGateway) -> None:
    raised = {"X-Switchyard-Sensitivity": "restricted"}
    assert ask(gateway, **raised).status_code == 200
    again = ask(gateway, **raised)
    assert code(again) == (409, "already_answered") and "restricted" in again.json()["error"]["message"]
    assert len(gateway.private.seen) == 1
    kept = gateway.valkey.client().hgetall(gateway.valkey.client().keys("sy:idem:*")[0])
    assert kept[b"b"] == b""


def test_what_is_kept_is_sealed_and_goes_after_ten_minutes(gateway: RunningGateway) -> None:
    ask(gateway)
    client = gateway.valkey.client()
    (name,) = client.keys("sy:idem:*")
    kept = b"".join(client.hgetall(name).values())
    assert b"order-7" not in name + kept and b"well" not in kept
    assert 590 < client.ttl(name) <= 600


def test_a_whole_stream_is_given_again_frame_by_frame(gateway: RunningGateway) -> None:
    first, again = ask(gateway, body=CHAT | {"stream": True}), ask(gateway, body=CHAT | {"stream": True})
    assert first.content == again.content and again.content.endswith(b"data: [DONE]\n\n")
    assert again.headers["content-type"].startswith("text/event-stream")
    assert len(gateway.external.seen) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_an_error_frees_the_key(gateway: RunningGateway, stream: bool) -> None:
    for side in (gateway.external, gateway.private):
        side.always(upstream.status(500))
    assert ask(gateway, body=CHAT | {"stream": stream}).status_code == 502
    for side in (gateway.external, gateway.private):
        side.behave()
    assert ask(gateway, body=CHAT | {"stream": stream}).status_code == 200


def test_a_stream_that_broke_off_frees_the_key(gateway: RunningGateway) -> None:
    gateway.external.next(upstream.cut_stream(2))
    assert b"upstream_error" in ask(gateway, body=CHAT | {"stream": True}).content
    assert ask(gateway, body=CHAT | {"stream": True}).content.endswith(b"data: [DONE]\n\n")


def test_a_key_that_a_dead_process_held_is_free_after_the_lease(
    gateway: RunningGateway, settings: Any
) -> None:
    """What a process that was killed leaves behind: an open claim and nobody to finish it."""
    settings.SWITCHYARD = settings.SWITCHYARD | {"IDEMPOTENCY_WAIT_S": 0.1}
    world = gateway.front.keeper.world
    key = next(k for k in world.keys.values() if k.lob == "customer-service")
    name = f"sy:idem:{place_of(b'order-7', key)}"
    client = gateway.valkey.client()
    client.hset(name, mapping={"f": fingerprint("chat/completions", {}, CHAT), "o": "dead", "s": "open"})
    client.pexpire(name, 700)
    waits = ask(gateway)
    assert code(waits) == (409, "idempotency_in_progress") and waits.headers["retry-after"]
    time.sleep(0.8)
    assert ask(gateway).status_code == 200


@pytest.mark.parametrize("header", ["", "x" * 256])
def test_a_key_that_is_none_is_refused(gateway: RunningGateway, header: str) -> None:
    assert code(ask(gateway, **{"Idempotency-Key": header})) == (400, "invalid_value")


def test_without_valkey_one_charge_cant_be_promised(gateway: RunningGateway) -> None:
    assert gateway.front.office is not None
    gateway.front.office.once._link._options = {"path": "/nonexistent"}
    assert code(ask(gateway)) == (503, "idempotency_unavailable")
    with gateway.client() as client:
        assert client.post("/v1/chat/completions", json=CHAT).status_code == 200


@pytest.mark.slow
def test_fifty_at_once_over_three_processes_are_one_call_and_one_charge(gateway: RunningGateway) -> None:
    others = [
        RunningGateway(gateway.company, gateway.private, gateway.external, gateway.valkey).start()
        for _ in range(2)
    ]
    gateway.external.always(upstream.slow(0.3))
    fronts = [gateway, *others]
    try:
        with ThreadPoolExecutor(50) as pool:
            replies = list(pool.map(lambda i: ask(fronts[i % 3]), range(50)))
    finally:
        for other in others:
            other.stop()
    assert {r.status_code for r in replies} == {200} and len({r.content for r in replies}) == 1
    assert sum("x-switchyard-replayed" not in r.headers for r in replies) == 1
    assert len(gateway.external.seen) == 1 and len(gateway.events(1)) == 1
