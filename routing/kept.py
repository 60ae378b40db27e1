"""What follows from an object that lives long, worked out once: a snapshot's parts are the same objects until the next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar
from weakref import WeakSet

T = TypeVar("T")
R = TypeVar("R")


_caches: WeakSet[Any] = WeakSet()


def forgets(cache: Any) -> None:
    """Its `forget()` is called when another snapshot is in force: what it holds by identity keeps the old one's parts alive."""
    _caches.add(cache)


def forget_all() -> None:
    for cache in list(_caches):
        cache.forget()


class Kept(Generic[T, R]):
    """`of(thing)` gives make(thing), made once while `thing` is known. Found by identity, without hashing; the thing is held,
    so that its identity stays taken. Beyond `most` all are forgotten, which costs only time."""

    __slots__ = ("__weakref__", "_known", "_make", "_most")

    def __init__(self, make: Callable[[T], R], most: int = 2048) -> None:
        self._make, self._most = make, most
        self._known: dict[int, tuple[T, R]] = {}
        forgets(self)

    def forget(self) -> None:
        self._known.clear()

    def of(self, thing: T) -> R:
        known = self._known.get(id(thing))
        if known is not None:
            return known[1]
        if len(self._known) >= self._most:
            self._known.clear()
        made = self._make(thing)
        self._known[id(thing)] = (thing, made)
        return made
