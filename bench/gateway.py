"""The gateway's own cost: CPU of the web process per request against the front reference, added latency against the
bare upstream. Same upstream, interleaved rounds, loopback only; bounded in requests and in time."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson
import psutil

from bench.common import FULL, Results, child, free_port, wait_for

ROUNDS = 7 if FULL else 3
REQUESTS_C16 = 8_000 if FULL else 2_500
REQUESTS_C1 = 1_500 if FULL else 500
STREAMS_C16 = 600 if FULL else 250
WARM_UP = 300
UVICORN = ("--host", "127.0.0.1", "--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning",
           "--ws", "none", "--no-server-header")  # fmt: skip


@dataclass(frozen=True)
class Target:
    """Something that answers chat completions; `pid` is the process whose CPU counts."""

    name: str
    url: str
    key: str
    pid: int

    def run(self, concurrency: int, requests: int, *, stream: bool = False) -> tuple[list[float], float]:
        """(latencies in ms, CPU ms of the process per request). RuntimeError when a request failed."""
        words = [
            sys.executable,
            "-m",
            "bench.tools.load",
            self.url,
            self.key,
            str(concurrency),
            str(requests),
        ]
        process = psutil.Process(self.pid)
        before = process.cpu_times()
        done = subprocess.run(words + ["stream"] * stream, capture_output=True, timeout=180, check=True)
        after = process.cpu_times()
        result = orjson.loads(done.stdout)
        if result["failed"]:
            raise RuntimeError(f"{self.name}: {result['failed']} of {requests} requests failed.")
        cpu_s = after.user + after.system - before.user - before.system
        return result["latencies_ms"], cpu_s * 1000 / requests


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


@contextmanager
def targets(home: Path) -> Iterator[dict[str, Target]]:
    """The bare upstream, the reference and the gateway, with a database, a Valkey and a ledger consumer beside it."""
    from switchyard.supervisor import valkey

    with ExitStack() as stack:
        socket_path = home / "valkey.sock"
        (home / "valkey").mkdir()
        store = subprocess.Popen(valkey.command(socket_path, home / "valkey"), stdout=subprocess.DEVNULL)
        stack.callback(store.wait, 10)
        stack.callback(store.terminate)
        ports = {name: free_port() for name in ("bare upstream", "front reference", "gateway")}
        upstream_url = f"http://127.0.0.1:{ports['bare upstream']}/v1"
        env = {
            "SWITCHYARD_HOME": str(home), "REDIS_URL": f"unix://{socket_path}", "SWITCHYARD_UPSTREAM_CIDRS": "127.0.0.0/8",
            "DJANGO_SETTINGS_MODULE": "switchyard.settings.dev", "BENCH_UPSTREAM": upstream_url, "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        made = subprocess.run(
            [sys.executable, "-m", "bench.tools.company"], env={**os.environ, **env}, capture_output=True, timeout=180
        )  # fmt: skip
        if made.returncode:
            raise RuntimeError(made.stderr.decode()[-2000:])
        keys = orjson.loads(made.stdout.splitlines()[-1])
        env |= {"REFERENCE_UPSTREAM": f"{upstream_url}/chat/completions", "REFERENCE_KEY": keys["plain"]}
        log = home / "children.log"
        upstream = stack.enter_context(
            child("-m", "bench.tools.upstream", str(ports["bare upstream"]), env=env, log=log)
        )
        reference = stack.enter_context(_web("bench.front_reference", ports["front reference"], env, log))
        web = stack.enter_context(_web("switchyard.asgi", ports["gateway"], env, log))
        consumer = stack.enter_context(child("manage.py", "consume_usage", env=env, log=log))
        wait_for(f"http://127.0.0.1:{ports['front reference']}/healthz", reference)
        wait_for(f"http://127.0.0.1:{ports['gateway']}/readyz", web)

        def target(name: str, process: int, key: str, server: str = "") -> Target:
            return Target(name, f"http://127.0.0.1:{ports[server or name]}/v1/chat/completions", key, process)

        yield {
            "bare": target("bare upstream", upstream.pid, "any"),
            "reference": target("front reference", reference.pid, keys["plain"]),
            "gateway": target("gateway", web.pid, keys["plain"]),
            "guarded": target("gateway with guard", web.pid, keys["guarded"], "gateway"),
            "valkey": Target("valkey", "", "", store.pid),
            "consumer": Target("consumer", "", "", consumer.pid),
        }


def _web(module: str, port: int, env: dict[str, str], log: Path):  # type: ignore[no-untyped-def]
    return child("-m", "uvicorn", f"{module}:application", "--port", str(port), *UVICORN, env=env, log=log)


def measure(found: dict[str, Target]) -> dict[str, list[float]]:
    """Series by name, one value a round; who goes first changes from round to round."""
    series: dict[str, list[float]] = defaultdict(list)
    names = ["bare", "reference", "gateway", "guarded"]
    for name in names:
        found[name].run(16, WARM_UP)
    for round_number in range(ROUNDS):
        turn = round_number % len(names)
        beside = {n: _cpu_ms(found[n]) for n in ("valkey", "consumer")}
        for name in names[turn:] + names[:turn]:
            busy, cpu = found[name].run(16, REQUESTS_C16)
            alone, _ = found[name].run(1, REQUESTS_C1)
            series[f"{name}.cpu"].append(cpu)
            series[f"{name}.p50_c1"].append(statistics.median(alone))
            series[f"{name}.p99_c16"].append(percentile(busy, 0.99))
        served = 2 * (REQUESTS_C16 + REQUESTS_C1)
        for n, before in beside.items():
            series[f"{n}.cpu"].append((_cpu_ms(found[n]) - before) / served)
        series["gateway.stream_cpu"].append(found["gateway"].run(16, STREAMS_C16, stream=True)[1])
        print(f"  round {round_number + 1} of {ROUNDS}", flush=True)
    return series


def _cpu_ms(target: Target) -> float:
    times = psutil.Process(target.pid).cpu_times()
    return (times.user + times.system) * 1000


def main() -> None:
    results = Results("gateway")
    home = Path(tempfile.mkdtemp(prefix="sy-bench-", dir="/tmp"))
    try:
        with targets(home) as found:
            series = measure(found)
    except Exception:
        log = home / "children.log"
        print(log.read_text()[-3000:] if log.exists() else "no log", file=sys.stderr)
        raise
    finally:
        shutil.rmtree(home, ignore_errors=True)
    report(results, series)
    results.write()


def report(results: Results, series: dict[str, list[float]]) -> None:
    def less(name: str, base: str) -> list[float]:
        return [a - b for a, b in zip(series[name], series[base], strict=True)]

    size = f"1 kB chat request, {REQUESTS_C16} requests a round at 16 concurrent, user+system time of the web process"
    budget = "four budgets, limits, policy, inspection, event; guard off"
    results.add("cpu_ms_per_request_c16", series["gateway.cpu"], "ms", f"{size}; {budget}", at_most=0.35)
    results.add("front_reference_ms_c16", series["reference.cpu"], "ms", f"{size}; bench/front_reference.py")
    ratios = [g / r for g, r in zip(series["gateway.cpu"], series["reference.cpu"], strict=True)]
    results.add("ratio_c16", ratios, "x", "gateway ÷ front reference, within each round")
    results.add("added_p50_ms_c1", less("gateway.p50_c1", "bare.p50_c1"), "ms",
                f"median at 1 concurrent less the bare upstream's, {REQUESTS_C1} requests a round")  # fmt: skip
    results.add("added_p99_ms_c16", less("gateway.p99_c16", "bare.p99_c16"), "ms",
                "99th percentile at 16 concurrent less the bare upstream's; all share the cores")  # fmt: skip
    results.add(
        "guarded_cpu_ms_per_request_c16", series["guarded.cpu"], "ms", f"{size}; the same with the risk guard"
    )
    results.add("stream_50_chunks_cpu_ms_c16", series["gateway.stream_cpu"], "ms",
                f"{STREAMS_C16} streams a round at 16 concurrent; guard off")  # fmt: skip
    results.add(
        "valkey_cpu_ms_per_request",
        series["valkey.cpu"],
        "ms",
        "the store's own process, all requests of a round",
    )
    results.add("consumer_cpu_ms_per_request", series["consumer.cpu"], "ms",
                "the ledger process while requests come; what it has not read yet is not in it")  # fmt: skip
    results.add(
        "upstream_cpu_ms_c16", series["bare.cpu"], "ms", "the bare upstream's own process", control=True
    )
    results.add("reference_added_p50_ms_c1", less("reference.p50_c1", "bare.p50_c1"), "ms",
                "the front reference, measured likewise", control=True)  # fmt: skip
    results.add("reference_added_p99_ms_c16", less("reference.p99_c16", "bare.p99_c16"), "ms",
                "the front reference, measured likewise", control=True)  # fmt: skip


if __name__ == "__main__":
    main()
