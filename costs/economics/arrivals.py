"""Real arrivals, one by one: what an hour of a public trace costs at home, outside, and at home with the overflow outside.

The week of the replay (streams.py) knows rates by ten minutes; here every request has its own moment and its own size, so
that bursts, long prompts and waiting are those that came.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from heapq import heapreplace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from costs.planning.queueing import waits_s

Floats = NDArray[np.float64]
HOUR_S = 3600.0


@dataclass(frozen=True)
class Requests:
    """Chat requests in order of arrival: seconds since the first; tokens in, of them seen before; tokens out."""

    arrivals_s: Floats
    tokens_in: Floats
    cached: Floats
    tokens_out: Floats

    @property
    def span_s(self) -> float:
        return float(self.arrivals_s[-1] - self.arrivals_s[0])

    def first(self, share: float) -> Requests:
        """Those of the first part of the span."""
        until = self.arrivals_s[0] + share * self.span_s
        n = int(np.searchsorted(self.arrivals_s, until, side="right"))
        return Requests(self.arrivals_s[:n], self.tokens_in[:n], self.cached[:n], self.tokens_out[:n])

    def services_s(self, numbers: Mapping[str, float]) -> Floats:
        """Accelerator seconds each takes: what is new of its input, and what it writes."""
        prefill, decode = numbers["prefill_tokens_per_s"], numbers["decode_tokens_per_s"]
        return (self.tokens_in - self.cached) / prefill + self.tokens_out / decode

    def usd(self, size: str, numbers: Mapping[str, float]) -> Floats:
        """What each costs at the `small` or the `large` vendor's price."""
        fresh = self.tokens_in - self.cached
        million = (
            fresh * numbers[f"{size}_usd_per_mtok_in"]
            + self.cached * numbers[f"{size}_usd_per_mtok_cached"]
            + self.tokens_out * numbers[f"{size}_usd_per_mtok_out"]
        )
        return million / 1e6


def read_requests(path: Path) -> dict[str, Requests]:
    """Trace → its requests. Columns: trace, arrival_s, tokens_in, cached_tokens, tokens_out."""
    found: dict[str, list[tuple[float, ...]]] = {}
    with gzip.open(path, "rt", encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            numbers = (float(row[n]) for n in ("arrival_s", "tokens_in", "cached_tokens", "tokens_out"))
            found.setdefault(row["trace"], []).append(tuple(numbers))
    return {name: Requests(*np.array(rows).T) for name, rows in found.items()}


@dataclass(frozen=True, slots=True)
class Overflow:
    """Machines that take whoever need not wait too long; the others go out. Dollars for the whole span."""

    machines: int
    usd: float
    out: int
    longest_wait_s: float


def overflow(
    requests: Requests, machines: int, numbers: Mapping[str, float], *, patience_s: float
) -> Overflow:
    """Replay every request before so many machines: who would wait longer than `patience_s` goes to the small vendor."""
    services, prices = requests.services_s(numbers).tolist(), requests.usd("small", numbers).tolist()
    free = [float(requests.arrivals_s[0])] * machines
    usd, out, longest = machines * numbers["gpu_usd_per_hour"] * requests.span_s / HOUR_S, 0, 0.0
    for at, service, price in zip(requests.arrivals_s.tolist(), services, prices, strict=True):
        wait = max(0.0, free[0] - at) if machines else float("inf")
        if wait > patience_s:
            usd, out = usd + price, out + 1
            continue
        longest = max(longest, wait)
        heapreplace(free, at + wait + service)
    return Overflow(machines, usd, out, longest)


def cheapest(requests: Requests, numbers: Mapping[str, float], *, patience_s: float) -> Overflow:
    """The number of machines that costs least on these arrivals, none included. It is never more than would hold all."""
    most = machines_for(requests, numbers, wait_s=patience_s, share=1.0)
    found = [overflow(requests, n, numbers, patience_s=patience_s) for n in range(most + 1)]
    return min(found, key=lambda one: (one.usd, one.machines))


def machines_for(requests: Requests, numbers: Mapping[str, float], *, wait_s: float, share: float) -> int:
    """The fewest machines before which that share of the requests waits at most so long, by an exact queue. How long an
    answer then takes to write is the same on any number of machines."""
    services = requests.services_s(numbers)
    servers = max(1, int(services.sum() / max(requests.span_s, 1.0)))
    while float(np.mean(waits_s(requests.arrivals_s, services, servers) <= wait_s)) < share:
        servers += 1  # ends: as many machines as requests keep nobody waiting
    return servers
