"""Several runners wake for one job at the same moment: one gets it, on both kinds of database."""

import os
import subprocess
import sys

import psycopg
import pytest

COMMAND = [sys.executable, "-m", "tests.switchyard.jobs.racer"]
RUNNERS = 4


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database_url(request, tmp_path):
    """A database of this test's own."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/jobs.db"
    url = request.getfixturevalue("postgres_url")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE race")
    return url.rpartition("/")[0] + "/race"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_one_of_four_runners_gets_the_job(database_url):
    environment = os.environ | {
        "DATABASE_URL": database_url, "DJANGO_SETTINGS_MODULE": "switchyard.settings.test",
        "CELERY_BROKER_URL": "memory://",
    }  # fmt: skip

    def start(word):
        return subprocess.Popen(
            [*COMMAND, word], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    job_id = start("setup").communicate(timeout=120)[0].strip().rpartition("\n")[2]
    runners = [start(job_id) for _ in range(RUNNERS)]
    for runner in runners:
        assert runner.stdout.readline() == "ready\n"
    for runner in runners:
        runner.stdin.write("go\n")
        runner.stdin.flush()
    claims = sorted(runner.communicate(timeout=60)[0].strip() for runner in runners)
    assert claims == ["1", "none", "none", "none"]
