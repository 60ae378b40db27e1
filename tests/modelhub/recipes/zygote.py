"""A process that has everything loaded and forks a trainer for each job it is told of: a kill costs no new start.

python -m tests.modelhub.recipes.zygote → reads lines "JOB PAUSE", prints "started PID" and, when that one ended, "ended".
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT), str(ROOT / "platform")]


def main() -> None:
    import django

    django.setup()
    from django.conf import settings
    from django.db import connections

    import modelhub.recipes.fine_tune
    import modelhub.serving.runners.text
    import modelhub.tasks  # noqa: F401
    from tests.modelhub.recipes.trainer import run

    settings.SWITCHYARD = settings.SWITCHYARD | {
        "JOB_MAX_ATTEMPTS": 1000
    }  # this trainer dies often, and for no fault
    print("ready", flush=True)
    for line in sys.stdin:
        job_id, pause = line.split()
        connections.close_all()
        child = os.fork()
        if child == 0:
            run(job_id, float(pause))
            os._exit(0)
        print(f"started {child}", flush=True)
        os.waitpid(child, 0)
        print("ended", flush=True)


if __name__ == "__main__":
    main()
