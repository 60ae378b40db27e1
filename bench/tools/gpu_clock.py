"""Timing on a GPU: events around many calls, inputs in rotation so that none waits in the cache, recordings replayed.

On the CPU the same functions time with the host's clock, which is how this file is tried where there is no GPU.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

REPEATS = 5
TARGET_MS = 2.0  # each repeat runs at least so long, well past a launch
MOST_CALLS = 64  # in one recording
CACHE_TIMES = 3  # the rotated inputs together hold so many times the cache

Call = Callable[[], Any]


def cache_bytes() -> int:
    """The device's last cache; on the CPU a token size."""
    if not torch.cuda.is_available():
        return 1 << 16
    return int(torch.cuda.get_device_properties(0).L2_cache_size)


def rotations(bytes_a_set: float, most: int = 24) -> int:
    """How many sets of inputs to rotate: together `CACHE_TIMES` the cache, at least two."""
    return max(2, min(most, math.ceil(CACHE_TIMES * cache_bytes() / max(1.0, bytes_a_set))))


def synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def elapsed_ms(body: Callable[[], None]) -> float:
    """One run of the body, by the device's clock."""
    if not torch.cuda.is_available():
        began = time.perf_counter()
        body()
        return (time.perf_counter() - began) * 1e3
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    body()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end))


def time_calls(calls: Sequence[Call], *, recorded: bool, repeats: int = REPEATS) -> list[float]:
    """Milliseconds a call, one figure a repeat. `calls`: the same work on different inputs. `recorded`: as a CUDA graph.

    Raises what the call raises; a call that asks the host for something can't be recorded.
    """
    for call in calls[:3]:
        call()
    synchronise()
    once = max(1e-4, min(elapsed_ms(calls[0]), elapsed_ms(calls[-1])))
    length = max(1, min(MOST_CALLS, math.ceil(TARGET_MS / once)))
    turns = [calls[index % len(calls)] for index in range(max(length, min(len(calls), 8)))]

    def plain() -> None:
        for call in turns:
            call()

    body: Callable[[], None] = plain
    if recorded and torch.cuda.is_available():
        body = record(plain)
    body()
    synchronise()
    rounds = max(1, math.ceil(TARGET_MS / max(1e-4, elapsed_ms(body))))

    def many() -> None:
        for _ in range(rounds):
            body()

    return [elapsed_ms(many) / (rounds * len(turns)) for _ in range(repeats)]


def record(body: Callable[[], None]) -> Callable[[], None]:
    """The body as a CUDA graph; gives its replay."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        body()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        body()
    return graph.replay


def latencies_ms(call: Callable[[int], Any], count: int) -> list[float]:
    """Seconds a caller waits for single requests, by the host's clock, in milliseconds. `call` takes the request's number."""
    found = []
    for index in range(count):
        synchronise()
        began = time.perf_counter()
        call(index)
        synchronise()
        found.append((time.perf_counter() - began) * 1e3)
    return found
