"""How long a job computed: what its line of business pays for."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Meter:
    """Nanoseconds of compute, readable from another thread while it runs.

    On the CPU a stretch of work counts the lesser of wall and processor time: waiting is free, and two threads of one
    machine never cost more than the machine. On a device of its own the wall counts, for nobody else has the device.
    """

    def __init__(self) -> None:
        self._done_ns = 0
        self._since: tuple[int, int, bool] | None = None  # wall, processor, on the CPU

    def read(self) -> int:
        """Everything until now."""
        since = self._since
        return self._done_ns + (self._stretch(*since) if since else 0)

    def add(self, measured_ns: int) -> None:
        """Compute that something else measured, such as the model server that answered."""
        self._done_ns += max(0, measured_ns)

    @contextmanager
    def running(self, *, on_cpu: bool = True) -> Iterator[None]:
        """Count what happens inside. Stretches don't nest."""
        self._since = (time.perf_counter_ns(), time.process_time_ns(), on_cpu)
        try:
            yield
        finally:
            since, self._since = self._since, None
            self._done_ns += self._stretch(*since)

    @staticmethod
    def _stretch(wall: int, processor: int, on_cpu: bool) -> int:
        elapsed = time.perf_counter_ns() - wall
        return min(elapsed, time.process_time_ns() - processor) if on_cpu else elapsed
