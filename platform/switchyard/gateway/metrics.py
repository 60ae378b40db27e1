"""Counters of this process for /metrics; labels are names of lines of business, sides and codes, never of people."""

from __future__ import annotations

from functools import lru_cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from routing.run import Run

REGISTRY = CollectorRegistry()
REQUESTS = Counter(
    "switchyard_requests", "Requests by outcome.", ["lob", "endpoint", "side", "code"], registry=REGISTRY
)
COST = Counter("switchyard_cost_nusd", "Metered cost in nano-dollars.", ["lob", "side"], registry=REGISTRY)
OVERHEAD = Histogram(
    "switchyard_overhead_seconds", "Our own share of a request's time.", registry=REGISTRY,
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1),
)  # fmt: skip
GUARD = Counter(
    "switchyard_guard_verdicts", "What guards said.", ["lob", "verdict", "mode"], registry=REGISTRY
)
SNAPSHOT = Gauge("switchyard_snapshot_version", "Version of the configuration in force.", registry=REGISTRY)
STALE = Gauge(
    "switchyard_snapshot_stale_seconds", "Seconds since the configuration was checked.", registry=REGISTRY
)
SPOOLED = Gauge("switchyard_spool_events", "Events that wait for the stream.", registry=REGISTRY)
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


@lru_cache(maxsize=4096)
def _requests(lob: str, endpoint: str, side: str, code: str) -> Counter:
    return REQUESTS.labels(lob, endpoint, side, code)


@lru_cache(maxsize=1024)
def _cost(lob: str, side: str) -> Counter:
    return COST.labels(lob, side)


def observe(run: Run) -> None:
    lob = run.request.key.lob
    side = run.answered_by.side if run.answered_by else ""
    _requests(lob, run.request.endpoint, side, run.error_code or "ok").inc()
    if run.cost_nusd:
        _cost(lob, side).inc(run.cost_nusd)
    OVERHEAD.observe(run.overhead_ms / 1000)
    if run.guard is not None and run.guard.report.verdict != "pass":
        GUARD.labels(lob, run.guard.report.verdict, run.guard.report.mode).inc()


def observe_pages(status: int, seconds: float) -> None:
    PAGES.labels(f"{status // 100}xx").inc()
    PAGES_WAIT.observe(seconds)


def render() -> bytes:
    return generate_latest(REGISTRY)
