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
        self._table = np.zeros((most, taps.shape[1]), np.float32)  # its pages come as they are written
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._known)

    def _place(self, key: str) -> int:
        """Where in the table a key's row is. Kept, it is all that a token costs."""
        place = self._known.get(key)
        if place is None:
            place = len(self._known)
            self._table[place] = self._vector(key) @ self._taps
            self._known[key] = place
        return place

    def of(self, keys: Keys, texts: Sequence[slice], total: int) -> np.ndarray:
        """(total, C), nowhere below zero: the windows of each text's keys, at most `most` in all, in the text's rows. Between
        texts there is at least one row, whose values mean nothing."""
        width = len(self._bias)
        parts = np.zeros((total, 3 * width), np.float32)
        with self._lock:  # a table that begins anew must not move under another thread's row numbers
            if len(self._known) + sum(map(len, keys)) > self.most:
                self._known.clear()
            known = self._known
            for told, where in zip(keys, texts, strict=True):
                places = [
                    place if (place := known.get(key)) is not None else self._place(key) for key in told
                ]
                self._table.take(places, axis=0, out=parts[where], mode="clip")
        here = parts[:, width : 2 * width]
        here += self._bias
        here[1:] += parts[:-1, :width]
        here[:-1] += parts[1:, 2 * width :]
        return np.maximum(here, 0)


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
        x[where].max(axis=0, out=told[:width])
        x[where].sum(axis=0, out=told[width:])
        told[width:] /= where.stop - where.start
    return found
