"""Counters of this process for /metrics; labels are names of lines of business, sides and codes, never of people.

A request only adds to plain dictionaries of this one thread; the client library's locks and label look-ups (6 µs a request)
are paid when somebody reads /metrics.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter as Tally
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import HistogramMetricFamily

from routing.run import Run

REGISTRY = CollectorRegistry()
REQUESTS = Counter(
    "switchyard_requests", "Requests by outcome.", ["lob", "endpoint", "side", "code"], registry=REGISTRY
)
COST = Counter("switchyard_cost_nusd", "Metered cost in nano-dollars.", ["lob", "side"], registry=REGISTRY)
BUCKETS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)


class _Overhead:
    """A histogram that is put together when it is read."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS_S) + 1)
        self.sum_s = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(BUCKETS_S, seconds)] += 1
        self.sum_s += seconds

    def collect(self) -> Iterator[HistogramMetricFamily]:
        so_far, rows = 0, []
        for bound, count in zip((*map(str, BUCKETS_S), "+Inf"), self.counts, strict=True):
            so_far += count
            rows.append((bound, so_far))
        yield HistogramMetricFamily(
            "switchyard_overhead_seconds", "Our own share of a request's time.", rows, self.sum_s
        )


OVERHEAD = _Overhead()
REGISTRY.register(OVERHEAD)  # type: ignore[arg-type]
GUARD = Counter(
    "switchyard_guard_verdicts", "What guards said.", ["lob", "verdict", "mode"], registry=REGISTRY
)
SNAPSHOT = Gauge("switchyard_snapshot_version", "Version of the configuration in force.", registry=REGISTRY)
STALE = Gauge(
    "switchyard_snapshot_stale_seconds", "Seconds since the configuration was checked.", registry=REGISTRY
)
SPOOLED = Gauge("switchyard_spool_events", "Events that wait for the stream.", registry=REGISTRY)
CHANCES = Gauge("switchyard_chances_asked", "Requests whose chances a policy asked for.", registry=REGISTRY)
CHANCES_FAILED = Gauge(
    "switchyard_chances_failed", "Of those, where evaluated quality spoke instead.", registry=REGISTRY
)
CHANCES_TOOK = Gauge(
    "switchyard_chances_seconds", "What working chances out took, in sum.", registry=REGISTRY
)
CACHE = Counter(
    "switchyard_cache_lookups",
    "Looks into what was kept, by what they found.",
    ["lob", "found"],
    registry=REGISTRY,
)
CACHE_TOOK = Counter(
    "switchyard_cache_lookup_seconds", "What looking took, in sum: found or not.", ["lob"], registry=REGISTRY
)
CACHE_SAVED = Counter(
    "switchyard_cache_saved_nusd",
    "What kept answers would have cost, in nano-dollars.",
    ["lob"],
    registry=REGISTRY,
)
STREAMS = Gauge("switchyard_requests_in_flight", "Requests being answered.", registry=REGISTRY)
# Pages, admin and REST as they leave this front, whichever process answers them.
PAGES = Counter(
    "switchyard_pages", "Answers that are not of /v1, by class of status.", ["status"], registry=REGISTRY
)
PAGES_WAIT = Histogram(
    "switchyard_pages_seconds", "Until such an answer began.", registry=REGISTRY,
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)  # fmt: skip
PAGES_UP = Gauge("switchyard_pages_up", "1 while the pages can be reached.", registry=REGISTRY)


class Flight:
    """Requests being answered: a number of this thread."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


IN_FLIGHT = Flight()
STREAMS.set_function(lambda: IN_FLIGHT.count)
_requests: Tally[tuple[str, str, str, str]] = Tally()
_costs: Tally[tuple[str, str]] = Tally()
_looks: Tally[tuple[str, str]] = Tally()
_looked_s: dict[str, float] = {}
_saved: Tally[str] = Tally()


def observe(run: Run) -> None:
    lob = run.request.key.lob
    side = run.answered_by.side if run.answered_by else ""
    _requests[lob, run.request.endpoint, side, run.error_code or "ok"] += 1
    if cost := run.cost_nusd:
        _costs[lob, side] += cost
    OVERHEAD.observe(run.overhead_ms / 1000)
    if run.cache_s:
        _looks[lob, run.cache] += 1
        _looked_s[lob] = _looked_s.get(lob, 0.0) + run.cache_s
        if run.hit is not None:
            _saved[lob] += sum(attempt.saved.get("cache", 0) for attempt in run.attempts)
    if run.watched and run.guard is not None and run.guard.report.verdict != "pass":
        GUARD.labels(lob, run.guard.report.verdict, run.guard.report.mode).inc()


def turned_away(lob: str, endpoint: str) -> None:
    """One that was refused before it was read: it leaves no record but this."""
    _requests[lob, endpoint, "", "rate_limit_exceeded"] += 1


def _flush() -> None:
    for labels, count in _requests.items():
        REQUESTS.labels(*labels).inc(count)
    for pair, nusd in _costs.items():
        COST.labels(*pair).inc(nusd)
    for pair, count in _looks.items():
        CACHE.labels(*pair).inc(count)
    for lob, seconds in _looked_s.items():
        CACHE_TOOK.labels(lob).inc(seconds)
    for lob, nusd in _saved.items():
        CACHE_SAVED.labels(lob).inc(nusd)
    for tally in (_requests, _costs, _looks, _looked_s, _saved):
        tally.clear()


def observe_pages(status: int, seconds: float) -> None:
    PAGES.labels(f"{status // 100}xx").inc()
    PAGES_WAIT.observe(seconds)


def render() -> bytes:
    _flush()
    return generate_latest(REGISTRY)
