import asyncio
import itertools
from concurrent.futures import ThreadPoolExecutor

import pytest

from modelhub.serving.batching import MicroBatcher


@pytest.fixture
def executor():
    with ThreadPoolExecutor(max_workers=1) as pool:
        yield pool


def counting_clock():
    """Each computation takes exactly 100 ns."""
    ticks = itertools.count(0, 100)
    return lambda: next(ticks)


async def test_callers_of_one_turn_share_one_batch_and_its_time_exactly(executor):
    sizes = []

    def compute(items):
        sizes.append(len(items))
        return [item.upper() for item in items]

    batcher = MicroBatcher(compute, executor=executor, clock=counting_clock())
    answers = await asyncio.gather(batcher.submit(["a"], 1), batcher.submit(["b", "c"], 2))
    assert sizes == [3]
    assert [rows for rows, _ in answers] == [["A"], ["B", "C"]]
    assert [ns for _, ns in answers] == [33, 67]


async def test_a_bad_item_fails_its_own_caller_and_nobody_else(executor):
    def compute(items):
        if "bad" in items:
            raise ValueError("bad item")
        return list(items)

    batcher = MicroBatcher(compute, executor=executor, clock=counting_clock())
    good, bad = await asyncio.gather(
        batcher.submit(["good"], 1), batcher.submit(["bad"], 1), return_exceptions=True
    )
    assert good[0] == ["good"]
    assert isinstance(bad, ValueError)


async def test_a_batch_never_grows_past_its_bound(executor):
    sizes = []

    def compute(items):
        sizes.append(len(items))
        return list(items)

    batcher = MicroBatcher(compute, executor=executor, clock=counting_clock())
    await asyncio.gather(*(batcher.submit([n], 1) for n in range(150)))
    assert max(sizes) <= 64
    assert sum(sizes) == 150
