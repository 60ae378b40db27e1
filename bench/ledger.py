"""The books: how fast they are written, what a kill loses, how long pages and restatements take as they grow.

BENCH=full measures ten million rows (half an hour on two quiet cores). Parts: `BENCH_PARTS=ingest,kills,beside,scale`; rows of
parts that aren't named stay on record. What was measured is kept in var/bench/ledger: `BENCH_RESUME=1` goes on where a run broke
off. Kills for an hour: BENCH_KILLS_S=3600, or beside other work `python -m bench.tools.kills 3600 --keep`, whose figures
BENCH_RESUME=1 takes over.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.common import FULL, ROOT, Results, commit, refresh
from bench.tools.kills import KEPT, Pace, measure
from bench.tools.pages import REPEATS as PAGE_REPEATS
from bench.tools.pages import by_page
from bench.tools.scale import percentile
from bench.tools.stage import stage
from tests.fakes.postgres import PostgresServer
from tests.fakes.valkey import ValkeyServer

EVENTS, REPEATS = 20_000, 5 if FULL else 3
SIZES = (10_000, 100_000, 1_000_000, 10_000_000) if FULL else (10_000, 100_000, 300_000)
SQLITE_SIZES = (10_000, 100_000, 1_000_000) if FULL else (10_000, 100_000)
PARTS = os.environ.get("BENCH_PARTS", "ingest,kills,beside,scale").split(",")
RESUME = bool(os.environ.get("BENCH_RESUME"))
KILLS_S = float(os.environ.get("BENCH_KILLS_S", "600" if FULL else "100"))
LOADED, CALLERS, PAUSE_MS = 2_000, 4, 30
MOVED_MS = 10.0  # what the gateway's p99 may move by while somebody looks at pages without pause
TEN_MILLION = "rows of 30 days, one transfer each, PostgreSQL with full durability on the same two cores"


def main() -> None:
    results = Results("ledger")
    with tempfile.TemporaryDirectory(prefix="sy-books-") as folder:
        for name in PARTS:
            ROWS[name](results, Path(folder))
    if set(PARTS) == set(ROWS):
        results.write()
    else:
        refresh(results, PARTS)


def kept(name: str, what: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """A part's figures: from an earlier run when this one resumes, else measured and kept."""
    path = KEPT / f"{name}.json"
    if RESUME and path.exists():
        found = json.loads(path.read_text())
        print(f"  {name}: measured before, at {found['commit']}", flush=True)
        return found
    found = what() | {"commit": commit()}
    KEPT.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found))
    return found


@contextmanager
def database(engine: str, home: Path) -> Iterator[dict[str, str]]:
    """The environment of a fresh database: PostgreSQL as in production (fsync on), or SQLite as on a laptop; a Valkey beside."""
    place = Path(tempfile.mkdtemp(dir=home))
    env = {
        "SWITCHYARD_HOME": str(place), "DJANGO_SETTINGS_MODULE": "switchyard.settings.dev", "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "platform")]),
    }  # fmt: skip
    valkey = ValkeyServer(place)
    server = PostgresServer(durable=True, shared_buffers="512MB")
    server.settings["max_wal_size"] = "4GB"
    try:
        env["REDIS_URL"] = valkey.start().url
        yield env if engine == "sqlite" else env | {"DATABASE_URL": server.start().url}
    finally:
        server.stop()
        valkey.stop()


def tool(name: str, *words: str, env: dict[str, str], timeout_s: float) -> dict[str, Any]:
    """What a tool says in its last line; how far it is goes to our standard error."""
    done = subprocess.run(
        [sys.executable, "-m", f"bench.tools.{name}", *words], cwd=ROOT, env={**os.environ, **env}, stdout=subprocess.PIPE,
        text=True, timeout=timeout_s,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{name} {' '.join(words)} ended with {done.returncode}.")
    return json.loads(done.stdout.splitlines()[-1])


def ingest_rows(results: Results, home: Path) -> None:
    for engine, target in (("postgres", 20_000), ("sqlite", 3_000)):

        def ingest(engine: str = engine) -> dict[str, Any]:
            with database(engine, home) as env:
                return tool("ingest", str(EVENTS), str(REPEATS), env=env, timeout_s=900)

        found = kept(f"ingest_{engine}", ingest)
        series = found["series"]
        how = f"{EVENTS:,} events of about 2 kB in batches of 1,000, parsed, an attempt and a transfer each"
        results.add(
            f"ingest_events_per_s_{engine}", _of(series["money"], "per_s"), "/s", how, at_least=target
        )
        for name, metric, said in (
            ("money", "ingest", "attempts and transfers alone"),
            ("whole", "consumer", "the decision's record as well"),
            ("stream", "stream", "the consumer's own loop, from Valkey to the acknowledgement, roll-ups included"),
        ):  # fmt: skip
            if name not in series:
                continue
            if name != "money":
                results.add(
                    f"{metric}_events_per_s_{engine}", _of(series[name], "per_s"), "/s", said, control=True
                )
            for process, whose in (("cpu_us", "its own"), ("database_us", "its PostgreSQL session's")):
                if engine == "postgres" or process == "cpu_us":
                    results.add(
                        f"{metric}_{process}_{engine}", _of(series[name], process), "µs",
                        f"{whose} user and system time an event: {said}", control=True,
                    )  # fmt: skip
        results.add(
            f"trial_balance_nusd_{engine}", [found["trial_balance_nusd"]], "nusd", "debits less credits afterwards",
            at_most=0, control=True,
        )  # fmt: skip


def _of(goes: list[dict[str, float]], name: str) -> list[float]:
    return [go[name] for go in goes]


def kill_rows(results: Results, home: Path) -> None:
    books = kept("kills", lambda: measure(Path(tempfile.mkdtemp(dir=home)), KILLS_S, Pace()))
    how = books["how"]
    results.add("lost_events_kill9", [books["lost"]], "events", how, at_most=0)
    results.add("doubled_events_kill9", [books["doubled"]], "events", how, at_most=0)
    results.add(
        "trial_balance_nusd", [abs(books["balance_nusd"])], "nusd", f"after it; {books['entries']:,} transfers", at_most=0,
    )  # fmt: skip
    results.add(
        "attempts_nobody_received", [books["extra"]], "attempts", "metered, but their client was cut off by a kill",
        control=True,
    )  # fmt: skip
    said = "; ".join(books["findings"]) or "verify_books finds nothing"
    results.add("verify_books_findings", [len(books["findings"])], "findings", said, at_most=0, control=True)


def beside_rows(results: Results, home: Path) -> None:
    found = kept("beside", lambda: _beside(Path(tempfile.mkdtemp(dir=home))))
    alone, beside = found["alone"], found["beside"]
    said = f"{LOADED:,} chat requests of {CALLERS} callers who pause {PAUSE_MS} ms"
    pages = f"while somebody looks at pages, a process of their own, without pause ({found['looks']} looks)"
    results.add(
        "gateway_p99_moved_ms", [b - a for a, b in zip(alone, beside, strict=True)], "ms",
        f"p99 of {said} {pages}, less p99 without: pairs in turn", at_most=MOVED_MS,
    )  # fmt: skip
    results.add("gateway_p99_ms_alone", alone, "ms", said, control=True)
    results.add("gateway_p99_ms_beside_pages", beside, "ms", f"the same {pages}", control=True)


def _beside(place: Path) -> dict[str, Any]:
    """The gateway's latency alone and while somebody looks at pages, in turn."""
    alone: list[float] = []
    beside: list[float] = []
    looks = 0
    with stage(place, pages=True) as one:
        base = f"http://127.0.0.1:{one.ports['web']}"
        _latencies(one, base)
        for _ in range(REPEATS):
            alone.append(percentile(_latencies(one, base), 0.99))
            with subprocess.Popen(
                [sys.executable, "-m", "bench.tools.pages", base, "40"], cwd=ROOT, env=one.env, stdout=subprocess.PIPE
            ) as looker:  # fmt: skip
                time.sleep(4)  # it has to import Django first
                beside.append(percentile(_latencies(one, base), 0.99))
                assert looker.stdout is not None
                told = json.loads(looker.stdout.read())
                looks += told["looks"]
                if told["failed"]:
                    raise RuntimeError(f"{told['failed']} of {told['looks']} looks failed.")
    return {"alone": alone, "beside": beside, "looks": looks}


def _latencies(one: Any, base: str) -> list[float]:
    done = subprocess.run(
        [sys.executable, "-m", "bench.tools.load", f"{base}/v1/chat/completions", one.key, str(CALLERS), str(LOADED),
         f"pause={PAUSE_MS}"],
        cwd=ROOT, env=one.env, capture_output=True, timeout=240, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout)
    if found["failed"]:
        raise RuntimeError(f"{found['failed']} of {LOADED} requests failed.")
    return found["latencies_ms"]


def scale_rows(results: Results, home: Path) -> None:
    for engine, sizes in (("postgres", SIZES), ("sqlite", SQLITE_SIZES)):
        for size in sizes:
            name = f"{engine}_{size:.0e}".replace("e+0", "e")

            def scale(engine: str = engine, size: int = size) -> dict[str, Any]:
                with database(engine, home) as env:
                    return tool("scale", str(size), env=env, timeout_s=3_400)

            found = kept(f"scale_{name}", scale)
            curve_rows(results, name, size, found)
            if engine == "postgres" and size == sizes[-1]:
                target_rows(results, size, found)


def _p95s(found: dict[str, Any]) -> list[float]:
    """The 95th percentile over all pages' looks; three thirds of the looks give the range."""
    looks = [ms for series in found["pages_ms"].values() for ms in series]
    third = PAGE_REPEATS // 3
    parts = [
        [ms for series in found["pages_ms"].values() for ms in series[i * third : (i + 1) * third]]
        for i in range(3)
    ]
    return sorted([percentile(looks, 0.95), *(percentile(part, 0.95) for part in parts)])


def curve_rows(results: Results, name: str, size: int, found: dict[str, Any]) -> None:
    rows = f"{size:,} rows"
    results.add(f"page_p95_ms_{name}", _p95s(found), "ms", f"all pages of money, {rows}", control=True)
    for what in ("rollup_day_s", "rollup_day_again_s", "rollup_hour_s", "restate_month_s", "trial_balance_s"):
        if what in found:
            results.add(f"{what}_{name}", found[what], "s", rows, control=True)
    results.add(
        f"verify_books_s_{name}", found["verify_books_s"], "s", f"{rows}; it finds nothing, roll-ups hold what the ledger does",
        control=True,
    )  # fmt: skip
    results.add(
        f"load_rows_per_s_{name}", [size / found["load_s"]], "/s", "rows made by the benchmark", control=True
    )
    pages = by_page(found["pages_ms"])
    said = ", ".join(f"{page} {high:.0f} (median {median:.0f})" for page, median, high, _ in pages[:6])
    results.add(f"slowest_page_p95_ms_{name}", [pages[0][2]], "ms", f"by page: {said}", control=True)
    median = max(row[1] for row in pages)
    results.add(
        f"slowest_page_ms_{name}", [median], "ms", "median of the page with the largest", control=True
    )
    first = max((ms, page) for page, ms in found["pages_first_ms"].items())
    results.add(
        f"slowest_first_look_ms_{name}", [first[0]], "ms", f"{first[1]}, nothing of it kept yet", control=True
    )


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
        "rollup_day_s", found["rollup_day_s"], "s",
        f"the busiest day from its attempts, none of its roll-ups there, {how}", at_most=1, judged=reached,
    )  # fmt: skip
    results.add(
        "restate_month_s", found["restate_month_s"], "s", f"720 hours of a node at another rate, {how}", at_most=60,
        judged=reached,
    )  # fmt: skip


ROWS = {"ingest": ingest_rows, "kills": kill_rows, "beside": beside_rows, "scale": scale_rows}

if __name__ == "__main__":
    main()
