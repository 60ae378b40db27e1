"""Reads that many parts of one page share: made once while somebody is looking, and forgotten with the page."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

T = TypeVar("T")
_kept: ContextVar[dict[Hashable, Any] | None] = ContextVar("costs_reading", default=None)


@contextmanager
def one_reading() -> Iterator[None]:
    """Inside, `once` makes each thing a single time, so that all figures of a page are of one moment. What writes and reads
    again must not be inside."""
    token = _kept.set({})
    try:
        yield
    finally:
        _kept.reset(token)


def once(key: Hashable, make: Callable[[], T]) -> T:
    """What `make` gives: kept for this reading; outside of one made each time."""
    kept = _kept.get()
    if kept is None:
        return make()
    if key not in kept:
        kept[key] = make()
    return kept[key]
