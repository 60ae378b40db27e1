"""Where the web process's memory is, while it answers the soak's mix as fast as it can: what Python holds, what malloc holds and
gives nobody, what the kernel calls resident, and which types grew in number.

    python -m bench.tools.gateway_memory [REQUESTS] [STEPS] [trace]
    python -m bench.tools.gateway_memory [REQUESTS] cycles [KIND …]

The gateway is served from this process, so that it can be looked into; callers, upstream, store and ledger are others. `trace`
adds the lines that allocated what is there at the end and wasn't after the first step (tracemalloc: it makes everything slower
and larger). `cycles` asks so many of each kind and counts what only the collector could free: it waits, and takes time to find.
Nothing here is a timing, and nothing is a row of record.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import re
import subprocess
import sys
import tempfile
import tracemalloc
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import orjson

from bench.common import child, free_port, workplace
from bench.tools.gateway_soak import MIX, Caller, Ground, Soak, slope
from bench.tools.gateway_stage import rss_kib
from bench.tools.inside import served

CONCURRENCY = 16
FRAMES, LINES, TYPES = 6, 12, 12


class Mallinfo2(ctypes.Structure):
    """glibc's: bytes in arenas, taken by mmap, in use, free."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")
    ]  # fmt: skip


@dataclass(frozen=True)
class Look:
    """KiB, except `objects`: those that the collector knows of, without what was frozen at the start; with those that nobody
    holds any more and that it hasn't found yet. `collections`: of the young, the middle, all."""

    requests: int
    resident: float
    in_use: float  # of malloc
    idle: float  # malloc's, given to nobody
    arenas: float  # Python's own, of a mebibyte each
    blocks: int  # that Python's allocator has given out
    objects: int
    collections: tuple[int, ...]


def look(libc: ctypes.CDLL, requests: int) -> Look:
    told: Mallinfo2 = libc.mallinfo2()
    return Look(
        requests, rss_kib(os.getpid()), (told.uordblks + told.hblkhd) / 1024, told.fordblks / 1024, _arenas_kib(),
        sys.getallocatedblocks(), len(gc.get_objects()), tuple(each["collections"] for each in gc.get_stats()),
    )  # fmt: skip


def _arenas_kib() -> float:
    """As Python's own statistics tell it; they go to the second channel only."""
    with tempfile.TemporaryFile() as heard:
        kept = os.dup(2)
        os.dup2(heard.fileno(), 2)
        try:
            sys._debugmallocstats()
        finally:
            os.dup2(kept, 2)
            os.close(kept)
        heard.seek(0)
        told = re.search(rb"(\d+) arenas \* (\d+) bytes/arena", heard.read())
    return int(told[1]) * int(told[2]) / 1024 if told else 0.0


def kinds() -> Counter[str]:
    return Counter(f"{type(each).__module__}.{type(each).__qualname__}" for each in gc.get_objects())


async def ask(base: str, keys: dict[str, str], requests: int, seed: int, kind: str) -> None:
    """The soak's mix, or one kind of it, sixteen at a time."""
    told = Soak()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
        caller = Caller(session, base, keys, told)
        caller.draw.seed(seed)

        async def one_after_the_other() -> None:
            while told.asked < requests:
                await caller.one(kind)

        await asyncio.gather(*(one_after_the_other() for _ in range(CONCURRENCY)))
    print(orjson.dumps(told.statuses).decode(), file=sys.stderr)


async def _asked(
    base: str, keys: dict[str, str], requests: int, seed: int, log: Path, kind: str = ""
) -> None:
    words = ("ask", base, orjson.dumps(keys).decode(), str(requests), str(seed), kind)
    with log.open("ab") as heard:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "bench.tools.gateway_memory",
            *words,
            stdout=subprocess.DEVNULL,
            stderr=heard,
        )
        if await process.wait():
            raise RuntimeError(f"The callers ended with {process.returncode}; see {log}.")


async def cycles(base: str, keys: dict[str, str], requests: int, log: Path, only: set[str]) -> None:
    """What only the collector can free, by the kind of request that left it."""
    await _asked(base, keys, requests, 0, log)
    gc.disable()
    for number, kind in enumerate(kind for kind in MIX if not only or kind in only):
        gc.collect()
        await _asked(base, keys, requests, number, log, kind)
        await asyncio.sleep(2.0)
        gc.set_debug(gc.DEBUG_SAVEALL)
        found = gc.collect()
        gc.set_debug(0)
        named = Counter(_name(each) for each in gc.garbage)
        gc.garbage.clear()
        most = ", ".join(f"{name} {count / requests:.1f}" for name, count in named.most_common(TYPES))
        print(f"{kind:12} {found / requests:7.1f} a request: {most}", flush=True)


def _name(thing: object) -> str:
    kind = type(thing)
    code = (
        getattr(thing, "__code__", None) or getattr(thing, "cr_code", None) or getattr(thing, "f_code", None)
    )
    return f"{kind.__module__}.{kind.__qualname__}" + (f"({code.co_qualname})" if code else "")


async def work(words: list[str], keys: dict[str, str], log: Path) -> None:
    numbers = [int(word) for word in words if word.isdigit()]
    requests, steps = (*numbers, *(40_000, 10)[len(numbers) :])
    async with served(free_port()) as base:
        if "cycles" in words:
            await cycles(base, keys, numbers[0] if numbers else 200, log, set(MIX) & set(words))
        else:
            await watch(base, keys, requests, steps, log, "trace" in words)


async def watch(base: str, keys: dict[str, str], requests: int, steps: int, log: Path, traced: bool) -> None:
    libc = ctypes.CDLL("libc.so.6")
    libc.mallinfo2.restype = Mallinfo2
    step, looks = requests // steps, []
    for number in range(steps):
        await _asked(base, keys, step, number, log)
        await asyncio.sleep(2.0)
        looks.append(look(libc, (number + 1) * step))
        tell(looks[-1])
        if not number:
            gc.collect()
            before = kinds()
            if traced:
                tracemalloc.start(FRAMES)
                first = tracemalloc.take_snapshot()
    print(f"a collection finds {gc.collect()}")
    tell(look(libc, requests))
    grown = kinds() - before
    print("grew in number: " + ", ".join(f"{name} {more:+d}" for name, more in grown.most_common(TYPES)))
    if traced:
        for line in tracemalloc.take_snapshot().compare_to(first, "traceback")[:LINES]:
            print(
                f"{line.size_diff / 1024:+.1f} KiB in {line.count_diff:+d}\n  "
                + "\n  ".join(line.traceback.format()[-6:])
            )
    verdict(looks)
    libc.malloc_trim(0)
    print("after malloc_trim:")
    tell(look(libc, requests))


def tell(one: Look) -> None:
    print(f"{one.requests:8d}  resident {one.resident:9.0f}  malloc in use {one.in_use:8.0f} idle {one.idle:8.0f}  "
          f"arenas {one.arenas:8.0f}  blocks {one.blocks:8d}  objects {one.objects:7d}  "
          f"collections {one.collections}", flush=True)  # fmt: skip


def verdict(looks: list[Look]) -> None:
    """KiB a thousand requests, of the first half and of the second: what levels off has a smaller second one."""
    half = len(looks) // 2
    for name in ("resident", "in_use", "idle", "arenas", "blocks", "objects"):
        slopes = [
            slope([(each.requests / 1000, float(getattr(each, name))) for each in part])
            for part in (looks[:half], looks[half:])
            if len(part) > 1
        ]
        print(f"  {name:9} a thousand requests: " + ", then ".join(f"{each:+.2f}" for each in slopes))


def main(words: list[str]) -> None:
    import uvloop

    if words[:1] == ["ask"]:
        asyncio.run(ask(words[1], orjson.loads(words[2]), int(words[3]), int(words[4]), words[5]))
        return
    with workplace("sy-memory-") as home, ExitStack() as stack:
        ground = Ground.under(stack, home)
        stack.enter_context(child("manage.py", "consume_usage", env=ground.env, log=ground.log))
        os.environ |= ground.env
        uvloop.run(work(words, ground.keys, ground.log))


if __name__ == "__main__":
    main(sys.argv[1:])
