"""A runner in a process of its own that tries to claim a job at a given moment.

python -m tests.switchyard.jobs.racer setup        → migrates, makes a job, prints its id
python -m tests.switchyard.jobs.racer JOB MOMENT   → claims at that time (epoch seconds), prints its fence or "none"
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT), str(ROOT / "platform")]


def set_up() -> str:
    from django.core.management import call_command

    from tests.switchyard.jobs.people import make_job

    call_command("migrate", verbosity=0)
    return make_job().pk


def claim_when_told(job_id: str) -> str:
    from switchyard.jobs import runner
    from switchyard.jobs.models import Job

    Job.objects.filter(pk=job_id).exists()  # the connection is open before the start
    print("ready", flush=True)
    sys.stdin.readline()
    context = runner.claim(job_id)
    return str(context.fence) if context else "none"


if __name__ == "__main__":
    import django

    django.setup()
    print(set_up() if sys.argv[1] == "setup" else claim_when_told(sys.argv[1]))
