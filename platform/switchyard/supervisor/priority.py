"""Who goes first when the processors are taken: calls of /v1, then the ledger, pages and workers, then training."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

AUTOGROUP = Path("/proc/self/autogroup")
# Niceness: about a third, a tenth and a thirtieth of what others get where all want to run.
LEDGER, PAGES, TRAINING = 5, 10, 15


def step_back(nice: int, autogroup: Path = AUTOGROUP, *, batch: bool = False) -> bool:
    """Let others go first: nice, and Linux's group of this session, without which nice counts within the session only.

    Best effort: where the kernel groups nothing, or the file may not be written (some containers), nice alone has to do.
    Gives whether the group was lowered. A session that isn't ours alone (a shell's) stays as it is. `batch`: nor does it
    take the processor from somebody when it wakes up.
    """
    if nice <= 0:
        return False
    os.nice(nice)
    if batch and hasattr(os, "SCHED_BATCH"):
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    if os.getsid(0) not in (os.getpid(), 0, 1):  # 0, 1: the only session of a container
        return False
    try:
        autogroup.write_text(str(nice))
    except OSError:
        return False
    return True


def put_behind(group: int, nice: int) -> None:
    """The same for a child of ours that leads a session, once it is up: a busy machine shouldn't wait for its start."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PGRP, group, nice)
    with contextlib.suppress(OSError):
        Path(f"/proc/{group}/autogroup").write_text(str(nice))
