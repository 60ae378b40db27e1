"""How fast a lane computes and how often it is asked: what the choice to wait for company rests on."""

from __future__ import annotations

import time
from collections import deque

WINDOW_S = 0.1
FORGET = 0.95  # weight of the past at each batch: about twenty batches are remembered


class Pace:
    """A batch of n rows takes about `fixed + n · per_row`; callers come at `rate` a second.

    Least squares with forgetting, over (rows, seconds) of the batches that were run.
    """

    def __init__(self) -> None:
        self._arrivals: deque[float] = deque(maxlen=256)
        self._one = self._n = self._nn = self._t = self._nt = 0.0

    def arrived(self, at: float) -> None:
        """A caller came, on the monotonic clock."""
        self._arrivals.append(at)

    def computed(self, rows: int, elapsed_ns: int) -> None:
        """A batch ran."""
        seconds = elapsed_ns / 1e9
        for name, value in (
            ("_one", 1.0),
            ("_n", rows),
            ("_nn", rows * rows),
            ("_t", seconds),
            ("_nt", rows * seconds),
        ):
            setattr(self, name, FORGET * getattr(self, name) + value)

    def rate(self) -> float:
        """Callers a second over the last tenth of one."""
        since = time.monotonic() - WINDOW_S
        while self._arrivals and self._arrivals[0] < since:
            self._arrivals.popleft()
        return len(self._arrivals) / WINDOW_S

    def costs(self) -> tuple[float, float]:
        """(fixed, per row) in seconds; all of it per row until batches of different sizes were seen."""
        if self._one == 0:
            return 0.0, 0.0
        spread = self._one * self._nn - self._n * self._n
        if spread <= 1e-6 * self._one * self._nn:
            return 0.0, self._t / self._n
        per_row = max(0.0, (self._one * self._nt - self._n * self._t) / spread)
        return max(0.0, (self._t - per_row * self._n) / self._one), per_row

    def seconds_for(self, rows: int) -> float:
        """How long so many rows will take in full batches, about; for `Retry-After`."""
        return rows * (self._t / self._n) if self._n else 1.0

    def worth_waiting(self, callers: int) -> bool:
        """Whether another moment of waiting saves more than it costs.

        Waiting a moment delays each of the callers by it and the device as well; with chance `rate × moment` it brings
        one more caller, who then needs no batch of its own: the fixed cost saved.
        """
        fixed, _ = self.costs()
        return callers > 0 and self.rate() * fixed > callers + 1
