"""Budgets and the outbox on the database of production; and two who book labels at once, which only it can show."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.db import connection, transaction

from costs import budgets
from costs.models import LedgerEntry
from switchyard.core.errors import BudgetExhausted
from tests import factories
from tests.costs.budgets.rows import book, make_row

NOON = datetime(2026, 11, 3, 12, tzinfo=UTC)
HERE = Path(__file__).parent
FILES = [
    "test_carry.py",
    "test_top_ups.py",
    "test_burn.py",
    "test_causes.py",
    "test_on_postgres.py",
    "../notify/test_outbox.py",
]


@pytest.mark.postgres
@pytest.mark.slow
@pytest.mark.skipif(bool(os.environ.get("DATABASE_URL")), reason="the whole run is on PostgreSQL already")
def test_budgets_hold_on_postgresql_too(postgres_url):
    command = [sys.executable, "-m", "pytest", "-q", "-x", *(str(HERE / name) for name in FILES)]
    environment = os.environ | {"DATABASE_URL": postgres_url}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


@pytest.mark.django_db(transaction=True)
def test_two_who_book_labels_at_once_do_not_both_take_what_is_left(valkey, settings):
    if connection.vendor != "postgresql":
        pytest.skip("one connection of the SQLite in memory can't wait for another")
    settings.REDIS_URL = valkey.url
    legal = factories.make_lob(factories.make_organisation(), slug="legal")
    make_row(legal, covers="labels", limit_nusd=1_000)
    started, outcomes = threading.Barrier(4), []

    def label() -> None:
        started.wait()
        try:
            with transaction.atomic():
                budgets.reserve_labels(legal.organisation_id, "legal", 400, NOON)
                book(legal, 400, NOON, purpose="label")
            outcomes.append("booked")
        except BudgetExhausted:
            outcomes.append("refused")
        finally:
            connection.close()

    threads = [threading.Thread(target=label) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["booked", "booked", "refused", "refused"]
    assert LedgerEntry.objects.count() == 2
