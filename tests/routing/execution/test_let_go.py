"""What a call leaves behind goes when its last holder does: what only the collector could free waits for it, with its bytes."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest

from routing.contracts import PlannedHop
from routing.execution.base import AttemptFailed
from routing.execution.breaker import Load
from routing.execution.fallback import Executor
from routing.execution.lean.client import LeanUpstream
from routing.execution.lean.connection import Connection
from routing.execution.lean.exchange import Exchange, LeanError
from routing.execution.retries import RetryBudget
from switchyard.core.errors import UpstreamFailure
from tests.routing.execution.test_clients import OK, call, says


@pytest.fixture(autouse=True)
def nobody_collects() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def left(*kinds: type) -> Counter[str]:
    # By type: isinstance asks a weak proxy for the class of what it stood for, which may be gone.
    return Counter(type(each).__name__ for each in gc.get_objects() if type(each) in kinds)


@pytest.mark.parametrize(
    "act",
    [
        says(OK, close=True),
        says(OK[:20], abort=True),
        says(OK[:-3], close=True),
        says(b"HTTP/1.1 200 OK\r\nno"),
    ],
    ids=["whole", "reset", "half", "nonsense"],
)
def test_a_connection_that_ended_holds_neither_its_parser_nor_its_answer(act: Any) -> None:
    before = left(Connection, Exchange, LeanError)
    call(lambda: LeanUpstream(connect_s=2, first_byte_s=0.3, idle_s=0.3), act, calls=3)
    assert left(Connection, Exchange, LeanError) == before


async def test_an_attempt_that_failed_is_not_held_by_its_own_traceback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    executor = Executor(SimpleNamespace(), Load(), RetryBudget())  # type: ignore[arg-type]
    run: Any = SimpleNamespace(decision=SimpleNamespace(candidates=()), grant=None)

    async def fails(self: Executor, *_: Any) -> None:
        raise AttemptFailed("status", UpstreamFailure("no"))

    hops = [(PlannedHop("a", "first", 1), SimpleNamespace(name="a"), True)]
    monkeypatch.setattr(Executor, "hops", lambda self, run: iter(hops))
    for name in ("_attempt", "_again"):
        monkeypatch.setattr(Executor, name, fails)
    before = left(AttemptFailed, UpstreamFailure)
    for _ in range(3):
        with suppress(UpstreamFailure):
            await executor.whole(run)
    await asyncio.sleep(0)
    assert left(AttemptFailed, UpstreamFailure) == before
