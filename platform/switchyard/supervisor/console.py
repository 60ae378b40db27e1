"""What the operator sees: progress lines, and the errors of each process with its name in front."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path
from typing import TextIO

_ERROR = re.compile(r"\b(ERROR|CRITICAL)\b|^Traceback |^\w*Error\b|CommandError")
_MAX_LINES, _WINDOW_S = 12, 10.0
MAX_LOG_BYTES = 20 * 1024 * 1024


def say(text: str = "", *, stream: TextIO | None = None) -> None:
    print(text, file=stream or sys.stdout, flush=True)


class LogTail:
    """Reads what a process appends to its log and picks the lines an operator should see."""

    def __init__(self, name: str, path: Path) -> None:
        self.name, self.path = name, path
        if path.exists() and path.stat().st_size > MAX_LOG_BYTES:
            path.replace(path.with_suffix(".log.1"))
        self._offset = path.stat().st_size if path.exists() else 0
        self._rest = b""
        self._shown: list[float] = []
        self.recent: list[str] = []  # of this start

    def read(self) -> list[str]:
        """New whole lines."""
        try:
            with self.path.open("rb") as stream:
                stream.seek(self._offset)
                fresh = stream.read(1024 * 1024)
        except FileNotFoundError:
            return []
        self._offset += len(fresh)
        *lines, self._rest = (self._rest + fresh).split(b"\n")
        decoded = [line.decode("utf-8", "replace") for line in lines]
        self.recent = (self.recent + decoded)[-200:]
        return decoded

    def errors(self) -> list[str]:
        """The new lines that tell of an error, at most a dozen in ten seconds."""
        found = []
        now = time.monotonic()
        for line in self.read():
            if not _ERROR.search(line):
                continue
            self._shown = [at for at in self._shown if now - at < _WINDOW_S]
            if len(self._shown) < _MAX_LINES:
                self._shown.append(now)
                found.append(f"[{self.name}] {line[:300]}")
        return found

    def last(self, count: int) -> list[str]:
        self.read()
        return [line for line in self.recent if line.strip()][-count:]
