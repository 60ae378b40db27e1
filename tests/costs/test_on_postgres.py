"""The same tests of the books on the database of production."""

import os
import subprocess
import sys

import pytest

PARTS = {
    "the books": ["test_ledger.py", "test_commits.py", "test_rollups.py", "test_sums.py", "books"],
    "what comes into them": ["../routing/test_told.py", "../switchyard/gateway/test_consumer.py"],
    "what is read from them": ["test_reports.py", "test_budgets.py", "test_labels.py", "nodes"],
}


@pytest.mark.postgres
@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.skipif(bool(os.environ.get("DATABASE_URL")), reason="the whole run is on PostgreSQL already")
@pytest.mark.parametrize("part", PARTS)
def test_the_books_hold_on_postgresql_too(postgres_url, part):
    here = os.path.dirname(__file__)
    files = [os.path.join(here, name) for name in PARTS[part]]
    environment = os.environ | {"DATABASE_URL": postgres_url}
    command = [sys.executable, "-m", "pytest", "-q", "-x", *files]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=380)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
