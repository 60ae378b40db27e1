"""The migration to partitions keeps every row of a database that was in use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = """
import django; django.setup()
from datetime import UTC, datetime, timedelta
from django.core.management import call_command
from django.db import connection
call_command("migrate", "costs", "0004", verbosity=0)
from django.db.migrations.loader import MigrationLoader
then = MigrationLoader(connection).project_state(("costs", "0004_money_step")).apps
Attempt, LedgerEntry = then.get_model("costs", "Attempt"), then.get_model("costs", "LedgerEntry")
from switchyard.core.ids import new_id
start = datetime(2026, 8, 20, tzinfo=UTC)
for day in range(100):
    at = start + timedelta(days=day)
    request = new_id("req", int(at.timestamp() * 1000))
    Attempt.objects.bulk_create([Attempt(
        request_id=request, organisation_id=1, at=at, lob="legal", deployment="d", side="external", model="m",
        price_version="price:1", cost_nusd=10 + day, input_nusd=10 + day)])
    LedgerEntry.objects.bulk_create([LedgerEntry(
        event_id=f"{request}/0/0", organisation_id=1, at=at, debit="expense:lob:legal", credit="payable:d",
        amount_nusd=10 + day, lob="legal", request_id=request, attempt=0, purpose="answer", price_version="price:1")])
LedgerEntry.objects.bulk_create([LedgerEntry(
    event_id="labels:x", organisation_id=1, at=start, debit="expense:lob:legal", credit="payable:labels", amount_nusd=7,
    lob="legal", purpose="label")])
before = list(LedgerEntry.objects.order_by("id").values_list("id", "event_id", "amount_nusd"))
call_command("migrate", verbosity=0)
from costs.models import Attempt, LedgerEntry
assert list(LedgerEntry.objects.order_by("id").values_list("id", "event_id", "amount_nusd")) == before
assert Attempt.objects.count() == 100
with connection.cursor() as cursor:
    cursor.execute("SELECT count(DISTINCT tableoid) FROM costs_attempt")
    assert cursor.fetchone()[0] >= 3, "rows of several months lie in several partitions"
from costs.books.verification import verify_books
assert verify_books(1) == [], verify_books(1)
new = LedgerEntry(event_id="labels:y", organisation_id=1, at=start, debit="expense:lob:legal", credit="payable:labels",
                  amount_nusd=1, lob="legal", purpose="label")
new.save()
assert new.pk > max(row[0] for row in before), "ids go on where they were"
"""


@pytest.mark.postgres
@pytest.mark.slow
def test_rows_of_many_months_are_all_there_after_the_migration_and_the_books_hold(
    postgres_url: str, tmp_path: Path
) -> None:
    import psycopg

    with psycopg.connect(postgres_url, autocommit=True) as server:
        server.execute("CREATE DATABASE converted")
    environment = os.environ | {
        "DATABASE_URL": postgres_url.rsplit("/", 1)[0] + "/converted",
        "DJANGO_SETTINGS_MODULE": "switchyard.settings.dev", "SWITCHYARD_HOME": str(tmp_path),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "platform")]),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=110
    )
    assert done.returncode == 0, done.stderr[-3000:]
