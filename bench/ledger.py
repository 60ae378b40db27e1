"""The books: how fast they are written, what a kill loses, how long pages and restatements take as they grow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.common import FULL, ROOT, Results
from bench.tools.kills import Pace, measure
from bench.tools.scale import PAGE_REPEATS, percentile
from bench.tools.stage import stage
from tests.fakes.postgres import PostgresServer

EVENTS, REPEATS = 20_000, 3
SIZES = (10_000, 100_000, 1_000_000, 10_000_000) if FULL else (10_000, 100_000, 300_000)
SQLITE_SIZES = (10_000, 100_000, 1_000_000) if FULL else (10_000, 100_000)
ANSWERS = 10_000 if FULL else 2_000
LOADED = 2_000
LIMIT_S = 1_500 if FULL else 420
TEN_MILLION = "rows of 30 days, one transfer each, PostgreSQL with full durability on the same two cores"


def main() -> None:
    results = Results("ledger")
    with tempfile.TemporaryDirectory(prefix="sy-books-") as folder:
        home = Path(folder)
        ingest_rows(results, home)
        kill_rows(results, home)
        beside_rows(results, home)
        scale_rows(results, home)
    results.write()


@contextmanager
def database(engine: str, home: Path) -> Iterator[dict[str, str]]:
    """The environment of a fresh database: PostgreSQL as in production (fsync on), or SQLite as on a laptop."""
    place = Path(tempfile.mkdtemp(dir=home))
    env = {
        "SWITCHYARD_HOME": str(place), "DJANGO_SETTINGS_MODULE": "switchyard.settings.dev", "OMP_NUM_THREADS": "1",
        "REDIS_URL": f"unix://{place}/none.sock", "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "platform")]),
    }  # fmt: skip
    if engine == "sqlite":
        yield env
        return
    server = PostgresServer(durable=True, shared_buffers="512MB")
    try:
        yield env | {"DATABASE_URL": server.start().url}
    finally:
        server.stop()


def tool(name: str, *words: str, env: dict[str, str], timeout_s: float) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", f"bench.tools.{name}", *words], cwd=ROOT, env={**os.environ, **env},
        capture_output=True, text=True, timeout=timeout_s,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{name} {' '.join(words)}: {done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def ingest_rows(results: Results, home: Path) -> None:
    for engine, target in (("postgres", 20_000), ("sqlite", 3_000)):
        with database(engine, home) as env:
            found = tool("ingest", str(EVENTS), str(REPEATS), env=env, timeout_s=900)
        money, whole = found["series"]["money"], found["series"]["whole"]
        how = f"{EVENTS:,} events of about 2.5 kB in batches of 1,000, parsed, an attempt and a transfer each"
        results.add(f"ingest_events_per_s_{engine}", money["per_s"], "/s", how, at_least=target)
        results.add(
            f"ingest_cpu_us_{engine}",
            money["cpu_us"],
            "µs",
            "the writer's own user and system time an event",
            control=True,
        )
        results.add(
            f"consumer_events_per_s_{engine}", whole["per_s"], "/s", "the whole consumer: the decision's record as well",
            control=True,
        )  # fmt: skip
        results.add(f"consumer_cpu_us_{engine}", whole["cpu_us"], "µs", "its own time an event", control=True)
        results.add(
            f"trial_balance_nusd_{engine}", [found["trial_balance_nusd"]], "nusd", "debits less credits afterwards",
            at_most=0, control=True,
        )  # fmt: skip


def kill_rows(results: Results, home: Path) -> None:
    place = Path(tempfile.mkdtemp(dir=home))
    told, books = measure(place, ANSWERS, LIMIT_S, Pace())
    how = told.said()
    results.add("lost_events_kill9", [books.lost], "events", how, at_most=0)
    results.add("doubled_events_kill9", [books.doubled], "events", how, at_most=0)
    results.add(
        "trial_balance_nusd",
        [abs(books.balance_nusd)],
        "nusd",
        f"after it; {books.entries:,} transfers",
        at_most=0,
    )
    results.add(
        "attempts_nobody_received",
        [books.extra],
        "attempts",
        "metered, but their client was cut off by a kill",
        control=True,
    )
    said = "; ".join(books.findings) or "verify_books finds nothing"
    results.add("verify_books_findings", [len(books.findings)], "findings", said, at_most=0, control=True)


def beside_rows(results: Results, home: Path) -> None:
    """The gateway's latency alone and while somebody looks at pages of the same process without pause, in turn."""
    place = Path(tempfile.mkdtemp(dir=home))
    alone: list[float] = []
    beside: list[float] = []
    looks = 0
    with stage(place) as one:
        base = f"http://127.0.0.1:{one.ports['web']}"
        _latencies(one, base)
        for _ in range(REPEATS):
            alone.append(percentile(_latencies(one, base), 0.99))
            with subprocess.Popen(
                [sys.executable, "-m", "bench.tools.pages", base, "30"],
                cwd=ROOT,
                env=one.env,
                stdout=subprocess.PIPE,
            ) as looker:
                time.sleep(4)  # it has to import Django first
                beside.append(percentile(_latencies(one, base), 0.99))
                assert looker.stdout is not None
                told = json.loads(looker.stdout.read())
                looks += told["looks"]
                if told["failed"]:
                    raise RuntimeError(f"{told['failed']} of {told['looks']} looks failed.")
    results.add(
        "gateway_p99_ms_alone", alone, "ms", f"{LOADED:,} chat requests at 4 concurrent", control=True
    )
    results.add(
        "gateway_p99_ms_beside_pages", beside, "ms", f"the same while somebody looks at pages without pause ({looks} looks)",
        control=True,
    )  # fmt: skip


def _latencies(one: Any, base: str) -> list[float]:
    done = subprocess.run(
        [sys.executable, "-m", "bench.tools.load", f"{base}/v1/chat/completions", one.key, "4", str(LOADED)],
        cwd=ROOT, env=one.env, capture_output=True, timeout=120, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout)
    if found["failed"]:
        raise RuntimeError(f"{found['failed']} of {LOADED} requests failed.")
    return found["latencies_ms"]


def scale_rows(results: Results, home: Path) -> None:
    for engine, sizes in (("postgres", SIZES), ("sqlite", SQLITE_SIZES)):
        for size in sizes:
            with database(engine, home) as env:
                found = tool("scale", str(size), env=env, timeout_s=3_400)
            curve_rows(results, engine, size, found)
            if engine == "postgres" and size == sizes[-1]:
                target_rows(results, size, found)


def _p95s(found: dict[str, Any]) -> list[float]:
    """The slowest page's 95th percentile decides; three thirds of its looks give the range."""
    looks = [ms for series in found["pages_ms"].values() for ms in series]
    third = PAGE_REPEATS // 3
    parts = [
        [ms for series in found["pages_ms"].values() for ms in series[i * third : (i + 1) * third]]
        for i in range(3)
    ]
    return sorted([percentile(looks, 0.95), *(percentile(part, 0.95) for part in parts)])


def curve_rows(results: Results, engine: str, size: int, found: dict[str, Any]) -> None:
    name = f"{engine}_{size:.0e}".replace("e+0", "e")
    results.add(f"page_p95_ms_{name}", _p95s(found), "ms", f"all pages of money, {size:,} rows", control=True)
    results.add(f"rollup_day_s_{name}", found["rollup_day_s"], "s", f"{size:,} rows", control=True)
    results.add(f"restate_month_s_{name}", found["restate_month_s"], "s", f"{size:,} rows", control=True)
    results.add(
        f"load_rows_per_s_{name}", [size / found["load_s"]], "/s", "rows written in bulk", control=True
    )
    slowest = max(found["pages_ms"].items(), key=lambda item: percentile(item[1], 0.95))
    results.add(f"slowest_page_p95_ms_{name}", [percentile(slowest[1], 0.95)], "ms", slowest[0], control=True)


def target_rows(results: Results, size: int, found: dict[str, Any]) -> None:
    how = f"{size:,} {TEN_MILLION}"
    reached = size >= 10_000_000
    if not reached:
        how += "; BENCH=full measures ten million"
    results.add(
        "page_p95_ms_10m", _p95s(found), "ms", f"{len(found['pages_ms'])} pages × {PAGE_REPEATS} looks, {how}",
        at_most=300, judged=reached,
    )  # fmt: skip
    results.add(
        "rollup_day_s",
        found["rollup_day_s"],
        "s",
        f"the busiest day from its attempts, {how}",
        at_most=1,
        judged=reached,
    )
    results.add(
        "restate_month_s", found["restate_month_s"], "s", f"720 hours of a node at another rate, {how}", at_most=60,
        judged=reached,
    )  # fmt: skip


if __name__ == "__main__":
    main()
