"""Texts being written on a device: one batch that answers join and leave, a step of it each time it is its turn."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from modelhub.serving.batching import Device
from modelhub.serving.errors import DeadlinePassed, ServerBusy
from switchyard.core.money import largest_remainder

MAX_SEQUENCES = 32
MAX_WAITING = 256
MOST_STEPS = 16  # of one turn, while nobody else wants the device or joins
TYPICAL_S = 1.0  # what an answer takes, about, until some were written; for Retry-After


@dataclass(slots=True, eq=False)
class Sequence:
    """One answer: what was asked, the pieces as they come, its counts and its share of every step."""

    ids: list[int]
    options: dict[str, Any]
    deadline: float | None
    arrived: float = field(default_factory=time.monotonic)
    row: Any = None
    gone: bool = False
    elapsed_ns: int = 0
    pieces: asyncio.Queue[str | None | Exception] = field(default_factory=asyncio.Queue)

    @property
    def tokens_out(self) -> int:
        return self.row.writer.completion_tokens if self.row is not None else 0

    @property
    def finish_reason(self) -> str:
        return (self.row.writer.finish_reason if self.row is not None else None) or "stop"


@dataclass(frozen=True, slots=True)
class _Said:
    """What one row said in one step, and its share of the step's time."""

    row: Any
    share: int
    texts: list[str]
    done: bool


class Engine:
    """A lane (`modelhub.serving.batching.Turn`) whose turn is a few steps of a continuous batch.

    Raises ServerBusy from `open` when too many answers wait; DeadlinePassed comes through the pieces.
    """

    def __init__(
        self, name: str, model: Any, *, device: Device, clock: Callable[[], int], max_rows: int = MAX_SEQUENCES,
        changed: Callable[[int, int], None] = lambda running, waiting: None,
        counted: Callable[[list[Any], Any], None] | None = None, count_every: int = 0,
    ) -> None:  # fmt: skip
        self.name, self.used_ns = name, 0
        self._device, self._clock, self._changed = device, clock, changed
        self._batch = model.new_batch(max_rows)
        self._waiting: deque[Sequence] = deque()
        self._running: dict[int, Sequence] = {}
        self._counted, self._count_every, self._stepped = counted, count_every, 0
        self._answer_s = TYPICAL_S

    # ------------------------------------------------------------------ callers
    def open(self, ids: list[int], options: dict[str, Any], deadline: float | None) -> Sequence:
        """Queue an answer; read `pieces` until None or an exception, and `close` it on every way out."""
        if len(self._waiting) >= MAX_WAITING:
            seconds = self._answer_s * len(self._waiting) / self._batch.max_rows
            raise ServerBusy(len(self._waiting), MAX_WAITING, seconds)
        sequence = Sequence(ids, options, deadline)
        self._waiting.append(sequence)
        self._device.wake(self)
        return sequence

    def close(self, sequence: Sequence) -> None:
        """The caller has what it wanted, or went away: no more steps for it."""
        sequence.gone = True

    @property
    def busy(self) -> bool:
        return bool(self._waiting or self._running)

    @property
    def cache_bytes(self) -> int:
        return self._batch.cache_bytes

    # ------------------------------------------------------------------ the device's side
    def ready(self) -> bool:
        return self.busy

    def worth_waiting(self) -> bool:
        return False  # who comes during a step joins before the next

    async def turn(self) -> None:
        self._dismiss()
        self._join()
        if not self._running:
            return
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._device.executor, self._steps_of_a_turn, loop)
        except Exception as error:  # the whole batch failed: nobody in it can go on
            self._fail_all(error)

    def _dismiss(self) -> None:
        """Who went away, or whose time is over, leaves before the next step."""
        now = time.monotonic()
        for sequence in [*self._running.values(), *self._waiting]:
            if not sequence.gone and sequence.deadline is not None and now >= sequence.deadline:
                sequence.pieces.put_nowait(DeadlinePassed())
                sequence.gone = True
                self._tell("expired", self.name)
        for key, sequence in list(self._running.items()):
            if sequence.gone:
                self._batch.remove(sequence.row)
                del self._running[key]
        self._waiting = deque(sequence for sequence in self._waiting if not sequence.gone)

    def _join(self) -> None:
        while self._waiting and not self._batch.full:
            sequence = self._waiting.popleft()
            try:
                sequence.row = self._batch.add(sequence.ids, **sequence.options)
            except ValueError as error:
                sequence.pieces.put_nowait(error)
                continue
            self._running[id(sequence.row)] = sequence
            self._tell("waited", self.name, time.monotonic() - sequence.arrived)
        self._changed(len(self._running), len(self._waiting))

    def _steps_of_a_turn(self, loop: asyncio.AbstractEventLoop) -> None:
        """Steps in the computing thread, their pieces handed over as they come, until somebody else wants something.

        The thread doesn't wait for the loop between two steps: on a busy machine that wait is longer than a step.
        """
        for _ in range(MOST_STEPS):
            loop.call_soon_threadsafe(self._hand_out, *self._step())
            pressed = self._waiting or self._device.contended or not len(self._batch)
            if pressed or any(sequence.gone for sequence in list(self._running.values())):
                return

    def _step(self) -> tuple[list[_Said], int]:
        """What each row said in one step, and the step's nanoseconds; the shares sum to them exactly."""
        self._stepped += 1
        sampled = self._counted and self._count_every and self._stepped % self._count_every == 0
        started = self._clock()
        worked = self._batch.step(self._counted if sampled else None)
        elapsed = max(1, self._clock() - started)
        shares = largest_remainder(elapsed, [weight for _, weight in worked])
        said = []
        for (row, _), share in zip(worked, shares, strict=True):
            said.append(_Said(row, share, [text for text, _ in row.pieces], row.done))
            row.pieces.clear()
        return said, elapsed

    def _hand_out(self, said: list[_Said], elapsed: int) -> None:
        """In the loop: pieces and times to their callers."""
        self.used_ns += elapsed
        self._tell("batch", self.name, len(said), len(said), elapsed)
        for one in said:
            sequence = self._running[id(one.row)]
            sequence.elapsed_ns += one.share
            for text in one.texts:
                sequence.pieces.put_nowait(text)
            if one.done:
                del self._running[id(one.row)]
                sequence.pieces.put_nowait(one.row.error)
                self._answer_s += 0.1 * (time.monotonic() - sequence.arrived - self._answer_s)
        if any(one.done for one in said):
            self._changed(len(self._running), len(self._waiting))

    def _fail_all(self, error: Exception) -> None:
        for sequence in self._running.values():
            self._batch.remove(sequence.row)
            sequence.pieces.put_nowait(error)
        self._running.clear()

    def _tell(self, what: str, *facts: Any) -> None:
        if self._device.listener is not None:
            getattr(self._device.listener, what)(*facts)
