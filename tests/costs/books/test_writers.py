"""Several writers at once, killed where it hurts: each event is in the books exactly once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import orjson
import pytest
import time_machine
from django.db import connection, transaction

from costs import rollups
from costs.books import direct
from costs.books.closing import close_period
from costs.books.events import read_event
from costs.books.verification import verify_books
from costs.metering import record_events
from costs.models import AccountHour, Attempt, LedgerEntry, SpendHour
from switchyard.core.clock import now_ns
from switchyard.core.ids import new_id
from tests.costs.events import NOON, make_attempt, make_event
from tests.costs.level import assert_level
from tests.fakes.valkey import ValkeyServer

ROOT = Path(__file__).resolve().parents[3]
STREAM = "sy:usage"


def told(number: int) -> dict:
    """As the gateway tells it, with what the decision record needs."""
    event = make_event(make_attempt(cost_nusd=100 + number % 7), request_id=new_id("req"))
    return event | {
        "endpoint": "classifications", "sensitivity": "internal", "policy_version": "1", "policy_hash": "f" * 16,
        "error_code": "", "latency_ms": 5.0, "overhead_ms": 0.5, "sealed_answers": "",
    }  # fmt: skip


def start_consumer(url: str, home: Path) -> subprocess.Popen:
    name = connection.settings_dict["NAME"]
    if connection.vendor == "sqlite":
        database = f"sqlite:///{name}"
    else:
        database = os.environ["DATABASE_URL"].rsplit("/", 1)[0] + f"/{name}"
    environment = os.environ | {
        "REDIS_URL": url, "SWITCHYARD_HOME": str(home), "DATABASE_URL": database,
        "DJANGO_SETTINGS_MODULE": "switchyard.settings.dev", "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'platform'}",
    }  # fmt: skip
    command = [sys.executable, str(ROOT / "manage.py"), "consume_usage"]
    return subprocess.Popen(
        command, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="several writers are PostgreSQL's business")
def test_two_consumers_that_are_killed_again_and_again_book_everything_once(
    valkey: ValkeyServer, tmp_path: Path
):
    client, dice = valkey.client(), random.Random(7)
    events = [told(number) for number in range(3_000)]
    consumers = [start_consumer(valkey.url, tmp_path) for _ in range(2)]
    try:
        for first in range(0, len(events), 100):
            with client.pipeline() as pipe:
                for event in events[first : first + 100]:
                    for _ in range(1 + (dice.random() < 0.1)):  # some are told twice
                        pipe.xadd(STREAM, {"d": orjson.dumps(event)})
                pipe.execute()
            if first % 600 == 500:
                index = dice.randrange(2)
                consumers[index].send_signal(signal.SIGKILL)
                consumers[index].wait()
                consumers[index] = start_consumer(valkey.url, tmp_path)
            time.sleep(0.15)
        deadline = time.monotonic() + 60
        while client.xlen(STREAM) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert client.xlen(STREAM) == 0 and client.xlen("sy:usage:dead") == 0
    finally:
        for process in consumers:
            process.kill()
            process.wait()
    assert set(Attempt.objects.values_list("request_id", flat=True)) == {e["request_id"] for e in events}
    assert Attempt.objects.count() == LedgerEntry.objects.count() == len(events)
    assert sum(r.debit_nusd for r in AccountHour.objects.all()) == sum(e["cost_nusd"] for e in events)
    assert verify_books(1) == []
    assert_level()


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time")
def test_hours_made_anew_while_others_book_into_them_lack_nothing():
    """Without a lock, what was booked between the sum and its writing would be written over."""
    done = []

    def make_anew() -> None:
        try:
            while not done:
                rollups.refresh(NOON, NOON)
        finally:
            connection.close()

    other = threading.Thread(target=make_anew)
    other.start()
    try:
        for _ in range(60):
            record_events([make_event(request_id=new_id("req"))])
            one = make_event(make_attempt(legs={"input": 1_400}), request_id=new_id("req"))
            with transaction.atomic():
                assert direct.write([read_event(orjson.dumps(one))], now_ns()).odd == []
    finally:
        done.append(True)
        other.join(10)
    assert SpendHour.objects.get().requests == 120
    assert_level()


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time")
def test_a_close_waits_for_who_is_writing_and_counts_what_they_wrote(
    valkey: ValkeyServer, settings, tmp_path: Path
):
    """Without that, a writer that found the month open could commit into it after the close."""
    settings.REDIS_URL, settings.HOME = valkey.url, tmp_path
    closed = []

    def close() -> None:
        try:
            closed.append(close_period(organisation_id=1, month=NOON, actor="fiona"))
        finally:
            connection.close()

    with time_machine.travel("2026-12-05T00:00:00+00:00", tick=True):
        with transaction.atomic():
            record_events([make_event(at=NOON)])
            other = threading.Thread(target=close)
            other.start()
            other.join(0.7)
            assert other.is_alive() and not closed
        other.join(10)
        assert closed[0].entries == 1 and closed[0].total_nusd == 1_400
        assert verify_books(1) == []
