"""The ledger process: what is in the stream comes into the books once, whatever dies on the way."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest
import redis
from django.db import OperationalError, connection

from costs.books.verification import verify_books
from costs.fresh import STREAM, place_of
from costs.models import Alert, Attempt, LedgerEntry
from routing.models import DecisionRecord, Feedback
from switchyard.gateway import consumer as consuming
from switchyard.gateway.consumer import GROUP, Consumer
from tests.fakes import upstream
from tests.fakes.gateway import RunningGateway
from tests.fakes.valkey import ValkeyServer

CHAT = {"model": "chatter", "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture
def ledger(gateway: RunningGateway, tmp_path: Path) -> Consumer:
    return Consumer(gateway.valkey.url, name="one", home=tmp_path)


def ask(gateway: RunningGateway, times: int = 1) -> list[str]:
    """Decision ids of that many answers."""
    with gateway.client() as client:
        replies = [client.post("/v1/chat/completions", json=CHAT) for _ in range(times)]
    gateway.events(times)
    return [reply.headers["x-switchyard-decision-id"] for reply in replies]


def test_answers_become_attempts_entries_and_decisions_once(
    gateway: RunningGateway, ledger: Consumer
) -> None:
    decisions = ask(gateway, 3)
    events = gateway.events(3)
    assert ledger.step() == 3
    ledger.record(events)  # the same again: a redelivery
    assert Attempt.objects.count() == LedgerEntry.objects.count() == DecisionRecord.objects.count() == 3
    assert set(DecisionRecord.objects.values_list("pk", flat=True)) == set(decisions)
    assert ledger.redis.xlen(STREAM) == 0
    assert sum(LedgerEntry.objects.values_list("amount_nusd", flat=True)) == sum(
        e["cost_nusd"] for e in events
    )


def test_a_decision_reads_the_same_from_the_stream_and_from_the_database(
    gateway: RunningGateway, ledger: Consumer
) -> None:
    (decision,) = ask(gateway)
    with gateway.client() as client:
        fresh = client.get(f"/v1/decisions/{decision}").json()
        ledger.step()
        assert ledger.redis.delete(place_of(decision)) == 1
        stored = client.get(f"/v1/decisions/{decision}").json()
        word = client.post("/v1/feedback", json={"decision_id": decision, "correct": True})
    fresh["at"] = stored["at"] = fresh["at"][:23]
    assert stored == fresh and word.status_code == 200
    ledger.step()
    assert Feedback.objects.get().correct is True


def test_a_batch_of_known_new_and_odd_events_is_sorted_out(gateway: RunningGateway, ledger: Consumer) -> None:
    """One known, one new, one known with another cost, one that can't be true: each meets its own end."""
    ask(gateway, 4)
    known, changed, new, odd = gateway.events(4)
    ledger.redis.delete(STREAM)
    ledger.deliver_bodies([{b"d": orjson.dumps(one)} for one in (known, changed)])
    assert Attempt.objects.count() == 2
    (attempt,) = changed["attempts"]
    leg = next(iter(attempt["legs"]))
    dearer = attempt | {
        "cost_nusd": attempt["cost_nusd"] + 1,
        "legs": attempt["legs"] | {leg: attempt["legs"][leg] + 1},
    }
    odd["attempts"][0]["tokens_in"] = -1
    batch = (known, changed | {"attempts": [dearer]}, new, odd)
    ledger.deliver_bodies([{b"d": orjson.dumps(one)} for one in batch])
    booked = dict(LedgerEntry.objects.values_list("request_id", "amount_nusd"))
    assert booked == {
        e["request_id"]: sum(a["cost_nusd"] for a in e["attempts"]) for e in (known, changed, new)
    }
    assert Attempt.objects.count() == 3
    alerts = dict(Alert.objects.values_list("kind", "subject"))
    assert alerts["event_rejected"] == odd["event_id"]
    assert alerts["event_conflict"].startswith(changed["request_id"])
    assert verify_books(known["organisation_id"]) == []


def test_what_a_dead_consumer_took_is_taken_over(
    gateway: RunningGateway, ledger: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(gateway, 2)
    ledger._ensure_group()
    ledger.redis.xreadgroup(GROUP, "dead", {STREAM: ">"}, count=10)  # took two and died
    monkeypatch.setattr(consuming, "RECLAIM_IDLE_MS", 0)
    ledger.step()
    assert Attempt.objects.count() == 2 and ledger.redis.xlen(STREAM) == 0


def test_nothing_is_acknowledged_while_the_database_is_away(
    gateway: RunningGateway, ledger: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(gateway)

    def away(*words: Any) -> None:
        raise OperationalError("no database")

    with monkeypatch.context() as patched:
        patched.setattr(consuming.metering, "record_events", away)
        patched.setattr(consuming.direct, "write", away)
        with pytest.raises(OperationalError):
            ledger.step()
    assert ledger.redis.xlen(STREAM) == 1 and not DecisionRecord.objects.exists()
    monkeypatch.setattr(consuming, "RECLAIM_IDLE_MS", 0)
    ledger.step()
    assert Attempt.objects.count() == DecisionRecord.objects.count() == 1


def test_an_event_that_makes_no_sense_holds_up_nobody(gateway: RunningGateway, ledger: Consumer) -> None:
    ask(gateway)
    ledger.redis.xadd(STREAM, {"d": b"not json"})
    ledger.redis.xadd(STREAM, {"d": orjson.dumps({"kind": "usage", "event_id": "x", "at_ns": 1})})
    ledger.step()
    assert Attempt.objects.count() == 1 and ledger.redis.xlen(STREAM) == 0
    assert ledger.redis.xlen(consuming.DEAD) >= 1


def test_what_a_dead_web_process_left_in_its_spool_is_booked(
    gateway: RunningGateway, ledger: Consumer, tmp_path: Path
) -> None:
    ask(gateway)
    event = gateway.events()[0]
    ledger.redis.delete(STREAM)
    (tmp_path / "spool").mkdir(exist_ok=True)
    (tmp_path / "spool" / "4711-1-1.jsonl").write_bytes(orjson.dumps(event) + b"\n" + b'{"torn')
    ledger._ensure_group = lambda: None  # type: ignore[method-assign]
    ledger._new = list  # type: ignore[method-assign]
    ledger._pending = list  # type: ignore[method-assign]
    ledger.step()
    assert Attempt.objects.get().request_id == event["request_id"]
    assert not list((tmp_path / "spool").glob("4711*"))


def test_a_misconfigured_upstream_raises_one_alert(gateway: RunningGateway, ledger: Consumer) -> None:
    gateway.external.always(upstream.status(404))
    ask(gateway, 2)
    ledger.step()
    alert = Alert.objects.get()
    assert (alert.kind, alert.subject) == ("upstream_misconfigured", "ext-a")


def test_what_is_booked_is_in_the_roll_ups_at_once(gateway: RunningGateway, ledger: Consumer) -> None:
    from costs.models import SpendHour

    ask(gateway, 2)
    ledger.step()
    row = SpendHour.objects.get()
    assert row.answers == 2 and row.deployment == "ext-a"


def test_answers_go_on_while_valkey_is_down_and_their_events_arrive_after(
    transactional_db: None, upstreams: Any, settings: Any, tmp_path: Path
) -> None:
    from tests.fakes.gateway import make_company

    private, external = upstreams
    private.behave()
    external.behave()
    folder = Path("/tmp") / f"sy-c-{os.getpid()}"
    folder.mkdir(exist_ok=True)
    server = ValkeyServer(folder, append_only=True).start()
    settings.REDIS_URL, settings.HOME = server.url, tmp_path
    settings.SWITCHYARD = settings.SWITCHYARD | {"SNAPSHOT_POLL_S": 3600.0}
    running = RunningGateway(make_company(private.url, external.url), private, external, server).start()
    try:
        ask(running, 1)
        server.kill()
        with running.client() as client:
            assert client.post("/v1/chat/completions", json=CHAT).status_code == 200
        server.start()
        assert len(running.events(2, timeout_s=8)) == 2
    finally:
        running.stop()
        server.stop()


def migrated_database(folder: Path) -> str:
    """Address of a database with every table, for a process beside the test: the test's own one, or a copy of that in
    memory."""
    name = connection.settings_dict["NAME"]
    if connection.vendor == "postgresql":
        return urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}").geturl()
    connection.ensure_connection()
    with closing(sqlite3.connect(folder / "books.sqlite3")) as copy:
        connection.connection.backup(copy)
    return f"sqlite:///{folder / 'books.sqlite3'}"


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_the_command_ends_cleanly_on_sigterm(valkey: ValkeyServer, tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[3]
    env = {**os.environ, "REDIS_URL": valkey.url, "DATABASE_URL": migrated_database(tmp_path), "SWITCHYARD_HOME": str(tmp_path),
           "DJANGO_SETTINGS_MODULE": "switchyard.settings.test",
           "PYTHONPATH": f"{root}{os.pathsep}{root / 'platform'}"}  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, str(root / "manage.py"), "consume_usage"], env=env, stdout=subprocess.PIPE, cwd=root
    )
    try:
        assert process.stdout is not None
        assert b"consuming" in process.stdout.readline()
        client = redis.Redis.from_url(valkey.url)
        deadline = time.monotonic() + 5
        while not client.exists(STREAM) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
    finally:
        process.kill()
        process.wait()


def test_the_roll_up_is_of_the_hour_that_rows_are_booked_in(
    gateway: RunningGateway, ledger: Consumer
) -> None:
    """A call that a wrong clock dated years ago is booked now: that hour has it in its roll-up, and no hour of years ago."""
    from costs.models import SpendHour

    ask(gateway)
    (event,) = gateway.events(1)
    old_ns = event["at_ns"] - 900 * 86_400 * 10**9
    ledger.record([event | {"at_ns": old_ns, "attempts": [a | {"at_ns": old_ns} for a in event["attempts"]]}])
    row = SpendHour.objects.get()
    assert row.requests == 1 and row.start.year == LedgerEntry.objects.get().recorded_at.year
    assert Alert.objects.get().kind == "clock_skew"


def test_a_spool_line_that_nobody_can_read_stops_nothing_and_somebody_is_told(
    gateway: RunningGateway, ledger: Consumer
) -> None:
    ask(gateway)
    (event,) = gateway.events(1)
    nameless = {name: value for name, value in event.items() if name != "kind"} | {"event_id": "no-kind"}
    undecided = {name: value for name, value in event.items() if name != "policy_hash"}
    undecided |= {"event_id": "half", "request_id": "req_half", "decision_id": "dec_half"}
    ledger.spool_folder.mkdir(parents=True, exist_ok=True)
    path = ledger.spool_folder / "1-1-1.jsonl"
    path.write_bytes(b"".join(orjson.dumps(one) + b"\n" for one in (nameless, undecided, event)))
    ledger._spooled = -1e9
    ledger.step()
    assert not path.exists()
    assert set(Attempt.objects.values_list("request_id", flat=True)) == {event["request_id"], "req_half"}
    assert set(Alert.objects.filter(kind="event_rejected").values_list("subject", flat=True)) == {
        "no-kind",
        "half",
    }
    assert ledger.redis.xlen(consuming.DEAD) == 2
    assert "its cost is booked" in Alert.objects.get(subject="half").message
