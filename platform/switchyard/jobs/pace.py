"""When a job will end, from how fast it has got on so far."""

from __future__ import annotations

import time
from collections import deque
from datetime import datetime, timedelta

from switchyard.core.clock import now

RECENT = 8  # points; stages of one job differ in pace, so what happened lately counts as much as the whole
LEAST_S = 1.0  # before that much was measured, nothing is said


class Pace:
    """Told shares of the work as they are reached, says when all of it will be."""

    def __init__(self) -> None:
        self._first: tuple[float, float] | None = None
        self._recent: deque[tuple[float, float]] = deque(maxlen=RECENT)

    def reached(self, share: float, at_s: float | None = None) -> datetime | None:
        """The expected end; None while too little is known. `at_s`: monotonic seconds (now)."""
        at_s = time.monotonic() if at_s is None else at_s
        if self._first is None:
            self._first = (at_s, share)
        if self._recent and share <= self._recent[-1][1]:
            return self._end(self._recent[-1][1], at_s)
        self._recent.append((at_s, share))
        return self._end(share, at_s)

    def _end(self, share: float, at_s: float) -> datetime | None:
        assert self._first is not None
        whole = _rate(self._first, (at_s, share))
        lately = _rate(self._recent[0], (at_s, share))
        if at_s - self._first[0] < LEAST_S or not whole or not lately:
            return None
        left_s = (1 - share) * 2 / (whole + lately)
        return now() + timedelta(seconds=left_s) if left_s < 366 * 86_400 else None


def _rate(start: tuple[float, float], end: tuple[float, float]) -> float:
    """Share of the work a second."""
    return (end[1] - start[1]) / (end[0] - start[0]) if end[0] > start[0] else 0.0
