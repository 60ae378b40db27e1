"""The one clock: tests freeze it with `time_machine`, so nothing here caches."""

import time
from datetime import UTC, datetime


def now() -> datetime:
    return datetime.now(UTC)


def now_ns() -> int:
    """Nanoseconds since the epoch."""
    return time.time_ns()


def from_ns(ns: int) -> datetime:
    return datetime.fromtimestamp(ns / 1e9, UTC)
