"""kill -9 at moments that nobody chose, again and again: the weights are those of an unbroken run, and it is paid for once."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from tests.modelhub.recipes.test_killed_trainer import Trainer

KILLS = 4
LONGEST_S = 6.0
PAUSE_S = 0.05


class Zygote:
    """Trainers by fork; `start` gives the pid of the next one."""

    def __init__(self, environment):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.modelhub.recipes.zygote"], env=environment, text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.expect("ready")

    def expect(self, word):
        while line := self.process.stdout.readline():
            if line.split()[0] == word:
                return line.split()
        pytest.fail(f"the trainers' process ended before {word!r}")

    def start(self, job_id):
        self.process.stdin.write(f"{job_id} {PAUSE_S}\n")
        self.process.stdin.flush()
        return int(self.expect("started")[1])


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_kills_at_random_moments_change_no_weight_and_no_price(tmp_path, shared_home):
    seed = int(os.environ.get("KILL_SEED") or random.randrange(10**6))
    print(f"KILL_SEED={seed}")
    draw = random.Random(seed)
    trainer = Trainer(tmp_path, shared_home)
    unbroken, broken = json.loads(trainer.call("setup"))
    trainer.ask("UPDATE jobs_job SET params = json_set(params, '$.method', 'head')")  # real, and the quickest
    zygote = Zygote(trainer.environment)
    try:
        began = time.monotonic()
        zygote.start(unbroken)
        zygote.expect("ended")
        length = time.monotonic() - began
        assert trainer.job(unbroken)["state"] == "succeeded", trainer.job(unbroken)["error"]
        progress = []
        for _ in range(KILLS):
            pid = zygote.start(broken)
            time.sleep(draw.uniform(0.0, min(length, LONGEST_S)))
            with contextlib.suppress(ProcessLookupError):  # it was through already
                os.kill(pid, signal.SIGKILL)
            zygote.expect("ended")
            progress.append(round(trainer.job(broken)["furthest"], 3))
            trainer.ask(
                "UPDATE jobs_job SET state = 'queued', lease_until = NULL, fence = fence + 1 "
                "WHERE id = ? AND state = 'running'",
                broken,
            )
        zygote.start(broken)
        zygote.expect("ended")
    finally:
        zygote.process.kill()
        zygote.process.wait(10)
    done = trainer.job(broken)
    assert done["state"] == "succeeded", (done["error"], progress)
    assert progress == sorted(progress), "nothing that was reached is lost"
    hashes = {json.loads(trainer.job(job)["result"])["weight_hash"] for job in (unbroken, broken)}
    assert len(hashes) == 1, (seed, progress)
    paid = trainer.ask("SELECT amount_nusd FROM costs_ledgerentry WHERE job_id = ?", broken)
    assert sum(row["amount_nusd"] for row in paid) == done["cost_nusd"] > 0
    assert done["charged_ns"] == done["accelerator_ns"]
    ends = trainer.ask("SELECT id FROM jobs_jobevent WHERE job_id = ? AND message = 'succeeded'", broken)
    versions = trainer.ask("SELECT id FROM modelhub_modelversion WHERE stage = 'candidate'")
    assert (len(ends), len(versions)) == (1, 2)
