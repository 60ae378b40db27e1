"""The same tests of the books on the database of production."""

import os
import subprocess
import sys

import pytest

FILES = [
    "test_ledger.py",
    "test_commits.py",
    "test_rollups.py",
    "test_intervals.py",
    "test_reports.py",
    "test_budgets.py",
]


@pytest.mark.postgres
@pytest.mark.slow
@pytest.mark.skipif(bool(os.environ.get("DATABASE_URL")), reason="the whole run is on PostgreSQL already")
def test_the_books_hold_on_postgresql_too(postgres_url):
    here = os.path.dirname(__file__)
    command = [sys.executable, "-m", "pytest", "-q", "-x", *(os.path.join(here, name) for name in FILES)]
    environment = os.environ | {"DATABASE_URL": postgres_url}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
