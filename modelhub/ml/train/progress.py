"""A progress bar for the terminal, and plain lines where there is none."""

from __future__ import annotations

import sys
import time
from typing import Any


class Bar:
    """Shows `{"epoch", "epochs", …}` as a bar with the time left; anything else as a line."""

    def __init__(self, title: str) -> None:
        self.title, self._started, self._first = title, time.monotonic(), 0

    def __call__(self, report: dict[str, Any]) -> None:
        epoch, epochs = int(report.get("epoch", 0)), int(report.get("epochs", 0))
        if epoch <= 1 or not self._first:
            self._started, self._first = time.monotonic(), epoch
        rest = {name: value for name, value in report.items() if name not in ("epoch", "epochs")}
        facts = "  ".join(f"{name} {value}" for name, value in rest.items())
        left = self._left(epoch, epochs)
        line = f"{self.title} [{'#' * (epoch * 20 // max(epochs, 1)):<20}] {epoch}/{epochs} {left} {facts}"
        end = "\r" if sys.stderr.isatty() and epoch < epochs else "\n"
        print(line, end=end, file=sys.stderr, flush=True)

    def _left(self, epoch: int, epochs: int) -> str:
        done = epoch - self._first
        if done <= 0:
            return "     "
        return f"{(time.monotonic() - self._started) / done * (epochs - epoch) / 60:4.1f}m"
