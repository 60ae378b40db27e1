"""A job's heart: keeps its lease, and stops work that doesn't look up when it is asked to stop.

Recipes look every few seconds and stop where they like. One that is deep in something has GRACE_S for it; then Stopped is
raised wherever its thread is. That is no more than a kill at that moment, which every recipe survives anyway.
"""

from __future__ import annotations

import ctypes
import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from django.db import DatabaseError, connection

from switchyard.core.clock import now
from switchyard.core.conf import conf

log = logging.getLogger(__name__)
LOOK_S = 2.0
GRACE_S = 8.0  # with the look before it and the last write, well under the 15 s that a cancel may take
AGAIN_S = 5.0


class Heart(threading.Thread):
    """`renew(until)` writes the lease (and raises `lost` when the job is another's); `asked()` says whether to stop."""

    def __init__(
        self,
        name: str,
        *,
        renew: Callable[[datetime], None],
        asked: Callable[[], bool],
        lost: type[Exception],
        stopped: type[Exception],
    ) -> None:
        super().__init__(name=f"heart-{name}", daemon=True)
        self._job, self._renew, self._asked, self._lost, self._stopped = name, renew, asked, lost, stopped
        self._worker = threading.get_ident()
        self._ended, self._lock, self._armed = threading.Event(), threading.Lock(), True
        self._asked_at: float | None = None

    def run(self) -> None:
        beat = conf("JOB_HEARTBEAT_S")
        beaten = time.monotonic()
        try:
            while not self._ended.wait(min(beat, LOOK_S)):
                if time.monotonic() - beaten >= beat:
                    beaten = time.monotonic()
                    self._quietly(self._beat)
                self._quietly(self._look)
        except self._lost:
            pass  # the work finds out by itself, at its next look or write
        finally:
            connection.close()

    def _quietly(self, step: Callable[[], None]) -> None:
        """A database that is away for a moment costs a beat, not the job: the lease is several beats long."""
        try:
            step()
        except DatabaseError:
            log.exception("a heartbeat of job %s failed", self._job)
            connection.close()

    def _beat(self) -> None:
        self._renew(now() + timedelta(seconds=conf("JOB_LEASE_S")))

    def _look(self) -> None:
        if not self._asked():
            self._asked_at = None
            return
        if self._asked_at is None:
            self._asked_at = time.monotonic()
        elif time.monotonic() - self._asked_at >= GRACE_S:
            self._asked_at = (
                time.monotonic() - GRACE_S + AGAIN_S
            )  # what was caught on its way is raised again
            with self._lock:
                if self._armed:
                    log.warning("job %s doesn't look up; it is stopped where it is", self._job)
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(
                        ctypes.c_ulong(self._worker), ctypes.py_object(self._stopped)
                    )

    def disarm(self) -> None:
        """From here on nothing is raised in the worker's thread: its work is over."""
        with self._lock:
            self._armed = False

    def stop(self) -> None:
        self._ended.set()
        self.join(timeout=5)
