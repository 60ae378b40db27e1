"""Measuring this machine's devices once, in a process of its own: the runtimes it loads and their threads stay there."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from django.conf import settings

from modelhub.hal import tune_cache
from switchyard.core.clock import now

logger = logging.getLogger(__name__)
KEPT = timedelta(
    days=30
)  # after this a device is looked at again: what is known isn't measured anew, new versions are
TIMEOUT_S = 1800.0


def tune_if_due(run: Callable[..., subprocess.CompletedProcess[str]] = subprocess.run) -> bool:
    """Run `manage.py hal tune` unless this home was tuned within the last month; gives whether it ran to its end."""
    path = Path(settings.HOME) / "hal" / tune_cache.BACKENDS_FILE
    if path.exists() and now().timestamp() - path.stat().st_mtime < KEPT.total_seconds():
        return False
    words = [sys.executable, str(Path(settings.ROOT) / "manage.py"), "hal", "tune"]
    env = {**os.environ, "SWITCHYARD_HOME": str(settings.HOME), "OMP_NUM_THREADS": "1"}
    try:
        done = run(words, env=env, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        logger.warning(
            "measuring the devices took over %g s and was ended; it goes on where it was next time", TIMEOUT_S
        )
        return False
    if done.returncode:
        logger.warning("measuring the devices failed: %s", done.stderr.strip()[-500:])
    return done.returncode == 0
