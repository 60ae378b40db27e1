"""An exact first-come-first-served queue before c equal servers: real arrivals, measured service times, no averages.

G/G/c: whatever arrivals and service times were measured are replayed, job by job. One server is Lindley's recursion
(Lindley 1952) in its closed form, more are the Kiefer–Wolfowitz workload (1955) kept as a heap of the moments at which
each server is free again. A load factor f replays the same arrivals f times as fast, so bursts keep their shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heapreplace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
MOST_SERVERS = 1000
PERCENTILES = (50, 95, 99)


@dataclass(frozen=True)
class Trace:
    """Jobs in order of arrival: seconds since the first, and how long each keeps a server busy.

    ValueError for fewer than two jobs, arrivals out of order or all at one instant, and service times that aren't positive.
    """

    arrivals_s: Floats
    services_s: Floats

    def __post_init__(self) -> None:
        if len(self.arrivals_s) != len(self.services_s) or len(self.arrivals_s) < 2:
            raise ValueError("A queue needs at least two jobs, each with an arrival and a service time.")
        if np.any(np.diff(self.arrivals_s) < 0) or self.arrivals_s[-1] <= self.arrivals_s[0]:
            raise ValueError("Arrivals must be in order and must not all fall on one instant.")
        if not np.all(np.isfinite(self.services_s)) or np.any(self.services_s <= 0):
            raise ValueError("Service times must be positive numbers of seconds.")

    @property
    def load(self) -> float:
        """Servers' worth of work offered at factor 1: arrival rate × mean service time."""
        rate = (len(self.arrivals_s) - 1) / (self.arrivals_s[-1] - self.arrivals_s[0])
        return float(rate * self.services_s.mean())

    def on(self, share: float, overhead_s: float = 0.0) -> Trace:
        """The same arrivals where a job takes `share` of its time, and a fixed part on top."""
        return Trace(self.arrivals_s, self.services_s * share + overhead_s)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What waiting was like. Milliseconds; `wait` and `response` by percentile; `over_target` is the share beyond it.

    With `stable` false more work comes than can be done: the figures are those of this replay, and would grow with it.
    """

    servers: int
    factor: float
    utilisation: float
    stable: bool
    wait_ms: dict[int, float]
    response_ms: dict[int, float]
    over_target: float
    longest_wait_ms: float

    def meets(self, percentile: float) -> bool:
        """Whether that many per cent of the answers come within the target, and would go on doing so."""
        return self.stable and self.over_target <= 1 - percentile / 100 + 1e-12


def waits_s(arrivals_s: Floats, services_s: Floats, servers: int) -> Floats:
    """Seconds each job waits for the first of `servers` that is free, in order of arrival."""
    if servers < 1:
        raise ValueError(f"{servers} servers can't serve anybody: at least one is needed.")
    if servers == 1:
        return _lindley(arrivals_s, services_s)
    free = [float(arrivals_s[0])] * servers
    waits = np.empty(len(arrivals_s))
    for i, (at, service) in enumerate(zip(arrivals_s.tolist(), services_s.tolist(), strict=True)):
        begins = free[0] if free[0] > at else at
        waits[i] = begins - at
        heapreplace(free, begins + service)
    return waits


def _lindley(arrivals_s: Floats, services_s: Floats) -> Floats:
    """W(n+1) = max(0, W(n) + S(n) − A(n)): the walk of S − A, less its lowest point so far."""
    walk = np.concatenate(([0.0], np.cumsum(services_s[:-1] - np.diff(arrivals_s))))
    return walk - np.minimum.accumulate(walk)


def replay(trace: Trace, servers: int, *, factor: float, target_ms: float) -> Outcome:
    """The trace at `factor` times its speed before `servers` servers."""
    waits = waits_s(trace.arrivals_s / factor, trace.services_s, servers) * 1000
    responses = waits + trace.services_s * 1000
    load = trace.load * factor
    return Outcome(
        servers=servers,
        factor=factor,
        utilisation=load / servers,
        stable=load < servers,
        wait_ms=_percentiles(waits),
        response_ms=_percentiles(responses),
        over_target=float(np.mean(responses > target_ms)),
        longest_wait_ms=float(waits.max()),
    )


def _percentiles(values: Floats) -> dict[int, float]:
    return dict(zip(PERCENTILES, np.percentile(values, PERCENTILES).tolist(), strict=True))


class Planner:
    """Replays one trace for many numbers of servers, each once. Where nobody waits, more servers change nothing."""

    def __init__(self, trace: Trace, *, target_ms: float, percentile: float) -> None:
        self.trace, self.target_ms, self.percentile = trace, target_ms, percentile
        self._known: dict[tuple[float, int], Outcome] = {}

    def at(self, factor: float, servers: int) -> Outcome:
        known = self._known.get((factor, servers))
        if known is None:
            known = self._without_waiting(factor, servers)
            known = known or replay(self.trace, servers, factor=factor, target_ms=self.target_ms)
            self._known[factor, servers] = known
        return known

    def _without_waiting(self, factor: float, servers: int) -> Outcome | None:
        for (of, fewer), known in self._known.items():
            if of == factor and fewer < servers and known.longest_wait_ms == 0:
                load = known.utilisation * fewer
                return Outcome(
                    servers, factor, load / servers, load < servers, known.wait_ms, known.response_ms,
                    known.over_target, 0.0,
                )  # fmt: skip
        return None

    def smallest(self, factor: float) -> int | None:
        """The fewest servers that meet the target; None when none do: the work itself takes too long, or over 1,000."""
        alone = float(np.mean(self.trace.services_s * 1000 > self.target_ms))
        if alone > 1 - self.percentile / 100 + 1e-12:
            return None
        low = max(1, int(self.trace.load * factor) + 1)  # one fewer could never keep up
        if low > MOST_SERVERS:
            return None
        step, high = 1, low
        while not self.at(factor, high).meets(self.percentile):
            if high == MOST_SERVERS:
                return None
            low, high, step = high + 1, min(high + step, MOST_SERVERS), step * 2
        while low < high:  # waiting only shrinks with servers, so halving finds the first that meets it
            middle = (low + high) // 2
            if self.at(factor, middle).meets(self.percentile):
                high = middle
            else:
                low = middle + 1
        return high

    def table(self, factors: Sequence[float], also: Sequence[int] = ()) -> list[Outcome]:
        """For every factor: one server, those named, and each factor's smallest number with its neighbours."""
        shown = {1, *(n for n in also if 1 <= n <= MOST_SERVERS)}
        for factor in factors:
            needed = self.smallest(factor)
            if needed is not None:
                shown |= {max(1, needed - 1), needed, min(needed + 1, MOST_SERVERS)}
        return [self.at(factor, servers) for factor in factors for servers in sorted(shown)]
