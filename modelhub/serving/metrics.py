"""What a model server counts, as Prometheus reads it. One registry a server, so that tests and sides stay apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

PREFIX = "switchyard_serving"
SECONDS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1, 3, 10, 30)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128)
EVENTS = {
    "load": ("loads", "Models, heads and adapters brought into memory"),
    "evict": ("evictions", "Models, heads and adapters let go for want of memory or use"),
    "refuse": ("refusals", "Artifacts that were refused, by reason"),
    "failover": ("failovers", "Times a graph left one session for the next"),
    "form_passed_over": ("forms_passed_over", "Forms of a graph that could not be used"),
    "not_finite": ("not_finite", "Answers withheld because a value was no number"),
    "reload": ("reloads", "Versions that took over from one before them without a restart"),
    "migrate": ("migrations", "Moves to another backend, by how they ended"),
}
LABELS = {
    "failover": ("model", "graph", "left", "to"),
    "refuse": ("model", "reason"),
    "migrate": ("model", "state"),
}


class Metrics:
    """Counters, histograms and gauges of one server; `event(name, model=…)` counts what happened to a model.

    Accelerator seconds are observed once for each answered request, with the very nanoseconds its answer carries, so
    their sum is what a ledger that bills by them holds.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()

        def made(
            kind: Callable[..., Any], name: str, words: str, labels: tuple[str, ...], **more: Any
        ) -> Any:
            return kind(f"{PREFIX}_{name}", words, labels, registry=self.registry, **more)

        self._seconds = made(
            Histogram, "accelerator_seconds", "Measured compute of a request, its share of its batches", ("model",),
            buckets=SECONDS,
        )  # fmt: skip
        self._tokens = made(Counter, "tokens", "Tokens read and written", ("model", "direction"))
        self._requests = made(Counter, "requests", "Requests by how they ended", ("endpoint", "status"))
        self._rows = made(Histogram, "batch_rows", "Rows computed together", ("lane",), buckets=ROWS)
        self._callers = made(Histogram, "batch_callers", "Callers in a batch", ("lane",), buckets=ROWS)
        self._batch = made(
            Histogram, "batch_seconds", "Measured compute of a batch", ("lane",), buckets=SECONDS
        )
        self._queue = made(
            Histogram, "queue_seconds", "From arrival to the first batch", ("lane",), buckets=SECONDS
        )
        self._expired = made(Counter, "expired", "Requests whose deadline passed", ("lane",))
        self._events = {
            event: made(
                Counter, name, words, LABELS.get(event, ("model", "form") if "form" in event else ("model",))
            )
            for event, (name, words) in EVENTS.items()
        }
        self._info = made(
            Gauge, "model_info", "Loaded models: version, and the provider and precision that really run",
            ("model", "version", "provider", "precision", "form"),
        )  # fmt: skip
        self._quantised = made(
            Gauge, "quantised_nodes", "Nodes of a model's graphs that compute in whole numbers", ("model",)
        )
        self._memory = made(Gauge, "model_memory_bytes", "Measured growth at loading and use", ("model",))
        self._limit = made(Gauge, "memory_limit_bytes", "What models may take together", ())
        self._running = made(Gauge, "sequences", "Texts being written, and waiting to be", ("model", "state"))

    # ------------------------------------------------------------------ requests and batches
    def answered(self, model: str, accelerator_ns: int, tokens_in: int, tokens_out: int) -> None:
        self._seconds.labels(model).observe(accelerator_ns / 1e9)
        self._tokens.labels(model, "in").inc(tokens_in)
        self._tokens.labels(model, "out").inc(tokens_out)

    def ended(self, endpoint: str, status: int) -> None:
        self._requests.labels(endpoint, str(status)).inc()

    def batch(self, lane: str, rows: int, callers: int, elapsed_ns: int) -> None:
        self._rows.labels(lane).observe(rows)
        self._callers.labels(lane).observe(callers)
        self._batch.labels(lane).observe(elapsed_ns / 1e9)

    def waited(self, lane: str, seconds: float) -> None:
        self._queue.labels(lane).observe(seconds)

    def expired(self, lane: str) -> None:
        self._expired.labels(lane).inc()

    # ------------------------------------------------------------------ models
    def event(self, event: str, **labels: Any) -> None:
        """Count one of EVENTS."""
        counter = self._events[event]
        counter.labels(*(str(labels.get(name, "")) for name in counter._labelnames)).inc()

    def loaded(self, models: list[dict[str, Any]], limit_bytes: int) -> None:
        """The gauges, from what the pool holds at the moment of asking."""
        for gauge in (self._info, self._quantised, self._memory):
            gauge.clear()
        for model in models:
            if not model["loaded"]:
                continue
            provider = ",".join(model["providers"])
            self._info.labels(model["id"], model["version"], provider, model["precision"], model["form"]).set(
                1
            )
            self._quantised.labels(model["id"]).set(model["quantised_nodes"])
            self._memory.labels(model["id"]).set(model["memory_bytes"])
        self._limit.set(limit_bytes)

    def sequences(self, model: str, running: int, waiting: int) -> None:
        self._running.labels(model, "running").set(running)
        self._running.labels(model, "waiting").set(waiting)

    def text(self) -> bytes:
        """The exposition format, version 0.0.4."""
        return generate_latest(self.registry)
