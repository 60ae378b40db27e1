"""kill -9 in the middle of a fine-tune: nothing is lost, and the weights are those of an unbroken run."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

COMMAND = [sys.executable, "-m", "tests.modelhub.recipes.trainer"]


class Trainer:
    """Processes around one database file."""

    def __init__(self, folder, home):
        self.file = folder / "jobs.db"
        self.environment = os.environ | {
            "DATABASE_URL": f"sqlite:///{self.file}", "SWITCHYARD_HOME": str(home), "OMP_NUM_THREADS": "1",
            "SWITCHYARD_FEATURES": str(home / "features"), "DJANGO_SETTINGS_MODULE": "switchyard.settings.test",
            "CELERY_BROKER_URL": "memory://",
        }  # fmt: skip

    def call(self, *words):
        done = subprocess.run(
            [*COMMAND, *words], env=self.environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout.strip().rpartition("\n")[2]

    def start(self, *words):
        return subprocess.Popen([*COMMAND, *words], env=self.environment, stderr=subprocess.DEVNULL)

    def ask(self, statement, *values):
        with sqlite3.connect(self.file, timeout=20) as connection:
            connection.row_factory = sqlite3.Row
            return connection.execute(statement, values).fetchall()

    def job(self, job_id):
        return self.ask("SELECT * FROM jobs_job WHERE id = ?", job_id)[0]


def wait_for(condition, seconds=90):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.1)
    pytest.fail("it did not happen in time")


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_killed_trainer_is_replaced_and_the_weights_are_the_same(tmp_path, shared_home):
    trainer = Trainer(tmp_path, shared_home)
    unbroken, broken = json.loads(trainer.call("setup"))
    trainer.call("run", unbroken)
    assert trainer.job(unbroken)["state"] == "succeeded", trainer.job(unbroken)["error"]

    process = trainer.start("run", broken, "0.5")
    try:
        wait_for(lambda: "epoch 3" in trainer.job(broken)["message"])
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    dead = trainer.job(broken)
    assert (dead["state"], dead["attempt"]) == ("running", 1)
    assert dead["accelerator_ns"] > 0
    trainer.call("run", broken)  # a message delivered again: the lease still holds, so nobody takes it
    assert trainer.job(broken)["attempt"] == 1

    trainer.ask("UPDATE jobs_job SET lease_until = '2020-01-01 00:00:00' WHERE id = ?", broken)
    assert trainer.call("reap") == "1"
    assert trainer.job(broken)["state"] == "queued"
    trainer.call("run", broken)
    done = trainer.job(broken)
    assert (done["state"], done["attempt"]) == ("succeeded", 2), done["error"]
    hashes = [json.loads(trainer.job(job)["result"])["weight_hash"] for job in (unbroken, broken)]
    assert hashes[0] == hashes[1]
    told = [
        row["message"] for row in trainer.ask("SELECT message FROM jobs_jobevent WHERE job_id = ?", broken)
    ]
    assert sum(message.startswith("epoch 1:") for message in told) == 1  # it went on from its checkpoint
    paid = trainer.ask("SELECT amount_nusd FROM costs_ledgerentry WHERE job_id = ?", broken)
    assert [row["amount_nusd"] for row in paid] == [done["cost_nusd"]]
    assert done["charged_ns"] == done["accelerator_ns"] > dead["accelerator_ns"]
    assert len(trainer.ask("SELECT id FROM modelhub_modelversion WHERE stage = 'candidate'")) == 2
