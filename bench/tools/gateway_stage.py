"""What the gateway's benchmark runs against: an upstream, the front reference, the gateway with its store and ledger, peers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import psutil

from bench.common import child, free_port, start_store, wait_for
from bench.tools.peers import Peer

UVICORN = ("--host", "127.0.0.1", "--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning",
           "--ws", "none", "--no-server-header")  # fmt: skip
LOAD_MAX_S, STARTS_S = 300, 300.0


@dataclass(frozen=True)
class Loaded:
    """What a load gave. Latencies and first bytes in ms, CPU in ms a request of the process asked (with its children)."""

    latencies: list[float]
    firsts: list[float]
    cpu_ms: float
    wall_s: float
    statuses: dict[str, int]


@dataclass(frozen=True)
class Target:
    """Something that answers chat completions; `pid` is the process whose CPU counts."""

    name: str
    url: str
    key: str
    pid: int
    words: tuple[str, ...] = field(default=())  # for the load generator

    def run(self, concurrency: int, requests: int, *more: str, may_fail: bool = False) -> Loaded:
        """RuntimeError when a request failed, unless failures are the point."""
        with self.running(concurrency, requests, *more, may_fail=may_fail) as done:
            pass
        return done[0]

    @contextmanager
    def running(
        self, concurrency: int, requests: int, *more: str, may_fail: bool = False
    ) -> Iterator[list[Loaded]]:
        """The load while the block runs; what it gave is in the list afterwards."""
        words = [
            sys.executable, "-m", "bench.tools.load", self.url, self.key, str(concurrency), str(requests), *more, *self.words,
        ]  # fmt: skip
        before, given = cpu_ms(self.pid), []
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            yield given
            out, err = process.communicate(timeout=LOAD_MAX_S)
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()
        if process.returncode:
            raise RuntimeError(f"{self.name}: {err.decode()[-500:]}")
        told: dict[str, Any] = orjson.loads(out)
        if told["failed"] and not may_fail:
            raise RuntimeError(
                f"{self.name}: {told['failed']} of {requests} requests failed: {told['statuses']}."
            )
        each = (cpu_ms(self.pid) - before) / requests
        given.append(Loaded(told["latencies_ms"], told["firsts_ms"], each, told["wall_s"], told["statuses"]))


def cpu_ms(pid: int) -> float:
    """User and system time of a process and its children, those that ended included."""
    process = psutil.Process(pid)
    total = 0.0
    for each in (process, *process.children(recursive=True)):
        try:
            times = each.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + getattr(times, "children_user", 0.0)
    return total * 1000


def rss_kib(pid: int) -> float:
    return float(psutil.Process(pid).memory_info().rss) / 1024


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def of_peer(peer: Peer) -> Target:
    words = (f"model={peer.model}", *(f"header={name}:{value}" for name, value in peer.headers.items()))
    return Target(peer.name, peer.url, peer.key, peer.pid, words)


@contextmanager
def targets(home: Path) -> Iterator[dict[str, Target]]:
    """The bare upstream, the reference and the gateway, with a database, a Valkey and a ledger consumer beside it."""
    with ExitStack() as stack:
        store, store_url = start_store(stack, home)
        ports = {name: free_port() for name in ("bare upstream", "front reference", "gateway")}
        upstream_url = f"http://127.0.0.1:{ports['bare upstream']}/v1"
        env = {
            "SWITCHYARD_HOME": str(home), "REDIS_URL": store_url, "SWITCHYARD_UPSTREAM_CIDRS": "127.0.0.0/8",
            "DJANGO_SETTINGS_MODULE": "switchyard.settings.dev", "BENCH_UPSTREAM": upstream_url, "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        made = subprocess.run(
            [sys.executable, "-m", "bench.tools.company"], env={**os.environ, **env}, capture_output=True, timeout=600
        )  # fmt: skip
        if made.returncode:
            raise RuntimeError(made.stderr.decode()[-2000:])
        keys = orjson.loads(made.stdout.splitlines()[-1])
        env |= {"REFERENCE_UPSTREAM": f"{upstream_url}/chat/completions", "REFERENCE_KEY": keys["plain"]}
        log = home / "children.log"
        upstream = stack.enter_context(
            child("-m", "bench.tools.upstream", str(ports["bare upstream"]), env=env, log=log)
        )
        reference = stack.enter_context(
            web_process("bench.front_reference", ports["front reference"], env, log)
        )
        web = stack.enter_context(web_process("switchyard.asgi", ports["gateway"], env, log))
        with_aiohttp = free_port()
        other = stack.enter_context(
            web_process("switchyard.asgi", with_aiohttp, env | {"SWITCHYARD_UPSTREAM_CLIENT": "aiohttp"}, log)
        )
        consumer = stack.enter_context(child("manage.py", "consume_usage", env=env, log=log))
        wait_for(f"http://127.0.0.1:{ports['front reference']}/healthz", reference, STARTS_S)
        wait_for(f"http://127.0.0.1:{ports['gateway']}/readyz", web, STARTS_S)
        wait_for(f"http://127.0.0.1:{with_aiohttp}/readyz", other, STARTS_S)

        def target(name: str, process: int, key: str, port: int) -> Target:
            return Target(name, f"http://127.0.0.1:{port}/v1/chat/completions", key, process)

        gateway = ports["gateway"]
        yield {
            "bare": target("bare upstream", upstream.pid, "any", ports["bare upstream"]),
            "reference": target("front reference", reference.pid, keys["plain"], ports["front reference"]),
            "gateway": target("gateway", web.pid, keys["plain"], gateway),
            "aiohttp": target("gateway with aiohttp", other.pid, keys["plain"], with_aiohttp),
            "guarded": target("gateway with guard", web.pid, keys["guarded"], gateway),
            "held": target("gateway that holds back", web.pid, keys["held"], gateway),
            "flooding": target("gateway under flood", web.pid, keys["flooding"], gateway),
            "valkey": Target("valkey", "", "", store.pid),
            "consumer": Target("consumer", "", "", consumer.pid),
        }


def web_process(
    module: str, port: int, env: dict[str, str], log: Path
) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """An ASGI application of ours as it is served everywhere here."""
    return child("-m", "uvicorn", f"{module}:application", "--port", str(port), *UVICORN, env=env, log=log)


def settle(found: dict[str, Target], seconds: float = 30.0) -> None:
    """Until the ledger has read what was sent and sits still: what it does would be in the next figures."""
    deadline, before = time.monotonic() + seconds, -1.0
    while time.monotonic() < deadline and (now := cpu_ms(found["consumer"].pid)) - before > 150:
        before = now
        time.sleep(1.0)
