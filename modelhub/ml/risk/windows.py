"""A first layer as look-ups: what a token adds to the place before, at and after it is kept in a table, and a window is a sum."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import numpy as np

Keys = Sequence[Sequence[str]]


class Windows:
    """Three-token windows by their middle. `taps` (D, 3C): to the place after, its own, the place before; `bias` (C,);
    `vector`: (D,) of a key. `most`: keys of the table, which begins anew when it is full. Safe to share by threads."""

    def __init__(
        self, taps: np.ndarray, bias: np.ndarray, vector: Callable[[str], np.ndarray], most: int
    ) -> None:
        self._taps, self._bias, self._vector, self.most = taps, bias, vector, most
        self._known: dict[str, int] = {}
        # To the place after, its own, the place before. The first row is what stands where no token is; the others' pages come as
        # they are written.
        self._tables = np.zeros((3, 1 + most, len(bias)), np.float32)
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._known)

    def _place(self, key: str) -> int:
        """Where in the tables a key's rows are. Kept, they are all that a token costs."""
        place = self._known.get(key)
        if place is None:
            place = len(self._known) + 1
            self._tables[:, place] = (self._vector(key) @ self._taps).reshape(3, -1)
            self._tables[1, place] += self._bias
            self._known[key] = place
        return place

    def of(self, keys: Keys, apart: int, total: int) -> np.ndarray:
        """(total, C), nowhere below zero: the windows of each text's keys, at most `most` in all, in the rows that `laid_out`
        says. Values between the texts, where at least one row is, and after the last mean nothing."""
        places: list[int] = []
        gap = [0] * apart
        with self._lock:  # a table that begins anew must not move under another thread's row numbers
            known = self._known
            if len(known) + sum(map(len, keys)) > self.most:
                known.clear()
            for told in keys:
                try:
                    places += [known[key] for key in told]
                except KeyError:
                    places += [self._place(key) for key in told]
                places += gap
            del places[total:]
            places += [0] * (total - len(places))
            rows = np.array(places, np.intp)
            after, here, before = self._tables
            found = here.take(rows, axis=0, mode="clip")
            found[1:] += after.take(rows[:-1], axis=0, mode="clip")
            found[:-1] += before.take(rows[1:], axis=0, mode="clip")
        return np.maximum(found, 0, out=found)


def laid_out(keys: Keys, apart: int) -> list[slice]:
    """Rows of each text's keys, `apart` rows between two texts."""
    texts, at = [], 0
    for told in keys:
        texts.append(slice(at, at + len(told)))
        at += len(told) + apart
    return texts


def side_by_side(weight: np.ndarray) -> np.ndarray:
    """(3, I, C) -> (I, 3C): what a place adds to the place after it, to itself, and to the place before."""
    return np.ascontiguousarray(weight.transpose(1, 0, 2).reshape(weight.shape[1], -1))


def pooled(x: np.ndarray, texts: Sequence[slice]) -> np.ndarray:
    """Each text's peaks and means. Shapes: x (rows, C) -> (N, 2C)."""
    width = x.shape[1]
    found = np.empty((len(texts), 2 * width), np.float32)
    for told, where in zip(found, texts, strict=True):  # half of what `reduceat` takes for two sentences
        rows = x[where]
        np.maximum.reduce(rows, axis=0, out=told[:width])
        np.add.reduce(rows, axis=0, out=told[width:])
        told[width:] /= where.stop - where.start
    return found
