"""Counting at the model server: sampled requests, one sum a minute and key, handed out window by window."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

WINDOW_S = 60
KEPT_WINDOWS = 720  # twelve hours that nobody fetched; older ones are dropped and counted
MAX_KEYS = 2_000  # keys of one window; what comes after them is counted under no label


@dataclass(slots=True)
class _Sum:
    counts: np.ndarray
    requests: int = 0
    tokens: int = 0


@dataclass(slots=True)
class _Window:
    number: int
    started: float
    sums: dict[tuple[str, str, str], _Sum] = field(default_factory=dict)


class ActivationRecorder:
    """Sums of expert counts by (model, head, label) and minute. Safe to share by threads.

    `record` takes counts (L, E): how many tokens of a request each expert of each layer saw. `after(n)` gives the
    closed windows with a number over n, so that a reader who remembers the last number it stored counts nothing
    twice and loses nothing; `boot` tells it that the server began anew.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self.boot = secrets.token_hex(8)
        self.dropped_windows = 0
        self._clock = clock
        self._lock = threading.Lock()
        self._closed: list[_Window] = []
        self._open = _Window(self._number(), self._clock())

    def record(self, model: str, head: str, label: str, counts: np.ndarray, tokens: int) -> None:
        """Add one request. Raises ValueError for counts that are no (L, E) table of non-negative whole numbers."""
        table = np.asarray(counts)
        if table.ndim != 2 or not np.isfinite(table).all() or (table < 0).any():
            raise ValueError(
                f"counts must be a (layers, experts) table of counts >= 0, got shape {table.shape}"
            )
        with self._lock:
            self._turn()
            sums = self._open.sums
            key = (model, head, label)
            if key not in sums and len(sums) >= MAX_KEYS:
                key = (model, head, "")
            held = sums.get(key)
            if held is None or held.counts.shape != table.shape:
                held = sums[key] = _Sum(np.zeros(table.shape, np.int64))
            held.counts += table.astype(np.int64)
            held.requests += 1
            held.tokens += int(tokens)

    def after(self, number: int, boot: str = "") -> dict[str, Any]:
        """Closed windows with a number over `number`, oldest first; those up to it are let go.

        A reader names the run its number is of: the number of another run says nothing here.
        """
        with self._lock:
            self._turn()
            if boot and boot != self.boot:
                number = 0
            self._closed = [window for window in self._closed if window.number > number]
            windows = [_as_dict(window) for window in self._closed]
        return {"boot": self.boot, "dropped_windows": self.dropped_windows, "windows": windows}

    def _number(self) -> int:
        return int(self._clock() // WINDOW_S)

    def _turn(self) -> None:
        """Close the open window when its minute is over; a clock set back leaves it open."""
        number = self._number()
        if number <= self._open.number:
            return
        if self._open.sums:
            self._closed.append(self._open)
        if len(self._closed) > KEPT_WINDOWS:
            self.dropped_windows += len(self._closed) - KEPT_WINDOWS
            del self._closed[:-KEPT_WINDOWS]
        self._open = _Window(number, self._clock())


def _as_dict(window: _Window) -> dict[str, Any]:
    sums = [
        {
            "model": model,
            "head": head,
            "label": label,
            "requests": held.requests,
            "tokens": held.tokens,
            "counts": held.counts.tolist(),
        }
        for (model, head, label), held in window.sums.items()
    ]
    return {"number": window.number, "started": window.started, "sums": sums}
