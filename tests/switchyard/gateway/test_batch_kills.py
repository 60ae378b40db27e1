"""kill -9 of a batch's worker while its lines are out: another goes on, no line is lost, and none is paid for twice."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.upstream import FakeUpstream, slow
from tests.fakes.valkey import ValkeyServer

COMMAND = [sys.executable, "-m", "tests.switchyard.gateway.batch_worker"]
LINES, AT_ONCE = 40, 8


class Workers:
    """Processes around one database file, one Valkey and one upstream."""

    def __init__(self, folder: Path, valkey: ValkeyServer) -> None:
        self.file, self.log = folder / "jobs.db", folder / "workers.log"
        self.environment = os.environ | {
            "DATABASE_URL": f"sqlite:///{self.file}", "SWITCHYARD_HOME": str(folder), "REDIS_URL": valkey.url,
            "DJANGO_SETTINGS_MODULE": "switchyard.settings.test", "CELERY_BROKER_URL": "memory://", "OMP_NUM_THREADS": "1",
        }  # fmt: skip

    def call(self, *words: str) -> Any:
        done = subprocess.run(
            [*COMMAND, *words], env=self.environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr[-3000:]
        last = done.stdout.strip().rpartition("\n")[2]
        return json.loads(last) if last else None

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen([*COMMAND, *words], env=self.environment, stderr=log)

    def ask(self, statement: str, *values: Any) -> list[sqlite3.Row]:
        with sqlite3.connect(self.file, timeout=20) as connection:
            connection.row_factory = sqlite3.Row
            return connection.execute(statement, values).fetchall()


def wait_for(condition: Callable[[], bool], seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.02)
    pytest.fail("it did not happen in time")


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_worker_that_is_killed_with_lines_out_is_replaced_and_each_answer_is_there_and_paid_once(
    tmp_path: Path, valkey: ValkeyServer
) -> None:
    workers = Workers(tmp_path, valkey)
    with FakeUpstream() as upstream:
        batch, job = workers.call("setup", upstream.url, str(LINES))
        upstream.always(slow(0.4))
        for _ in range(2):
            before = len(upstream.seen)
            process = workers.start("run", job)
            try:
                # the second group of this worker is out: one is on the disk, the other is being asked
                wait_for(lambda: len(upstream.seen) > before + AT_ONCE or process.poll() is not None)  # noqa: B023
            finally:
                process.send_signal(signal.SIGKILL)
                process.wait(10)
            assert process.returncode == -signal.SIGKILL, workers.log.read_text()[-3000:]
            (dead,) = workers.ask("SELECT state FROM jobs_job WHERE id = ?", job)
            assert dead["state"] == "running"
            workers.ask("UPDATE jobs_job SET lease_until = '2020-01-01 00:00:00' WHERE id = ?", job)
            assert workers.call("reap") == 1
        upstream.behave()
        workers.call("run", job)
        asked_last = len(upstream.seen)
    check(workers, batch, job)
    assert 0 < asked_last <= LINES - 2 * AT_ONCE, "what was answered before the kills is not asked again"
    with valkey.client() as client:
        left = [name.decode() for name in client.keys("sy:r:*")]
    assert len(left) <= 2 * AT_ONCE, (
        "only the lines in flight at a kill still hold anything, until their leases end"
    )


def check(workers: Workers, batch: str, job: str) -> None:
    told = workers.call("told", batch)
    assert told["batch"]["status"] == "completed"
    assert told["batch"]["request_counts"] == {"total": LINES, "completed": LINES, "failed": 0}
    assert Counter(row["custom_id"] for row in told["lines"]) == {f"line-{i}": 1 for i in range(LINES)}
    assert workers.call("book") >= LINES and workers.call("book") >= LINES, "told as often as anybody likes"
    answered = {row["response"]["request_id"] for row in told["lines"]}
    assert len(answered) == LINES
    rows = workers.ask("SELECT request_id, cost_nusd FROM costs_attempt")
    booked = Counter(row["request_id"] for row in rows)
    assert {name: booked[name] for name in answered} == dict.fromkeys(answered, 1)
    assert sum(row["cost_nusd"] for row in rows if row["request_id"] in answered) == told["cost_nusd"] > 0
    (done,) = workers.ask("SELECT state, attempt, reserved_nusd FROM jobs_job WHERE id = ?", job)
    assert (done["state"], done["attempt"], done["reserved_nusd"]) == ("succeeded", 3, 0)
