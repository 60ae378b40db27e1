"""The gateway's hot path in one process, for looking into: CPU time a request, beside the front reference, and a profile.

python -m bench.tools.hot [cost | sample | profile | calls | native] [REQUESTS] [ROUNDS] [stream] [guarded] — `cost` prints CPU
microseconds a request of gateway and reference with their ratio, and what the guard adds, in turns; `sample` and `profile` the
functions that took most of it; `calls` how many functions a request calls, one caller at a time: a figure that no neighbour
moves; `guarded`: these with the guard on. CPU time is the process's own, so that neighbours on the machine move it less than a
clock would.
"""

from __future__ import annotations

import asyncio
import cProfile
import os
import pstats
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import orjson
import psutil

from bench.common import child, free_port, start_store, wait_for
from bench.tools.inside import served

CONCURRENCY = "16"
STARTS_S = 300.0
MODES = ("off", "observe")


class Hot:
    """A company, an upstream and a reference beside a gateway that is served from this process."""

    def __init__(self, stack: ExitStack) -> None:
        home = Path(tempfile.mkdtemp(prefix="sy-hot-", dir="/tmp"))
        stack.callback(shutil.rmtree, home, True)
        self.log = home / "children.log"
        store, store_url = start_store(stack, home)
        self.store = psutil.Process(store.pid)
        ports = [free_port() for _ in range(3)]
        upstream = f"http://127.0.0.1:{ports[0]}/v1"
        self.env = {
            "SWITCHYARD_HOME": str(home), "REDIS_URL": store_url, "SWITCHYARD_UPSTREAM_CIDRS": "127.0.0.0/8",
            "DJANGO_SETTINGS_MODULE": "switchyard.settings.dev", "BENCH_UPSTREAM": upstream, "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        os.environ.update(self.env)
        made = subprocess.run(
            [sys.executable, "-m", "bench.tools.company"],
            env=os.environ, capture_output=True, timeout=600, check=True,
        )  # fmt: skip
        self.keys: dict[str, str] = orjson.loads(made.stdout.splitlines()[-1])
        self.env |= {
            "REFERENCE_UPSTREAM": f"{upstream}/chat/completions",
            "REFERENCE_KEY": self.keys["plain"],
        }
        stack.enter_context(child("-m", "bench.tools.upstream", str(ports[0]), env=self.env, log=self.log))
        reference = stack.enter_context(
            child(
                "-m", "uvicorn", "bench.front_reference:application", "--port", str(ports[1]), "--host", "127.0.0.1",
                "--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning", "--ws", "none",
                "--no-server-header", env=self.env, log=self.log,
            )
        )  # fmt: skip
        wait_for(f"http://127.0.0.1:{ports[1]}/healthz", reference, STARTS_S)
        self.reference = psutil.Process(reference.pid)
        self.urls = {"gateway": self._chat(ports[2]), "reference": self._chat(ports[1])}
        self.port = ports[2]
        self.looked_at = "plain"  # whose requests are sampled, profiled and counted

    @staticmethod
    def _chat(port: int) -> str:
        return f"http://127.0.0.1:{port}/v1/chat/completions"

    async def load(
        self, url: str, key: str, requests: int, *mode: str, callers: str = CONCURRENCY
    ) -> dict[str, Any]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bench.tools.load", url, key, callers, str(requests), *mode,
            stdout=subprocess.PIPE,
        )  # fmt: skip
        out, _ = await process.communicate()
        told: dict[str, Any] = orjson.loads(out)
        if told["failed"]:
            raise RuntimeError(f"{told['failed']} of {requests} requests to {url} failed")
        return told

    async def gateway_us(self, key: str, requests: int, *mode: str) -> float:
        began, told = time.process_time(), os.times()
        await self.load(self.urls["gateway"], self.keys[key], requests, *mode)
        self.system_us = (os.times().system - told.system) * 1e6 / requests
        return (time.process_time() - began) * 1e6 / requests

    async def reference_us(self, requests: int, *mode: str) -> float:
        before = self.reference.cpu_times()
        await self.load(self.urls["reference"], self.keys["plain"], requests, *mode)
        after = self.reference.cpu_times()
        return (after.user + after.system - before.user - before.system) * 1e6 / requests

    def store_s(self) -> float:
        times = self.store.cpu_times()
        return float(times.user + times.system)


async def cost(hot: Hot, requests: int, rounds: int, *mode: str) -> None:
    rows: dict[str, list[float]] = {"gateway": [], "guarded": [], "reference": [], "valkey": [], "system": []}
    for number in range(rounds):
        for name in ("gateway", "reference", "guarded")[:: 1 if number % 2 else -1]:
            if name == "reference":
                rows[name].append(await hot.reference_us(requests, *mode))
                continue
            before = hot.store_s()
            rows[name].append(
                await hot.gateway_us("plain" if name == "gateway" else "guarded", requests, *mode)
            )
            if name == "gateway":
                rows["system"].append(hot.system_us)
                rows["valkey"].append((hot.store_s() - before) * 1e6 / requests)
    for name, values in rows.items():
        print(f"  {name:10} {statistics.median(values):8.1f} µs [{min(values):.1f} … {max(values):.1f}]")
    added = [g - p for g, p in zip(rows["guarded"], rows["gateway"], strict=True)]
    print(f"  {'guard adds':10} {statistics.median(added):8.1f} µs [{min(added):.1f} … {max(added):.1f}]")
    ratios = [g / r for g, r in zip(rows["gateway"], rows["reference"], strict=True)]
    print(f"  {'ratio':10} {statistics.median(ratios):8.2f} x  [{min(ratios):.2f} … {max(ratios):.2f}]")


async def profile(hot: Hot, requests: int, *mode: str) -> None:
    watch = cProfile.Profile(time.process_time)
    watch.enable()
    await hot.load(hot.urls["gateway"], hot.keys[hot.looked_at], requests, *mode)
    watch.disable()
    told = pstats.Stats(watch)
    for order in ("tottime", "cumulative"):
        told.sort_stats(order).print_stats(55)


async def calls(hot: Hot, requests: int, *mode: str) -> None:
    """Calls a request: of Python functions (each time a coroutine goes on counts as one) and of built-in ones."""
    watch = cProfile.Profile()
    watch.enable()
    await hot.load(hot.urls["gateway"], hot.keys[hot.looked_at], requests, *mode, callers="1")
    watch.disable()
    python: Counter[str] = Counter()
    built_in: Counter[str] = Counter()
    for entry in watch.getstats():
        if isinstance(entry.code, str):
            built_in[entry.code] += entry.callcount
        else:
            python[_named(entry.code)] += entry.callcount
    for title, counts in (("Python functions", python), ("built-in functions", built_in)):
        print(f"{counts.total() / requests:7.1f} calls of {title} a request")
        for name, count in counts.most_common(400):
            if count * 10 >= requests:
                print(f"  {count / requests:7.2f}  {name}")


def _named(code: CodeType) -> str:
    return f"{'/'.join(Path(code.co_filename).parts[-2:])}:{code.co_qualname}"


class Sampler:
    """Where the CPU time is spent, asked every millisecond of it: no function is made slower by being counted."""

    def __init__(self) -> None:
        self.own: Counter[str] = Counter()
        self.within: Counter[str] = Counter()
        self.count = 0

    def __enter__(self) -> Sampler:
        signal.signal(signal.SIGPROF, self._take)
        signal.setitimer(signal.ITIMER_PROF, 0.001, 0.001)
        return self

    def __exit__(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)

    def _take(self, _: int, frame: FrameType | None) -> None:
        self.count += 1
        seen: set[str] = set()
        while frame is not None:
            name = _named(frame.f_code)
            if not seen:
                self.own[name] += 1
            if name not in seen:
                self.within[name] += 1
            seen.add(name)
            frame = frame.f_back


async def sample(hot: Hot, requests: int, *mode: str) -> None:
    began = time.process_time()
    with Sampler() as sampler:
        await hot.load(hot.urls["gateway"], hot.keys[hot.looked_at], requests, *mode)
    each = (time.process_time() - began) * 1e6 / requests / max(1, sampler.count)
    for title, counts in (("of its own", sampler.own), ("with what it calls", sampler.within)):
        print(f"µs a request, {title}")
        for name, count in counts.most_common(70):
            print(f"  {count * each:7.1f}  {name}")


async def native(hot: Hot, requests: int, *mode: str) -> None:
    """Shares of this process's CPU time by library, and by function of it."""
    if shutil.which("perf") is None:
        raise SystemExit("perf isn't installed (Debian: apt install linux-perf).")
    with tempfile.NamedTemporaryFile(prefix="sy-perf-") as found:
        words = ["perf", "record", "-e", "cpu-clock", "-F", "2000", "-o", found.name, "-p", str(os.getpid())]
        watch = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        await asyncio.sleep(1)
        await hot.load(hot.urls["gateway"], hot.keys["plain"], requests, *mode)
        watch.send_signal(signal.SIGINT)
        await asyncio.to_thread(watch.wait, 30)
        for sort, most in (("dso", 15), ("dso,symbol", 40)):
            report = ["perf", "report", "-i", found.name, "--no-children", "--stdio", "--sort", sort]
            told = await asyncio.to_thread(subprocess.run, report, capture_output=True, text=True)
            lines = [line for line in told.stdout.splitlines() if line and not line.startswith("#")]
            print("\n".join(lines[:most]), end="\n\n")


async def serve(hot: Hot, words: list[str]) -> None:
    what, requests, rounds = words[0], int(words[1]), int(words[2])
    async with served(hot.port):
        mode = ("stream",) if "stream" in words[3:] else ()
        await hot.gateway_us("plain", 300, *mode)
        await hot.gateway_us("guarded", 300, *mode)
        await hot.reference_us(300, *mode)
        if "guarded" in words[3:]:
            hot.looked_at = "guarded"
        if what == "profile":
            await profile(hot, requests, *mode)
        elif what == "sample":
            await sample(hot, requests, *mode)
        elif what == "native":
            await native(hot, requests, *mode)
        elif what == "calls":
            await calls(hot, requests, *mode)
        else:
            await cost(hot, requests, rounds, *mode)


def main() -> None:
    import uvloop

    words = [*sys.argv[1:], *("cost", "2000", "3")[len(sys.argv) - 1 :]]
    with ExitStack() as stack:
        hot = Hot(stack)
        uvloop.run(serve(hot, words))


if __name__ == "__main__":
    main()
