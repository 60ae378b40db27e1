"""One device shared fairly: requests coalesce into batches, and a batch's measured time is shared out exactly.

A *lane* is one model's queue. The device always turns to the lane that has had least of its time, so a model under
load delays another by one batch, not by its queue. A caller who finds the device idle is computed at once; a batch
waits for company only while that pays (`Pace.worth_waiting`), and never longer than `MAX_WAIT_S`.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, Protocol

from modelhub.serving.errors import DeadlinePassed, ServerBusy
from modelhub.serving.pace import Pace
from switchyard.core.money import largest_remainder

MAX_ITEMS = 64
QUEUE_ROWS = 8192
MAX_WAIT_S = 0.002


class Listener(Protocol):
    """Who hears what batches did; the metrics do."""

    def batch(self, lane: str, rows: int, callers: int, elapsed_ns: int) -> None: ...

    def waited(self, lane: str, seconds: float) -> None: ...

    def expired(self, lane: str) -> None: ...


@dataclass(slots=True, eq=False)
class _Waiting:
    """A caller: what it brought, how far it was computed, what it has had so far."""

    items: Sequence[Any]
    weights: Sequence[int]
    deadline: float | None
    arrived: float = field(default_factory=time.monotonic)
    future: asyncio.Future[tuple[list[Any], int]] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    at: int = 0
    results: list[Any] = field(default_factory=list)
    elapsed: int = 0


@dataclass(frozen=True, slots=True)
class _Portion:
    """The rows of one caller that go into one batch."""

    waiting: _Waiting
    first: int
    last: int

    @property
    def items(self) -> Sequence[Any]:
        return self.waiting.items[self.first : self.last]

    @property
    def weight(self) -> int:
        return max(1, sum(self.waiting.weights[self.first : self.last]))


class Turn(Protocol):
    """What a device can turn to."""

    name: str
    used_ns: int

    def ready(self) -> bool: ...

    def worth_waiting(self) -> bool: ...

    async def turn(self) -> None: ...


class Device:
    """Turns to its lanes one at a time; everything that computes here goes through it."""

    def __init__(
        self, executor: Executor, *, listener: Listener | None = None, queue_rows: int = QUEUE_ROWS
    ) -> None:
        self.executor, self.listener, self.queue_rows = executor, listener, queue_rows
        self._lanes: list[Turn] = []
        self._task: asyncio.Task[None] | None = None
        self._since_ns = 0

    def wake(self, lane: Turn) -> None:
        """A lane has work. One that was idle starts level with the others: idleness earns no credit."""
        if lane not in self._lanes:
            lane.used_ns = max(lane.used_ns, self._since_ns)
            self._lanes.append(lane)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        await asyncio.sleep(0)  # callers of this loop turn go together
        while self._lanes:
            lane = min(self._lanes, key=lambda one: one.used_ns)
            if not lane.ready():
                self._lanes.remove(lane)
                continue
            await self._linger(lane)
            self._since_ns = lane.used_ns
            await lane.turn()

    async def _linger(self, lane: Turn) -> None:
        """Wait for company while it pays and nobody else could use the device."""
        until = time.monotonic() + MAX_WAIT_S
        while len(self._lanes) == 1 and lane.worth_waiting() and time.monotonic() < until:
            await asyncio.sleep(MAX_WAIT_S / 8)

    @property
    def contended(self) -> bool:
        """Whether several lanes want the device; may be asked from the computing thread."""
        return len(self._lanes) > 1


class Lane:
    """One model's queue on a device.

    `compute(items) -> results` runs in the device's executor; `submit` gives (this caller's results, this caller's
    nanoseconds). A batch's measured time is shared by weight (bytes of input, say) and sums to it exactly. A caller
    with more than `max_rows` rows is computed in portions, between which others have their turn.
    Raises ServerBusy, DeadlinePassed, or what `compute` raises on this caller's own rows.
    """

    def __init__(
        self, name: str, compute: Callable[[list[Any]], list[Any]], *, device: Device, clock: Callable[[], int],
        max_rows: int = MAX_ITEMS,
    ) -> None:  # fmt: skip
        self.name, self.max_rows, self.used_ns = name, max_rows, 0
        self._compute, self._device, self._clock = compute, device, clock
        self._queue: deque[_Waiting] = deque()
        self.pace = Pace()

    async def submit(
        self, items: Sequence[Any], weight: int | Sequence[int], *, deadline: float | None = None
    ) -> tuple[list[Any], int]:
        """`weight`: of each item, or of all together; `deadline`: on the monotonic clock."""
        weights = (
            weight if isinstance(weight, Sequence) else largest_remainder(max(1, weight), [1] * len(items))
        )
        rows = self.waiting_rows()
        if rows and rows + len(items) > self._device.queue_rows:
            raise ServerBusy(rows, self._device.queue_rows, self.pace.seconds_for(rows))
        waiting = _Waiting(items, weights, deadline)
        self._queue.append(waiting)
        self.pace.arrived(waiting.arrived)
        self._device.wake(self)
        if deadline is None:
            return await waiting.future
        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                return await waiting.future
        except TimeoutError:
            self._tell("expired", self.name)
            raise DeadlinePassed from None

    def waiting_rows(self) -> int:
        return sum(len(waiting.items) - waiting.at for waiting in self._queue)

    def ready(self) -> bool:
        while (
            self._queue and self._queue[0].future.done()
        ):  # cancelled, expired or failed: nothing is computed
            self._queue.popleft()
        return bool(self._queue)

    def worth_waiting(self) -> bool:
        rows = self.waiting_rows()
        return rows < self.max_rows and self.pace.worth_waiting(len(self._queue))

    async def turn(self) -> None:
        portions = self._take()
        if not portions:
            return
        items = [item for portion in portions for item in portion.items]
        try:
            results, elapsed = await self._run(items)
        except Exception as error:
            await self._one_by_one(portions, error)
            return
        self.pace.computed(len(items), elapsed)
        self._hand_out(portions, results, elapsed)

    def _take(self) -> list[_Portion]:
        """Whole callers while they fit, then a part of the next; who isn't done goes to the end of the queue."""
        portions: list[_Portion] = []
        room, now = self.max_rows, time.monotonic()
        while self._queue and room > 0:
            waiting = self._queue[0]
            if waiting.future.done():
                self._queue.popleft()
                continue
            left = len(waiting.items) - waiting.at
            if portions and left > room and left <= self.max_rows:
                break  # it goes whole into the next batch
            if waiting.at == 0:
                self._tell("waited", self.name, now - waiting.arrived)
            portion = _Portion(waiting, waiting.at, waiting.at + min(left, room))
            portions.append(portion)
            room -= portion.last - portion.first
            waiting.at = portion.last
            self._queue.popleft()
            if waiting.at < len(waiting.items):
                self._queue.append(waiting)
                break
        return portions

    async def _run(self, items: list[Any]) -> tuple[list[Any], int]:
        def timed() -> tuple[list[Any], int]:
            started = self._clock()
            results = self._compute(items)
            return results, max(1, self._clock() - started)

        results, elapsed = await asyncio.get_running_loop().run_in_executor(self._device.executor, timed)
        self.used_ns += elapsed
        return results, elapsed

    async def _one_by_one(self, portions: list[_Portion], error: Exception) -> None:
        """A batch failed: whoever brought the bad row gets the error, the others their answers."""
        if len(portions) == 1:
            self._fail(portions[0].waiting, error)
            return
        for portion in portions:
            if portion.waiting.future.done():
                continue
            try:
                results, elapsed = await self._run(list(portion.items))
            except Exception as own_error:
                self._fail(portion.waiting, own_error)
            else:
                self._hand_out([portion], results, elapsed)

    def _fail(self, waiting: _Waiting, error: Exception) -> None:
        if not waiting.future.done():
            waiting.future.set_exception(error)

    def _hand_out(self, portions: list[_Portion], results: list[Any], elapsed: int) -> None:
        self._tell("batch", self.name, len(results), len(portions), elapsed)
        shares = largest_remainder(elapsed, [portion.weight for portion in portions])
        at = 0
        for portion, share in zip(portions, shares, strict=True):
            size, waiting = portion.last - portion.first, portion.waiting
            waiting.results += results[at : at + size]
            waiting.elapsed += share
            at += size
            if len(waiting.results) == len(waiting.items) and not waiting.future.done():
                waiting.future.set_result((waiting.results, waiting.elapsed))

    def _tell(self, what: str, *facts: Any) -> None:
        if self._device.listener is not None:
            getattr(self._device.listener, what)(*facts)


class MicroBatcher(Lane):
    """A lane with a device of its own."""

    def __init__(
        self, compute: Callable[[list[Any]], list[Any]], *, executor: Executor, clock: Callable[[], int]
    ) -> None:
        super().__init__("alone", compute, device=Device(executor), clock=clock)
