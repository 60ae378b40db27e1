"""How many usage events a second the ledger's consumer takes, and what it costs its own processor.

DATABASE_URL=… python -m bench.tools.ingest EVENTS REPEATS [BATCH …] → JSON as the last line. Events are as the gateway writes
them, JSON in hand as the stream gives them; parsing counts. `money`: attempts and transfers; `whole`: the decisions' records
as well; `whole_N`: the same in batches of N events, for what a batch costs by itself; `stream` (PostgreSQL): the consumer's own
loop, from Valkey to the acknowledgement, roll-ups included. Beside the rate, the processor time of this process and of its
PostgreSQL session.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import django
import orjson
import psutil

from switchyard.core.bulk import collector_paused

BATCH = 1000  # as the consumer reads


def events(count: int, organisation_id: int, seed: int) -> list[bytes]:
    """Answers of six lines of business spread over the last hours, with facts, trace and candidates as a policy of six rules
    leaves them: about 2.5 kB each."""
    from bench.tools.books import combos
    from switchyard.core.ids import new_id

    names = combos()
    start_ms = int((datetime.now(UTC) - timedelta(hours=3)).timestamp() * 1000)
    trace = [
        {"rule": f"case {i}", "matched": i == 5, "reason": "workload.tier == 'edge' is false"}
        for i in range(6)
    ]
    found = []
    for number in range(count):
        combo = names[(number * 7 + seed) % len(names)]
        at_ms = start_ms + number * 9_000_000 // count
        request_id, at_ns, cost = new_id("req", at_ms), at_ms * 1_000_000, 4_000 + number % 1000
        private = combo["side"] == "private"
        attempt = {
            "attempt": 0, "deployment": combo["deployment"], "side": combo["side"], "model": combo["model"],
            "node": combo["node"], "status": "ok", "error": "", "at_ns": at_ns, "duration_ms": 5.5, "tokens_in": 60,
            "tokens_out": 1, "cached_tokens_in": 0, "reasoning_tokens": 0, "accelerator_ns": 5_000_000 * private,
            "usage_source": "reported", "price_version": combo["price_version"], "cost_nusd": cost, "http_status": 200,
            "legs": {"compute" if private else "input": cost},
        }  # fmt: skip
        found.append(orjson.dumps({
            "kind": "usage", "event_id": request_id, "request_id": request_id, "decision_id": f"dec_{request_id[4:]}",
            "at_ns": at_ns, "origin": "live", "organisation_id": organisation_id, "lob": combo["lob"],
            "application": combo["application"], "key_id": combo["key_id"], "workload": combo["workload"],
            "task": "classification", "tier": "edge", "endpoint": "classifications", "stream": False,
            "sensitivity": "internal", "side": combo["side"], "deployment": combo["deployment"], "model": combo["model"],
            "policy_version": "pol_1", "policy_hash": "f" * 16, "rule": "case 5", "status": 200, "error_code": "",
            "cost_nusd": cost, "other_side_cost_nusd": 2 * cost, "other_side_deployment": "other", "latency_ms": 7.1,
            "overhead_ms": 0.6, "answers": 1, "cache": "", "trace": trace, "attempts": [attempt],
            "facts": {"request": {"tokens_in": 60, "language": "en", "difficulty": 0.2}, "data": {"sensitivity": "internal",
                      "entities": []}, "workload": {"name": combo["workload"], "tier": "edge"}, "budget": {"used_pct": 3.2}},
            "candidates": [{"deployment": "ext-mini", "side": "external", "eligible": True, "reasons": [], "cost_nusd": 9000}],
            "prices": {"version": combo["price_version"]}, "guard": {"verdict": "pass", "mode": "observe"},
            "sealed_answers": "", "confidence": 0.93, "shadow": None,
        }))  # fmt: skip
    return found


@dataclass(frozen=True)
class Taken:
    """One go: events a second, and microseconds of processor time an event, our own and the database session's."""

    per_s: float
    cpu_us: float
    database_us: float


class Session:
    """The processor time of the PostgreSQL process that serves our connection; none where SQLite works inside ours."""

    def __init__(self) -> None:
        from django.db import connection

        self.process: psutil.Process | None = None
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                self.process = psutil.Process(cursor.fetchone()[0])

    def cpu_s(self) -> float:
        if self.process is None:
            return 0.0
        spent = self.process.cpu_times()
        return spent.user + spent.system


def timed(count: int, session: Session, what: Callable[[], Any]) -> Taken:
    began, own, theirs = time.perf_counter(), time.process_time(), session.cpu_s()
    what()
    wall = time.perf_counter() - began
    return Taken(
        count / wall, 1e6 * (time.process_time() - own) / count, 1e6 * (session.cpu_s() - theirs) / count
    )


def money(bodies: list[bytes]) -> None:
    """Attempts and transfers alone, a batch at a time, as the consumer writes them."""
    from django.db import transaction

    from costs.books import direct
    from costs.books.events import read_event

    for first in range(0, len(bodies), BATCH):
        batch = bodies[first : first + BATCH]
        with collector_paused(), transaction.atomic():
            direct.write(map(read_event, batch), time.time_ns())


def whole(consumer: Any, bodies: list[bytes], batch: int = BATCH) -> None:
    for first in range(0, len(bodies), batch):
        consumer.deliver_bodies([{b"d": body} for body in bodies[first : first + batch]])


def stream(consumer: Any, count: int) -> None:
    """The consumer's own steps until it took everything."""
    while count > 0:
        count -= consumer.step()


def fill(consumer: Any, bodies: list[bytes]) -> None:
    from switchyard.gateway.consumer import STREAM

    for first in range(0, len(bodies), BATCH):
        with consumer.redis.pipeline(transaction=False) as pipe:
            for body in bodies[first : first + BATCH]:
                pipe.xadd(STREAM, {b"d": body})
            pipe.execute()


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """A Valkey of ours; gives its address."""
    from tests.fakes.valkey import ValkeyServer

    server = ValkeyServer(folder)
    try:
        yield server.start().url
    finally:
        server.stop()


def measure(count: int, repeats: int, batches: Sequence[int] = ()) -> dict[str, Any]:
    from django.core.management import call_command

    from costs.ledger import trial_balance
    from costs.models import Attempt, LedgerEntry
    from switchyard.gateway.consumer import Consumer
    from tests import factories

    call_command("migrate", verbosity=0)
    organisation = factories.make_organisation(slug="ingest")
    series: dict[str, list[Taken]] = defaultdict(list)
    session, wanted = Session(), 2_000
    with tempfile.TemporaryDirectory(prefix="sy-v-", dir="/tmp") as folder, running(Path(folder)) as url:
        consumer = Consumer(url)
        whole(consumer, events(2_000, organisation.pk, 0))  # connections, partitions, plans
        for number in range(repeats):
            for name in ("money", "whole", "stream")[: 2 + (session.process is not None)]:
                bodies = events(count, organisation.pk, number)
                if name == "stream":
                    fill(consumer, bodies)
                goes = {
                    "money": partial(money, bodies),
                    "whole": partial(whole, consumer, bodies),
                    "stream": partial(stream, consumer, count),
                }
                series[name].append(timed(count, session, goes[name]))
                wanted += count
            for batch in batches:
                taking = partial(whole, consumer, events(count, organisation.pk, number), batch)
                go = timed(count, session, taking)
                series[f"whole_{batch}"].append(go)
                wanted += count
    booked = (Attempt.objects.count(), LedgerEntry.objects.count())
    if booked != (wanted, wanted):
        raise RuntimeError(f"{wanted} events were taken, but {booked} attempts and entries are there.")
    return {
        "series": {name: [asdict(go) for go in goes] for name, goes in series.items()},
        "trial_balance_nusd": trial_balance(organisation.pk),
    }


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "switchyard.settings.dev")
    django.setup()
    count, repeats, *batches = (int(word) for word in sys.argv[1:])
    print(json.dumps(measure(count, repeats, batches)))
