"""What the longest waits are made of, at a rate that the gateway can bear: how long its event loop didn't come round, and what it
did meanwhile.

    python -m bench.tools.gateway_tails [RATE, or 0 for 70 % of the most] [SECONDS] [ROUNDS]

The gateway is served from this process. A timer of two milliseconds tells when the loop was late; the kernel tells how much of
that the thread worked, and how much it waited for a processor (schedstat); what is left, another thread held the interpreter or
the thread slept. The bare upstream gets the same rate in each round: it shows what is the generator's and the machine's. Figures
of a busy machine say which part is whose, not how long it is elsewhere.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import orjson

from bench.common import child
from bench.tools.gateway_stage import percentile
from bench.tools.hot import Hot
from bench.tools.inside import served

EVERY_S, LATE_S = 0.002, 0.003
SATURATION, SHARE, CONNECTIONS = 4_000, 0.7, "256"
TOLD = 14


@dataclass(frozen=True)
class Stall:
    """Seconds in which the loop didn't come round: worked, waited for a processor, and collected garbage (part of the work)."""

    at: float
    lasted: float
    worked: float
    queued: float
    collected: float
    doing: tuple[str, ...]  # what was going on at each millisecond of work


class Watch:
    """Between `begin` and `end`, in the thread of the loop."""

    def __init__(self) -> None:
        self.stalls: list[Stall] = []
        self._doing: deque[tuple[float, str]] = deque(maxlen=2_000)
        self._collected, self._collecting = 0.0, 0.0
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        self._stat = Path(f"/proc/self/task/{threading.get_native_id()}/schedstat")
        gc.callbacks.append(self._collector)
        signal.signal(signal.SIGPROF, self._sample)
        signal.setitimer(signal.ITIMER_PROF, 0.001, 0.001)
        self._look()

    def end(self) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        gc.callbacks.remove(self._collector)
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        self._before = self._told()
        self._timer = asyncio.get_running_loop().call_later(EVERY_S, self._late)

    def _told(self) -> tuple[float, float, float, float]:
        ran, queued, _ = self._stat.read_text().split()
        return time.perf_counter(), int(ran) / 1e9, int(queued) / 1e9, self._collected

    def _late(self) -> None:
        before, after = self._before, self._told()
        lasted = after[0] - before[0]
        if lasted - EVERY_S > LATE_S:
            worked, queued, collected = (b - a for a, b in zip(before[1:], after[1:], strict=True))
            doing = tuple(name for at, name in self._doing.copy() if at >= before[0])
            self.stalls.append(Stall(before[0], lasted, worked, queued, collected, doing))
        self._look()

    def _collector(self, phase: str, _: dict[str, int]) -> None:
        if phase == "start":
            self._collecting = time.perf_counter()
        else:
            self._collected += time.perf_counter() - self._collecting

    def _sample(self, _: int, frame: FrameType | None) -> None:
        names = []
        while frame is not None:
            code = frame.f_code
            if "site-packages" not in code.co_filename and "bench/tools" not in code.co_filename:
                names.append(f"{'/'.join(Path(code.co_filename).parts[-2:])}:{code.co_qualname}")
            frame = frame.f_back
        self._doing.append((time.perf_counter(), " < ".join(names[:3])))


def tell(watch: Watch, seconds: float) -> None:
    stalls = watch.stalls
    print(f"  the loop was late {len(stalls)} times in {seconds:.0f} s")
    for least in (0.003, 0.01, 0.025, 0.05):
        some = [s for s in stalls if s.lasted - EVERY_S >= least]
        total = {
            name: sum(getattr(s, name) for s in some) for name in ("lasted", "worked", "queued", "collected")
        }
        rest = total["lasted"] - total["worked"] - total["queued"]
        print(f"    by {1000 * least:3.0f} ms and more: {len(some):5d}, {1000 * total['lasted']:8.0f} ms in all: "
              f"worked {1000 * total['worked']:7.0f} (collecting {1000 * total['collected']:5.0f}), "
              f"waited for a processor {1000 * total['queued']:7.0f}, else {1000 * rest:6.0f}")  # fmt: skip
    for name, pick in (("worked", lambda s: s.worked), ("else", lambda s: s.lasted - s.worked - s.queued)):
        longest = sorted(stalls, key=pick, reverse=True)[:TOLD]
        print(f"  longest by {name}: " + ", ".join(f"{1000 * pick(s):.0f}" for s in longest) + " ms")
        doing = Counter(what for s in longest for what in s.doing)
        for what, count in doing.most_common(TOLD):
            print(f"    {count:4d}  {what}")


async def load(url: str, key: str, connections: str, requests: int, *mode: str) -> dict[str, Any]:
    words = ("-m", "bench.tools.load", url, key, connections, str(requests), *mode)
    process = await asyncio.create_subprocess_exec(sys.executable, *words, stdout=subprocess.PIPE)
    out, _ = await process.communicate()
    told: dict[str, Any] = orjson.loads(out)
    if told["failed"]:
        raise RuntimeError(f"{told['failed']} of {requests} requests to {url} failed: {told['statuses']}")
    return told


async def round_of(hot: Hot, rate: float, seconds: float) -> dict[str, Any]:
    """Latencies in ms by name of the target, at the same rate."""
    requests, told = int(rate * seconds), {}
    upstream = hot.env["BENCH_UPSTREAM"] + "/chat/completions"
    for name, url in (("bare", upstream), ("gateway", hot.urls["gateway"])):
        watch = Watch()
        if name == "gateway":
            watch.begin()
        given = await load(url, hot.keys["plain"], CONNECTIONS, requests, f"rate={rate:.1f}")
        if name == "gateway":
            watch.end()
            tell(watch, seconds)
        told[name] = given["latencies_ms"]
        await asyncio.sleep(3)
    for name, latencies in told.items():
        print(
            f"  {name:8}"
            + "".join(f"  p{100 * p:g} {percentile(latencies, p):7.1f}" for p in (0.5, 0.99, 0.999))
            + " ms"
        )
    return told


async def serve(hot: Hot, rate: float, seconds: float, rounds: int) -> None:
    async with served(hot.port):
        await load(hot.urls["gateway"], hot.keys["plain"], "64", 1_000)
        if not rate:
            began = time.perf_counter()
            await load(hot.urls["gateway"], hot.keys["plain"], "64", SATURATION)
            rate = SHARE * SATURATION / (time.perf_counter() - began)
        print(f"{rate:.0f} requests a second")
        for _ in range(rounds):
            await round_of(hot, rate, seconds)


def main(words: list[str]) -> None:
    import uvloop

    rate, seconds, rounds = (float(word) for word in (*words, *("0", "12", "3")[len(words) :]))
    with ExitStack() as stack:
        hot = Hot(stack)
        stack.enter_context(child("manage.py", "consume_usage", env=hot.env, log=hot.log))
        uvloop.run(serve(hot, rate, seconds, int(rounds)))


if __name__ == "__main__":
    main(sys.argv[1:])
