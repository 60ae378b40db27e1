"""What admission costs Valkey a request, by its own count: the script (`INFO commandstats`), the commands that it gives, and the
processor time of the whole process, which sends, receives and appends to its file too.

    python -m bench.tools.admission_cost [SERIES] [REQUESTS]

Four budgets, two limits, two deployments, a checkpoint and an event of three kilobytes: what a chat request asks for. Alone: one
request after the other, two calls each. Together: sixteen at once, which share calls. The least of all series, for neighbours
only ever add; compare two checkouts by running them in turns.

Beside it, in turns, what would be left to ask if a process held its part of budgets and limits by itself: `held` asks for
breakers and the checkpoint alone, `unasked` only settles. No such thing exists: docs/decisions/0093 has the reasons.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack

import orjson
import psutil
import redis

from bench.common import start_store, workplace
from costs.admission import RedisAdmission
from costs.contracts import AdmissionAsk, BudgetLimit, Checkpoint, RateLimit, Settlement

USD = 10**9
LIMITS = (RateLimit("application:desk", rpm=1_000_000, tpm=1_000_000_000), RateLimit("key:k1", rpm=1_000_000))
SCOPES = ("organisation", "lob:legal", "application:desk", "key:k1")
BUDGETS = tuple(
    BudgetLimit(i, scope, 90_000 * USD, "month", "UTC", "stop", organisation_id=1)
    for i, scope in enumerate(SCOPES, 1)
)
REST = "x" * 2_700  # what of an event is the same from request to request
_numbers = itertools.count()


WAYS = ("all", "held", "unasked")


async def one(admission: RedisAdmission, way: str) -> None:
    number = f"{next(_numbers):032d}"
    event = {"kind": "usage", "event_id": f"req_{number}", "decision_id": f"dec_{number}", "organisation_id": 1,
             "rest": REST}  # fmt: skip
    asks_of = (BUDGETS, LIMITS) if way == "all" else ((), ())
    ask = AdmissionAsk(
        f"req_{number}", 4_000_000, 500, *asks_of, ("near", "far"),
        Checkpoint(orjson.dumps(event), 1_000_000, f"dec_{number}"), 1,
    )  # fmt: skip
    if way != "unasked":
        await admission.reserve(ask)
    await asyncio.sleep(0)
    await admission.settle(Settlement(ask.request_id, 1_100_000, 420, event, (("near", True),)))


async def together(admission: RedisAdmission, requests: int, at_once: int, way: str) -> None:
    left = iter(range(requests))

    async def caller() -> None:
        for _ in left:
            await one(admission, way)

    await asyncio.gather(*(caller() for _ in range(at_once)))


def told(client: redis.Redis, process: psutil.Process) -> tuple[float, float, float, float, float]:
    """(µs in scripts, scripts, commands within them, µs of the whole process, µs of who asks) so far."""
    stats = client.info("commandstats")
    scripts = [stats.get(f"cmdstat_{name}", {}) for name in ("evalsha", "fcall")]
    inner = sum(
        row["calls"] for name, row in stats.items() if name not in ("cmdstat_evalsha", "cmdstat_fcall")
    )
    times = process.cpu_times()
    return (
        float(sum(row.get("usec", 0) for row in scripts)), float(sum(row.get("calls", 0) for row in scripts)), float(inner),
        (times.user + times.system) * 1e6, time.process_time() * 1e6,
    )  # fmt: skip


async def measure(url: str, pid: int, series: int, requests: int) -> None:
    client, process = redis.Redis.from_url(url), psutil.Process(pid)
    admission = RedisAdmission(url)
    best: dict[tuple[str, str], tuple[float, ...]] = {}
    least: Callable[[float, float], float] = min
    for number in range(series + 1):
        for (name, at_once), way in itertools.product((("alone", 1), ("together", 16)), WAYS):
            before = told(client, process)
            await together(admission, requests, at_once, way)
            after = told(client, process)
            each = tuple((b - a) / requests for a, b in zip(before, after, strict=True))
            client.xtrim("sy:usage", maxlen=0)
            if number:  # the first one warms
                best[name, way] = tuple(map(least, best.get((name, way), each), each))
    for (name, way), (usec, calls, inner, cpu, own) in best.items():
        print(f"  {name:9} {way:8} script {usec:6.1f} µs in {calls:.2f} calls with {inner:.1f} commands; "
              f"the whole process {cpu:6.1f} µs a request, who asks {own:6.1f}", flush=True)  # fmt: skip
    await admission.close()


def main(words: list[str]) -> None:
    series, requests = (int(word) for word in (*words, *("15", "2000")[len(words) :]))
    with workplace("sy-store-") as home, ExitStack() as stack:
        store, url = start_store(stack, home)
        while not os.path.exists(home / "valkey.sock"):
            pass
        asyncio.run(measure(url, store.pid, series, requests))


if __name__ == "__main__":
    main(sys.argv[1:])
