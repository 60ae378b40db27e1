"""Who may begin: lines of business in turn, and who is over a limit isn't read."""

from __future__ import annotations

import asyncio

import pytest

from switchyard.core.errors import RateLimited
from switchyard.gateway.entrance import Entrance, declared
from tests.fakes.gateway import RunningGateway

CHAT = {"model": "auto", "messages": [{"role": "user", "content": "hello there"}]}


async def begun(entrance: Entrance, lobs: list[str]) -> list[str]:
    """The order in which requests that came in one turn began."""
    order: list[str] = []

    async def one(lob: str) -> None:
        wait = entrance.enter(lob)
        if wait is not None:
            await wait
        order.append(lob)

    await asyncio.gather(*(one(lob) for lob in lobs))
    return order


async def test_few_begin_at_once() -> None:
    entrance = Entrance(width=4)
    assert [entrance.enter("legal") for _ in range(4)] == [None] * 4
    assert entrance.enter("legal") is not None


async def test_a_flood_stands_behind_its_own() -> None:
    order = await begun(Entrance(width=2), ["flood"] * 50 + ["legal", "claims", "legal"])
    assert order.index("legal") < 8 and order.index("claims") < 8
    assert sorted(order) == sorted(["flood"] * 50 + ["legal", "claims", "legal"])


async def test_a_turn_later_places_are_free_again() -> None:
    entrance = Entrance(width=1)
    for _ in range(5):
        assert entrance.enter("legal") is None
        await asyncio.sleep(0)
        await asyncio.sleep(0)


async def test_who_went_away_takes_nobodys_place() -> None:
    entrance = Entrance(width=1)
    entrance.enter("legal")
    gone, stays = entrance.enter("legal"), entrance.enter("legal")
    assert gone is not None and stays is not None
    gone.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert stays.done()


async def test_a_line_that_is_too_long_is_refused_and_another_one_is_not() -> None:
    entrance = Entrance(width=1, most_waiting=3)
    for _ in range(4):
        entrance.enter("flood")
    with pytest.raises(RateLimited) as caught:
        entrance.enter("flood")
    assert caught.value.extra["scope"] == "lob:flood" and caught.value.headers()["retry-after"]
    assert entrance.enter("legal") is not None


def test_a_declared_length_is_a_number_or_nothing() -> None:
    assert [declared({b"content-length": told}) for told in (b"12", b"-1", b"x", b"9" * 40)] == [12, 0, 0, 0]
    assert declared({}) == 0


def test_over_a_limit_one_refusal_is_recorded_and_the_next_ones_are_counted(gateway: RunningGateway) -> None:
    lob = gateway.company.service
    lob.rpm = 1
    lob.save()
    gateway.refresh()
    with gateway.client() as client:
        replies = [client.post("/v1/chat/completions", json=CHAT) for _ in range(6)]
        told = client.get("/metrics").text
    assert [reply.status_code for reply in replies] == [200] + [429] * 5
    for reply in replies[1:]:
        assert reply.json()["error"]["code"] == "rate_limit_exceeded"
        assert 1 <= float(reply.headers["retry-after"]) <= 120 and reply.headers["x-request-id"]
    recorded = [event["status"] for event in gateway.events(2)]
    assert recorded[:2] == [200, 429] and len(recorded) < 6
    (line,) = (x for x in told.splitlines() if 'code="rate_limit_exceeded"' in x and "_total" in x)
    assert float(line.split()[-1]) + recorded.count(429) >= 5


def test_a_limit_that_was_raised_is_heard_of_at_once(gateway: RunningGateway) -> None:
    lob = gateway.company.service
    for rpm, wanted in ((1, [200, 429, 429]), (1000, [200, 200])):
        lob.rpm = rpm
        lob.save()
        gateway.refresh()
        with gateway.client() as client:
            assert [client.post("/v1/chat/completions", json=CHAT).status_code for _ in wanted] == wanted
