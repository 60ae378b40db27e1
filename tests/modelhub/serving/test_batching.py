import asyncio
import itertools
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from modelhub.serving.batching import Device, Lane, MicroBatcher
from modelhub.serving.errors import DeadlinePassed, ServerBusy
from modelhub.serving.pace import Pace


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


async def test_a_request_of_ten_thousand_rows_is_computed_in_portions_between_which_others_answer(executor):
    order = []

    def compute(items):
        order.append(items[0])
        return list(items)

    device = Device(executor)
    large = Lane("large", compute, device=device, clock=counting_clock())
    small = Lane("small", compute, device=device, clock=counting_clock())
    many = [("large", n) for n in range(10_000)]
    (rows, elapsed), (one, _) = await asyncio.gather(large.submit(many, 1), small.submit([("small", 0)], 1))
    assert rows == many
    assert one == [("small", 0)]
    assert elapsed == 100 * 157  # 156 batches of 64 and one of 16, each measured once
    assert order.index(("small", 0)) <= 1


async def test_a_deadline_that_passes_while_waiting_is_504_and_its_rows_are_never_computed(executor):
    computed, held = [], asyncio.Event()
    loop = asyncio.get_running_loop()

    def compute(items):
        computed.extend(items)
        if "slow" in items:
            asyncio.run_coroutine_threadsafe(held.wait(), loop).result(10)
        return list(items)

    batcher = MicroBatcher(compute, executor=executor, clock=counting_clock())
    slow = asyncio.create_task(batcher.submit(["slow"], 1))
    while "slow" not in computed:
        await asyncio.sleep(0.001)
    with pytest.raises(DeadlinePassed) as caught:
        await batcher.submit(["late"], 1, deadline=time.monotonic() + 0.01)
    held.set()
    await slow
    await batcher.submit(["next"], 1)
    assert caught.value.status == 504
    assert computed == ["slow", "next"]


async def test_a_full_queue_refuses_with_the_time_to_come_again_and_an_empty_one_takes_any_size(executor):
    device = Device(executor, queue_rows=10)
    lane = Lane("x", list, device=device, clock=counting_clock())
    first = asyncio.create_task(lane.submit([1] * 50, 1))
    await asyncio.sleep(0)
    with pytest.raises(ServerBusy) as caught:
        await lane.submit([1], 1)
    assert caught.value.status == 503
    assert int(caught.value.headers()["retry-after"]) >= 1
    assert len((await first)[0]) == 50


async def test_a_lane_that_was_idle_earns_no_credit_and_a_busy_one_gives_way(executor):
    turns = []

    def lane(name):
        def compute(items):
            turns.append(name)
            return list(items)

        return Lane(name, compute, device=device, clock=counting_clock(), max_rows=1)

    device = Device(executor)
    busy, quiet = lane("busy"), lane("quiet")
    await asyncio.gather(*(busy.submit([n], 1) for n in range(20)))
    turns.clear()
    await asyncio.gather(*(busy.submit([n], 1) for n in range(8)), *(quiet.submit([n], 1) for n in range(8)))
    assert turns.count("busy") == turns.count("quiet") == 8
    assert all(abs(turns[:n].count("busy") - turns[:n].count("quiet")) <= 1 for n in range(17))


def test_waiting_pays_only_where_arrivals_save_more_than_they_delay():
    pace = Pace()
    for rows in (1, 2, 4, 8, 16):
        pace.computed(rows, 10_000_000 + rows * 100_000)
    fixed, per_row = pace.costs()
    assert (fixed, per_row) == (pytest.approx(0.010), pytest.approx(0.0001))
    assert not pace.worth_waiting(1)  # nobody comes
    now = time.monotonic()
    for _ in range(50):
        pace.arrived(now)  # 500 a second · 10 ms saved = 5 callers' worth
    assert pace.worth_waiting(1)
    assert not pace.worth_waiting(6)


def test_a_lane_whose_batches_cost_by_the_row_alone_never_waits():
    pace = Pace()
    for rows in (1, 2, 4, 8, 16):
        pace.computed(rows, rows * 1_000_000)
    for _ in range(200):
        pace.arrived(time.monotonic())
    assert not pace.worth_waiting(1)
