"""Measuring this machine's devices once, in a process of its own: the runtimes it loads and their threads stay there.

It takes minutes of the worker that trains, so it ends when a job waits for that worker, and goes on another time.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from django.conf import settings

from modelhub.hal import tune_cache
from switchyard.core.clock import now
from switchyard.jobs.models import Job

logger = logging.getLogger(__name__)
KEPT = timedelta(
    days=30
)  # after this a device is looked at again: what is known isn't measured anew, new versions are
TIMEOUT_S, LOOK_S, END_S = 1800.0, 1.0, 10.0


class JobWaits(Exception):
    """Somebody's job needs this worker more."""


def job_waits() -> bool:
    """Whether a job is queued for the workers that train."""
    return Job.objects.filter(state="queued", queue="training").exists()


def while_nobody_waits(
    words: list[str], *, env: dict[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    """As `subprocess.run` with the errors kept. Raises JobWaits or TimeoutExpired, and the process is ended then."""
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as told:
        process = subprocess.Popen(words, env=env, stdout=subprocess.DEVNULL, stderr=told)
        until = time.monotonic() + timeout
        try:
            while process.poll() is None:
                if job_waits():
                    raise JobWaits
                if time.monotonic() > until:
                    raise subprocess.TimeoutExpired(words, timeout)
                time.sleep(LOOK_S)
        finally:
            _end(process)
        told.seek(0)
        return subprocess.CompletedProcess(words, process.returncode, "", told.read())


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def tune_if_due(run: Callable[..., subprocess.CompletedProcess[str]] = while_nobody_waits) -> bool:
    """Run `manage.py hal tune` unless this home was tuned within the last month; gives whether it ran to its end."""
    path = Path(settings.HOME) / "hal" / tune_cache.BACKENDS_FILE
    if path.exists() and now().timestamp() - path.stat().st_mtime < KEPT.total_seconds():
        return False
    words = [sys.executable, str(Path(settings.ROOT) / "manage.py"), "hal", "tune"]
    env = {**os.environ, "SWITCHYARD_HOME": str(settings.HOME), "OMP_NUM_THREADS": "1"}
    try:
        done = run(words, env=env, timeout=TIMEOUT_S)
    except JobWaits:
        logger.info("measuring the devices ended for a job that waits; it goes on where it was next time")
        return False
    except subprocess.TimeoutExpired:
        logger.warning(
            "measuring the devices took over %g s and was ended; it goes on where it was next time", TIMEOUT_S
        )
        return False
    if done.returncode:
        logger.warning("measuring the devices failed: %s", done.stderr.strip()[-500:])
    return done.returncode == 0
