"""Reads that many parts of one page share, made once while somebody is looking and forgotten with the page; and dear ones that
stay while what they follow from says the same."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import Any, ClassVar, Generic, TypeVar
from weakref import WeakSet

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


class Kept(Generic[T]):
    """At most `most` results by a key that says all they follow from, the longest unused one forgotten first. Of this process."""

    everything: ClassVar[WeakSet[Kept[Any]]] = WeakSet()

    def __init__(self, most: int) -> None:
        self._most = most
        self.everything.add(self)
        self._found: OrderedDict[Hashable, T] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Two who ask at once may both make it: nobody waits for the other."""
        found = self.look(key)
        return self.put(key, make()) if found is None else found

    def look(self, key: Hashable) -> T | None:
        with self._lock:
            if key in self._found:
                self._found.move_to_end(key)
            return self._found.get(key)

    def put(self, key: Hashable, made: T) -> T:
        with self._lock:
            self._found[key] = made
            while len(self._found) > self._most:
                self._found.popitem(last=False)
        return made

    def forget(self) -> None:
        with self._lock:
            self._found.clear()
