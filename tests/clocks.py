"""What a call costs, for tests that hold its growth to a bound: nothing else in the process may count."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable


def cpu_seconds(call: Callable[[], object], rounds: int = 1) -> float:
    """The least CPU seconds of the calling thread over `rounds`, without the collector, whose share is the whole suite's heap."""
    best = float("inf")
    collecting = gc.isenabled()
    gc.disable()
    try:
        for _ in range(rounds):
            began = time.thread_time()
            call()
            best = min(best, time.thread_time() - began)
    finally:
        if collecting:
            gc.enable()
    return best
