"""`PROCESSES=3`: limits, budgets, breakers, idempotency keys and policies are those of one gateway, whichever process answers."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from switchyard.supervisor import plan
from tests.fakes.upstream import FakeUpstream, status
from tests.fakes.valkey import ValkeyServer
from tests.journeys.workers import AT_ONCE, PROCESSES, RPM, TOKENS, TPM, USD, Answer, Line, Workers, places_in

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
PUBLISHED_S = 2.0


@pytest.fixture(scope="module")
def upstreams() -> Iterator[tuple[FakeUpstream, FakeUpstream]]:
    with FakeUpstream() as sound, FakeUpstream() as frail:
        yield sound, frail


@pytest.fixture(scope="module")
def workers(upstreams: tuple[FakeUpstream, FakeUpstream]) -> Iterator[Workers]:
    root = Path(tempfile.mkdtemp(prefix="sy-w3-", dir="/tmp"))
    (root / "store").mkdir()
    valkey = ValkeyServer(root / "store").start()
    places = places_in(root / "home", valkey)
    env = plan.environment(places) | {
        "PROCESSES": str(PROCESSES), "UPSTREAMS": " ".join(u.url for u in upstreams),
        "DJANGO_SETTINGS_MODULE": "switchyard.settings.dev",
    }  # fmt: skip
    found = Workers(places, env, {}, valkey)
    process = found.start()
    yield found
    process.terminate()
    process.wait(20)
    valkey.stop()
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def sound(workers: Workers, upstreams: tuple[FakeUpstream, FakeUpstream]) -> FakeUpstream:
    """The upstream that works, told to count as many tokens as its callers do."""
    for upstream in upstreams:
        upstream.behave()
    upstreams[0].manners.usage = {
        "prompt_tokens": TOKENS - 4, "completion_tokens": 4, "total_tokens": TOKENS,
    }  # fmt: skip
    return upstreams[0]


def pressed(workers: Workers, name: str, each: int = 30) -> tuple[list[Answer], list[Answer]]:
    """(answers, refusals) of calls through all processes at once."""
    told = workers.at_once(each, lambda line: line.ask(workers.keys[name]))
    assert {pid for pid, _ in told} == set(workers.pids) and len(workers.pids) == PROCESSES
    answers = [answer for _, answer in told if answer.status == 200]
    return answers, [answer for _, answer in told if answer.status != 200]


@pytest.mark.parametrize(("name", "most"), [("rpm", RPM), ("tpm", TPM // TOKENS)])
def test_a_limit_a_minute_is_one_for_all(workers: Workers, sound: FakeUpstream, name: str, most: int) -> None:
    """A minute that ends meanwhile gives back the share of itself that has gone; three limits would let 90."""
    answers, refused = pressed(workers, name)
    assert {r.code for r in refused} == {"rate_limit_exceeded"}
    assert most <= len(answers) <= 1.5 * most and len(sound.seen) == len(answers)


def test_as_many_at_once_as_one_may_have(workers: Workers, sound: FakeUpstream) -> None:
    inside, most = 0, 0

    async def counted(request: Any, body: Any) -> None:
        nonlocal inside, most
        inside, most = inside + 1, max(most, inside + 1)
        await asyncio.sleep(0.3)
        inside -= 1

    sound.always(counted)
    answers, refused = pressed(workers, "at_once", each=10)
    assert 1 < most <= AT_ONCE <= len(answers) and {r.code for r in refused} == {"rate_limit_exceeded"}


def test_a_dollar_is_spent_once(workers: Workers, sound: FakeUpstream) -> None:
    """Two hundred and seventy calls of almost a cent, at once and again: never more than a dollar, and nearly all of it."""
    spent, refusals = Decimal(0), 0
    for _ in range(3):
        answers, refused = pressed(workers, "dollar")
        spent += sum(Decimal(answer.headers["x-switchyard-cost-usd"]) for answer in answers)
        assert {r.code for r in refused} <= {"project_spend_limit_exceeded"}
        refusals += len(refused)
    assert refusals > 100
    assert Decimal("0.95") * Decimal(USD) < spent <= Decimal(USD)
    counters = [workers.valkey.client().hgetall(key) for key in workers.valkey.client().keys("sy:b:*")]
    assert [(int(c[b"spent"]), int(c[b"reserved"])) for c in counters] == [(int(spent * 10**9), 0)]


def test_what_breaks_for_one_process_rests_for_all(
    workers: Workers, sound: FakeUpstream, upstreams: tuple[FakeUpstream, FakeUpstream]
) -> None:
    frail = upstreams[1]
    frail.always(status(500))
    with workers.lines(1) as lines:
        first, *others = lines
        assert [first.ask(workers.keys["plain"], "frail").status for _ in range(5)] == [200] * 5
        tried = len(frail.seen)
        assert tried == 5
        for line in others:
            answer = line.ask(workers.keys["plain"], "frail")
            assert (answer.status, answer.headers["x-switchyard-model"]) == (200, "ext-a")
        assert len(frail.seen) == tried


def test_one_idempotency_key_is_one_call_whichever_process_hears_it(
    workers: Workers, sound: FakeUpstream
) -> None:
    async def slow(request: Any, body: Any) -> None:
        await asyncio.sleep(0.3)

    sound.always(slow)

    def call(line: Line) -> Answer:
        return line.ask(workers.keys["plain"], **{"idempotency-key": "the-same"})

    told = workers.at_once(2, call)
    assert [answer.status for _, answer in told] == [200] * 6 and len(sound.seen) == 1
    assert len({str(answer.body) for _, answer in told}) == 1


def test_a_published_policy_is_in_force_everywhere_within_two_seconds(
    workers: Workers, sound: FakeUpstream
) -> None:
    """Each process is asked all the while, so that what is measured is when it knew."""
    ended = threading.Event()

    def watch(line: Line) -> dict[str, float]:
        first: dict[str, float] = {}
        while not ended.wait(0.05):
            version = line.ask(workers.keys["plain"]).headers["x-switchyard-policy-version"]
            first.setdefault(version, time.time())
        return first

    with workers.lines(1) as lines, ThreadPoolExecutor(PROCESSES) as pool:
        watched = [pool.submit(watch, line) for line in lines]
        published = workers.publish()
        time.sleep(max(0.0, published + 2 * PUBLISHED_S - time.time()))
        ended.set()
        heard = [watching.result() for watching in watched]
    assert [len(first) for first in heard] == [2] * PROCESSES, heard
    assert len({tuple(first) for first in heard}) == 1
    late = [max(first.values()) - published for first in heard]
    assert max(late) < PUBLISHED_S, late
