"""Workers that are killed while they work: many short jobs, and whether each had its effect once.

    python -m bench.tools.job_swarm --jobs 500 --workers 3 --kills 60     → JSON: what came of it
    python -m bench.tools.job_swarm worker                                → one worker, until nothing waits

The swarm has a database file of its own (DATABASE_URL is set by it). A job computes for some milliseconds in steps, makes a
version, and is booked; a worker takes turns by line of business as the product's own do.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
STEPS, STEP_S, STEP_NS = 4, 0.01, 2_000_000
LEASE_S, HEARTBEAT_S = 1.5, 0.3
RECIPES = {"evaluation": "bench.tools.job_swarm"}
LOBS = ("service", "legal", "plant")


def prepare() -> None:
    """Django with short leases."""
    import django

    sys.path[:0] = [str(ROOT), str(ROOT / "platform")]
    django.setup()
    from django.conf import settings

    settings.SWITCHYARD = settings.SWITCHYARD | {
        "JOB_LEASE_S": LEASE_S, "JOB_HEARTBEAT_S": HEARTBEAT_S, "JOB_MAX_ATTEMPTS": 1000, "JOB_WAKE_AGAIN_S": 1e9,
    }  # fmt: skip


def run(context: Any) -> dict[str, Any]:
    """The recipe: steps, then a version named after the job."""
    from modelhub.models import Deployment, ModelVersion
    from switchyard.tenancy.models import Workload

    for step in range(1, STEPS + 1):
        time.sleep(STEP_S)
        context.meter.add(STEP_NS)
        context.progress(step / STEPS, f"step {step}")
        context.check()
    context.write()
    workload = Workload.objects.get(lob_id=context.job.lob_id)
    version, _ = ModelVersion.objects.update_or_create(
        deployment=Deployment.objects.get(), workload=workload, version=context.job.pk[-20:].lower(),
        defaults={"upstream_model": "x", "lineage": {"job": context.job.pk}},
    )  # fmt: skip
    return {"candidate": version.pk}


def work() -> None:
    """Take jobs until none is left that waits or runs."""
    from django.db import OperationalError

    from modelhub.services.running import run_next
    from switchyard.jobs import reaper
    from switchyard.jobs.models import Job

    while True:
        try:
            open_jobs = Job.objects.filter(state__in=("queued", "running"))
            if not open_jobs.exists():
                return
            reaper.reap()
            waiting = open_jobs.filter(state="queued").order_by("created_at").first()
            if waiting is None or run_next(waiting.pk, RECIPES) is None:
                time.sleep(0.1)
        except OperationalError:  # the file is another worker's for a moment
            time.sleep(0.05)


def fill(jobs: int) -> None:
    """A company of three lines of business; almost all jobs are the first one's."""
    from django.core.management import call_command

    from costs.models import Node
    from modelhub.models import Deployment
    from switchyard.jobs.services import submit_once
    from switchyard.tenancy.models import LineOfBusiness, Organisation, Workload

    call_command("migrate", verbosity=0)
    organisation = Organisation.objects.create(slug="swarm", name="Swarm")
    node = Node.objects.create(organisation=organisation, name="node", usd_per_hour="0.10")
    Deployment.objects.create(
        organisation=organisation, name="here", side="private", base_url="http://127.0.0.1:9/v1", model="m", tasks=["chat"],
        node=node,
    )  # fmt: skip
    for slug in LOBS:
        lob = LineOfBusiness.objects.create(organisation=organisation, slug=slug, name=slug)
        Workload.objects.create(
            organisation=organisation, lob=lob, name=f"work-{slug}", task="chat", tier="edge"
        )
    lobs = {lob.slug: lob for lob in LineOfBusiness.objects.all()}
    for number in range(jobs):
        lob = lobs[LOBS[0] if number < jobs - 2 else LOBS[number - jobs + 3]]
        submit_once(
            kind="evaluation",
            organisation=organisation,
            lob=lob,
            params={"deployment": "here", "number": number},
        )


def judge() -> dict[str, Any]:
    """What every job came to: states, effects that aren't there exactly once, and when the neighbours' jobs ran."""
    from costs.models import LedgerEntry
    from costs.pricing import private_cost
    from modelhub.models import ModelVersion
    from modelhub.services.job_costs import rate_for
    from switchyard.jobs.models import Job, JobEvent

    rows = list(Job.objects.select_related("lob"))
    booked: Counter[str] = Counter()
    for entry in LedgerEntry.objects.all():
        booked[entry.job_id] += entry.amount_nusd
    ends = Counter(JobEvent.objects.filter(message="succeeded").values_list("job_id", flat=True))
    made = Counter(version.lineage["job"] for version in ModelVersion.objects.all())
    rate = rate_for(rows[0].organisation_id, ["here"])
    assert rate is not None
    # Parts are rounded one by one: each attempt that booked something may differ by half a nano-dollar.
    wrong_money = [
        job.pk for job in rows
        if booked[job.pk] != job.cost_nusd or job.charged_ns != job.accelerator_ns
        or abs(job.cost_nusd - private_cost(job.charged_ns, rate)) > job.attempt
    ]  # fmt: skip
    order = sorted((job for job in rows if job.started_at), key=lambda job: job.started_at)
    return {
        "jobs": len(rows), "states": dict(Counter(job.state for job in rows)),
        "attempts": sum(job.attempt for job in rows), "started_again": sum(job.attempt > 1 for job in rows),
        "ended_not_once": [job.pk for job in rows if ends[job.pk] != 1],
        "effect_not_once": [job.pk for job in rows if made[job.pk] != 1], "wrong_money": wrong_money,
        "neighbours_begun_as": [place + 1 for place, job in enumerate(order) if job.lob.slug != LOBS[0]],
    }  # fmt: skip


def swarm(
    folder: Path, *, jobs: int, workers: int, kills: int, seed: int, pause_s: float = 0.25
) -> dict[str, Any]:
    """Run it in `folder`: workers are killed at random moments and replaced until nothing waits."""
    environment = os.environ | {
        "DATABASE_URL": f"sqlite:///{folder}/swarm.db", "SWITCHYARD_HOME": str(folder), "CELERY_BROKER_URL": "memory://",
        "DJANGO_SETTINGS_MODULE": "switchyard.settings.test", "PYTHONPATH": f"{ROOT}:{ROOT / 'platform'}",
        "OMP_NUM_THREADS": "1",
    }  # fmt: skip

    def call(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "bench.tools.job_swarm", *words], env=environment, cwd=ROOT, text=True,
            capture_output=True, timeout=600,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(done.stderr[-3000:])
        return done.stdout.strip().rpartition("\n")[2]

    def worker() -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "bench.tools.job_swarm", "worker"]
        return subprocess.Popen(command, env=environment, cwd=ROOT, stderr=subprocess.DEVNULL)

    call("fill", "--jobs", str(jobs))
    draw, began, killed = random.Random(seed), time.monotonic(), 0
    alive = [worker() for _ in range(workers)]
    while any(process.poll() is None for process in alive):
        time.sleep(draw.uniform(0.2, 1.8) * pause_s)
        running = [place for place, process in enumerate(alive) if process.poll() is None]
        if running and killed < kills:
            place = draw.choice(running)
            alive[place].kill()
            alive[place].wait()
            killed += 1
            alive[place] = worker()
    return json.loads(call("judge")) | {
        "kills": killed,
        "seconds": round(time.monotonic() - began, 1),
        "seed": seed,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("word", nargs="?", choices=["swarm", "fill", "worker", "judge"], default="swarm")
    parser.add_argument("--jobs", type=int, default=500)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    if asked.word == "swarm":
        with tempfile.TemporaryDirectory() as folder:
            counts = {"jobs": asked.jobs, "workers": asked.workers, "kills": asked.kills, "seed": asked.seed}
            print(json.dumps(swarm(Path(folder), pause_s=2.0, **counts), indent=1))
        return
    prepare()
    {"fill": lambda: fill(asked.jobs), "worker": work, "judge": lambda: print(json.dumps(judge()))}[
        asked.word
    ]()


if __name__ == "__main__":
    main()
