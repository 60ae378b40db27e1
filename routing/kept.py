"""What follows from an object that lives long, worked out once: a snapshot's parts are the same objects until the next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Kept(Generic[T, R]):
    """`of(thing)` gives make(thing), made once while `thing` is known. Found by identity, without hashing; the thing is held,
    so that its identity stays taken. Beyond `most` all are forgotten, which costs only time."""

    __slots__ = ("_known", "_make", "_most")

    def __init__(self, make: Callable[[T], R], most: int = 2048) -> None:
        self._make, self._most = make, most
        self._known: dict[int, tuple[T, R]] = {}

    def of(self, thing: T) -> R:
        known = self._known.get(id(thing))
        if known is not None:
            return known[1]
        if len(self._known) >= self._most:
            self._known.clear()
        made = self._make(thing)
        self._known[id(thing)] = (thing, made)
        return made
