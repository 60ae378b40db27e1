"""Micro-batches: what arrives while the device is busy is computed together and its time shared out exactly."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any

from switchyard.core.money import largest_remainder

MAX_ITEMS = 64


@dataclass(slots=True)
class _Waiting:
    items: Sequence[Any]
    weight: int
    future: asyncio.Future[tuple[list[Any], int]] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class MicroBatcher:
    """Coalesces callers of one head.

    `compute(items) -> results` runs in `executor`; `submit` gives (this caller's results, this caller's
    nanoseconds). The batch's measured time is shared by weight (bytes of input) and sums to it exactly.
    Nobody waits for company: a caller who finds the device idle is computed at once.
    """

    def __init__(
        self, compute: Callable[[list[Any]], list[Any]], *, executor: Executor, clock: Callable[[], int]
    ) -> None:
        self._compute = compute
        self._executor = executor
        self._clock = clock
        self._queue: list[_Waiting] = []
        self._runner: asyncio.Task[None] | None = None

    async def submit(self, items: Sequence[Any], weight: int) -> tuple[list[Any], int]:
        waiting = _Waiting(items, max(1, weight))
        self._queue.append(waiting)
        if self._runner is None or self._runner.done():
            self._runner = asyncio.create_task(self._drain())
        return await waiting.future

    async def _drain(self) -> None:
        await asyncio.sleep(0)  # callers of this loop turn go together
        while self._queue:
            batch = self._take()
            items = [item for waiting in batch for item in waiting.items]
            try:
                loop = asyncio.get_running_loop()
                results, elapsed = await loop.run_in_executor(self._executor, self._timed, items)
            except Exception as error:
                await self._one_by_one(batch, error)
                continue
            self._hand_out(batch, results, elapsed)

    def _take(self) -> list[_Waiting]:
        """At least one caller, then as many as fit into MAX_ITEMS."""
        batch: list[_Waiting] = []
        count = 0
        while self._queue and (not batch or count + len(self._queue[0].items) <= MAX_ITEMS):
            waiting = self._queue.pop(0)
            if waiting.future.cancelled():
                continue
            batch.append(waiting)
            count += len(waiting.items)
        return batch

    def _timed(self, items: list[Any]) -> tuple[list[Any], int]:
        started = self._clock()
        results = self._compute(items)
        return results, max(1, self._clock() - started)

    async def _one_by_one(self, batch: list[_Waiting], error: Exception) -> None:
        """A batch failed: whoever brought the bad item gets the error, the others their answers."""
        if len(batch) == 1:
            if not batch[0].future.done():
                batch[0].future.set_exception(error)
            return
        loop = asyncio.get_running_loop()
        for waiting in batch:
            try:
                results, elapsed = await loop.run_in_executor(
                    self._executor, self._timed, list(waiting.items)
                )
            except Exception as own_error:
                if not waiting.future.done():
                    waiting.future.set_exception(own_error)
            else:
                self._hand_out([waiting], results, elapsed)

    @staticmethod
    def _hand_out(batch: list[_Waiting], results: list[Any], elapsed: int) -> None:
        shares = largest_remainder(elapsed, [waiting.weight for waiting in batch])
        at = 0
        for waiting, share in zip(batch, shares, strict=True):
            mine = results[at : at + len(waiting.items)]
            at += len(waiting.items)
            if not waiting.future.done():
                waiting.future.set_result((mine, share))
