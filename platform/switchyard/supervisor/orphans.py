"""No process outlives the supervisor: the kernel's parent-death signal, and a watchdog that ends whole groups."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1
WATCHDOG = Path(__file__).with_name("watchdog.py")
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform.startswith("linux") else None


def die_with_parent(number: int = signal.SIGTERM) -> None:
    """Have the kernel send `number` to this process when the thread that forked it ends (Linux; else nothing)."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)


class Watchdog:
    """A tiny process that holds the other end of a pipe; when the pipe closes without a word it ends every group.

    It covers grandchildren too (a worker's pool), and systems that have no parent-death signal.
    `leftovers` are files it removes in that case.
    """

    def __init__(self, *leftovers: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-E", str(WATCHDOG), *map(str, leftovers)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{line}\n".encode())
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError):
            pass  # somebody ended the watchdog: the parent-death signal is still there

    def add(self, group: int) -> None:
        self._say(f"+{group}")

    def remove(self, group: int) -> None:
        self._say(f"-{group}")

    def dismiss(self) -> None:
        """All is stopped: go without ending anything."""
        self._say("bye")
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=5)


def signal_group(group: int, number: int) -> bool:
    """Signal a whole process group; False when nobody is left in it."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True
