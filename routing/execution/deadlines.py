"""One deadline for a request and everything it tries."""

from __future__ import annotations

import time


class Deadline:
    """Seconds from now, on the monotonic clock."""

    __slots__ = ("_at",)

    def __init__(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds left, never under a hundredth: a call that is made gets a moment to fail by itself."""
        return max(0.01, self._at - time.monotonic())

    def within(self, seconds: float) -> float:
        return min(seconds, self.left())

    @property
    def passed(self) -> bool:
        return time.monotonic() >= self._at
