"""One process under supervision: how it is started, watched, restarted and stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from switchyard.supervisor.console import LogTail
from switchyard.supervisor.home import ROOT
from switchyard.supervisor.orphans import Watchdog, die_with_parent, signal_group
from switchyard.supervisor.priority import put_behind

BACKOFF_S = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
STEADY_S = 60.0  # alive this long: the next failure counts as the first


@dataclass(frozen=True)
class Spec:
    """What to run. `phase` is the order of stopping: lower stops first; the same phase stops together."""

    name: str
    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    phase: int = 0
    grace_s: float = 2.0  # how long it may take to stop by itself
    restart: bool = True
    ready_url: str = ""
    ready_line: str = ""  # a line of its log that says it is ready
    nice: int = 0  # how far others go first, once it is ready


class Child:
    """A started Spec. Start it from the main thread: the parent-death signal follows the thread that forked."""

    def __init__(self, spec: Spec, logs: Path, watchdog: Watchdog) -> None:
        self.spec, self.watchdog = spec, watchdog
        self.log = LogTail(spec.name, logs / f"{spec.name}.log")
        self.process: subprocess.Popen[bytes] | None = None
        self.failures = 0
        self.last_status: int | None = None
        self.started_at = 0.0
        self.start_again_at: float | None = None

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        return self.process.pid if self.process else 0

    def start(self) -> None:
        self.start_again_at = None
        self.log.recent = []
        with self.log.path.open("ab") as stream:
            self.process = subprocess.Popen(
                self.spec.command,
                cwd=ROOT,
                env={**os.environ, **self.spec.env},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        self.started_at = time.monotonic()
        self.watchdog.add(self.process.pid)

    def settle(self) -> None:
        """It is ready: now others go first where its Spec says so."""
        if self.alive and self.spec.nice:
            put_behind(self.pid, self.spec.nice)

    def ended(self) -> int | None:
        """The exit status once it has ended and nobody of its group is left to keep."""
        if self.process is None:
            return None
        status = self.process.poll()
        if status is not None:
            self.last_status = status
            signal_group(self.process.pid, signal.SIGKILL)  # a pool that outlived its master
            self.watchdog.remove(self.process.pid)
            self.process = None
        return status

    def plan_restart(self) -> float:
        """Seconds until it is started again."""
        if time.monotonic() - self.started_at > STEADY_S:
            self.failures = 0
        wait_s = BACKOFF_S[min(self.failures, len(BACKOFF_S) - 1)]
        self.failures += 1
        self.start_again_at = time.monotonic() + wait_s
        return wait_s

    def ask_to_stop(self) -> None:
        self.start_again_at = None
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def end_now(self) -> None:
        """SIGKILL for the whole group."""
        if self.process is not None:
            signal_group(self.process.pid, signal.SIGKILL)
            self.process.wait(timeout=5)
            self.watchdog.remove(self.process.pid)
            self.process = None
