"""One layer asks again: whom, after how long, and when not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from routing.contracts import PlannedHop
from routing.execution import retries
from routing.execution.base import AttemptFailed
from routing.execution.deadlines import Deadline
from routing.execution.retries import RetryBudget, Tries
from switchyard.core.errors import UpstreamFailure
from tests.routing.execution.test_balance import deployment

TARGET = deployment("a")


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    found: list[float] = []

    async def sleep(seconds: float) -> None:
        found.append(seconds)

    monkeypatch.setattr(retries.asyncio, "sleep", sleep)
    return found


def failed(kind: str, retry_after_s: float | None = None) -> AttemptFailed:
    return AttemptFailed(kind, UpstreamFailure("no"), retry_after_s=retry_after_s)


def tries(*, last: bool = True, left_s: float = 30, permits: bool = True, budget: Any = None) -> Tries:
    policies = SimpleNamespace(permits=lambda facts, target, hop, masked: permits and hop == "retry")
    run: Any = SimpleNamespace(
        request=SimpleNamespace(version=None, workload=None), facts=object(), deadline=Deadline(left_s),
        world=SimpleNamespace(policies=policies),
    )  # fmt: skip
    return Tries(run, PlannedHop("a", "first", 1), TARGET, budget or RetryBudget(), last=last)


@pytest.mark.parametrize(
    ("kind", "asked"),
    [("connect", True), ("status", True), ("timeout", False), ("garbage", False), ("rejected", False),
     ("misconfigured", False), ("busy", False)],
)  # fmt: skip
async def test_only_what_may_pass_by_itself_is_tried_again(
    slept: list[float], kind: str, asked: bool
) -> None:
    assert (await tries().after(failed(kind)) is TARGET) is asked and bool(slept) is asked


async def test_pauses_are_drawn_and_grow_and_end(slept: list[float]) -> None:
    drawn = set()
    for _ in range(30):
        one = tries()
        assert await one.after(failed("status")) and await one.after(failed("status"))
        assert await one.after(failed("status")) is None
        first, second = slept[-2:]
        assert 0.05 <= first <= 0.25 and 0.05 <= second <= 0.5
        drawn.add(first)
    assert len(drawn) == 30


async def test_the_time_a_server_named_is_waited_for_and_never_less(slept: list[float]) -> None:
    assert await tries().after(failed("busy", 1.0)) is TARGET
    assert 1.0 <= slept[0] <= 1.1
    assert await tries().after(failed("busy", 9.0)) is None and len(slept) == 1


async def test_no_retry_begins_that_could_not_end_in_time(slept: list[float]) -> None:
    assert await tries(left_s=0.1).after(failed("status")) is None
    assert await tries(left_s=1.0).after(failed("busy", 1.5)) is None and not slept


async def test_while_somebody_else_is_left_or_policy_says_no_nobody_is_asked_twice(
    slept: list[float],
) -> None:
    assert await tries(last=False).after(failed("status")) is None
    assert await tries(permits=False).after(failed("status")) is None and not slept


async def test_retries_are_a_fifth_of_requests_however_many_fail(slept: list[float]) -> None:
    budget = RetryBudget()
    taken = 0
    for _ in range(1000):
        budget.request()
        taken += await tries(budget=budget).after(failed("status")) is not None
    assert 190 <= taken <= 210
