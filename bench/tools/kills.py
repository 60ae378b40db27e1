"""Traffic while processes are killed: every answer that a client received whole must be in the ledger exactly once.

A stage of our own (bench/tools/stage.py), a client that writes down which answers it received whole, and a hand that kills -9
one process after another. Bounded in time. Alone, for an hour at a modest rate beside other work:

    nice -n 19 python -m bench.tools.kills 3600 --callers 2 --think 0.5 1.5 → a line a minute, JSON as the last line
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import psycopg

from bench.common import ROOT, commit
from bench.tools.stage import Stage, stage

KEPT = ROOT / "var" / "bench" / "ledger"  # figures of parts that were measured
VICTIMS = ("web", "consumer", "valkey", "postgres")
STREAMED = 0.4
SETTLE_S = 60.0
QUESTION = "Where is my parcel, and when will it arrive? I ordered two weeks ago. " * 11


@dataclass(frozen=True)
class Pace:
    """How busy it is: callers at a time, seconds between two calls of one, seconds between two kills."""

    callers: int = 8
    think_s: tuple[float, float] = (0.1, 0.5)
    pause_s: tuple[float, float] = (3.0, 8.0)


@dataclass
class Told:
    """What the client knows in the end."""

    whole: list[str] = field(default_factory=list)  # request ids of answers received to their last byte
    broken: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    def said(self) -> str:
        kills = ", ".join(f"{name} {count}" for name, count in sorted(self.kills.items()))
        return (
            f"{len(self.whole):,} answers received whole ({STREAMED:.0%} of the calls streamed) in {self.seconds:,.0f} s while "
            f"processes were killed -9 ({kills}); {self.broken:,} calls broke off"
        )


@dataclass(frozen=True)
class Books:
    """What the ledger says of it."""

    lost: int
    doubled: int
    extra: int  # attempts of calls that no client received whole: metered or estimated
    entries: int
    balance_nusd: int
    findings: list[str]


async def traffic(one: Stage, pace: Pace, told: Told, stop_at: float) -> None:
    """Callers side by side until time is up."""
    url = f"http://127.0.0.1:{one.ports['web']}/v1/chat/completions"
    dice = random.Random(7)
    timeout = aiohttp.ClientTimeout(total=30)
    headers = {"authorization": f"Bearer {one.key}"}
    async with aiohttp.ClientSession(timeout=timeout, headers=headers) as session:

        async def call() -> None:
            while time.monotonic() < stop_at:
                await asyncio.sleep(dice.uniform(*pace.think_s))
                try:
                    told.whole.append(await _ask(session, url, dice.random() < STREAMED))
                except (TimeoutError, aiohttp.ClientError, OSError):
                    told.broken += 1

        await asyncio.gather(*(call() for _ in range(pace.callers)))


async def _ask(session: aiohttp.ClientSession, url: str, streamed: bool) -> str:
    """The request id of an answer received to its last byte. Raises what broke it off."""
    body = {"model": "auto", "messages": [{"role": "user", "content": QUESTION}], "max_tokens": 256}
    async with session.post(url, json=body | ({"stream": True} if streamed else {})) as reply:
        payload = await reply.read()
        if reply.status != 200 or (streamed and not payload.rstrip().endswith(b"data: [DONE]")):
            raise aiohttp.ClientPayloadError("not whole")
        if streamed and b'"error"' in payload:
            raise aiohttp.ClientPayloadError("ended in an error")
        return reply.headers["x-request-id"]


async def hand(one: Stage, victims: tuple[str, ...], pace: Pace, told: Told, done: asyncio.Event) -> None:
    """Kill one after another, each brought back before the next."""
    dice = random.Random(11)
    while not done.is_set():
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(done.wait(), dice.uniform(*pace.pause_s))
            return
        name = dice.choice(victims)
        await asyncio.to_thread(one.kill, name)
        told.kills[name] += 1
        await asyncio.sleep(dice.uniform(0.1, 1.0))
        await asyncio.to_thread(one.start, name)


async def clock(told: Told, began: float, done: asyncio.Event) -> None:
    """A line a minute on standard error, so that somebody who waits an hour sees that it lives."""
    while not done.is_set():
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(done.wait(), 60)
            return
        told.seconds = time.monotonic() - began
        print(f"  {told.said()}", file=sys.stderr, flush=True)


async def run(one: Stage, victims: tuple[str, ...], *, pace: Pace = Pace(), limit_s: float = 600) -> Told:
    told, done, began = Told(), asyncio.Event(), time.monotonic()
    beside = [
        asyncio.create_task(hand(one, victims, pace, told, done)),
        asyncio.create_task(clock(told, began, done)),
    ]
    calling = asyncio.create_task(traffic(one, pace, told, began + limit_s))
    await asyncio.wait([calling, beside[0]], return_when=asyncio.FIRST_COMPLETED)  # a hand that fails ends it
    done.set()
    await asyncio.gather(*beside)
    await calling
    told.seconds = time.monotonic() - began
    return told


def settle(one: Stage) -> None:
    """Until the stream is empty and the spools were read again (the consumer looks every ten seconds)."""
    import redis

    store = redis.Redis(unix_socket_path=str(one.socket), socket_timeout=5)
    deadline, quiet = time.monotonic() + SETTLE_S, 0
    while time.monotonic() < deadline and quiet < 24:
        with contextlib.suppress(redis.RedisError):
            quiet = quiet + 1 if store.xlen("sy:usage") == 0 else 0
        time.sleep(0.5)
    store.close()


def read_books(one: Stage, told: Told) -> Books:
    """The ledger against what the client received."""
    with psycopg.connect(one.postgres.url) as connection:
        attempts: Mapping[str, int] = dict(
            connection.execute(
                "SELECT request_id, count(*) FROM costs_attempt WHERE NOT superseded AND status = 'ok' GROUP BY 1"
            ).fetchall()
        )
        booked: Mapping[str, int] = dict(
            connection.execute(
                "SELECT request_id, count(*) FROM costs_ledgerentry WHERE reverses_id IS NULL AND attempt IS NOT NULL GROUP BY 1"
            ).fetchall()
        )
        entries = connection.execute("SELECT count(*) FROM costs_ledgerentry").fetchone()
        total = connection.execute(
            "SELECT coalesce(sum(debit_nusd), 0) - coalesce(sum(credit_nusd), 0) FROM costs_accounthour"
        ).fetchone()
    whole = set(told.whole)
    lost = sum(1 for request in whole if attempts.get(request, 0) == 0 or booked.get(request, 0) == 0)
    doubled = sum(1 for request in whole if attempts.get(request, 0) > 1 or booked.get(request, 0) > 1)
    doubled += len(told.whole) - len(whole)
    rebuild = "from costs.tasks import rebuild_counters; rebuild_counters()"  # what the schedule does every five minutes
    subprocess.run(
        [sys.executable, "manage.py", "shell", "-c", rebuild],
        cwd=ROOT,
        env=one.env,
        timeout=600,
        check=True,
        capture_output=True,
    )
    checked = subprocess.run(
        [sys.executable, "manage.py", "verify_books", "--json"],
        cwd=ROOT,
        env=one.env,
        capture_output=True,
        timeout=600,
    )
    findings = orjson.loads(checked.stdout or b"[]") if checked.stdout else [checked.stderr.decode()[-300:]]
    assert entries is not None and total is not None
    extra = len(set(attempts) - whole)
    return Books(lost, doubled, extra, int(entries[0]), int(total[0]), findings)


def measure(place: Path, limit_s: float, pace: Pace) -> dict[str, Any]:
    """The whole of it: a stage at `place`, traffic and kills for so long, then the books; as JSON."""
    with stage(place, chunk_pause_s=0.01) as one:
        told = asyncio.run(run(one, VICTIMS, pace=pace, limit_s=limit_s))
        settle(one)
        books = asdict(read_books(one, told))
    return books | {
        "answers": len(told.whole), "broken": told.broken, "kills": dict(told.kills), "seconds": told.seconds,
        "how": told.said(),
    }  # fmt: skip


def main() -> None:
    words = argparse.ArgumentParser(description="Traffic while processes are killed -9, then the books.")
    words.add_argument("seconds", type=float)
    words.add_argument("--callers", type=int, default=8)
    words.add_argument("--think", type=float, nargs=2, default=Pace.think_s, metavar=("LEAST", "MOST"))
    words.add_argument("--pause", type=float, nargs=2, default=Pace.pause_s, metavar=("LEAST", "MOST"))
    words.add_argument("--keep", action="store_true", help=f"Also write it where bench.ledger looks: {KEPT}")
    said = words.parse_args()
    pace = Pace(said.callers, tuple(said.think), tuple(said.pause))
    with tempfile.TemporaryDirectory(prefix="sy-kills-") as folder:
        found = measure(Path(folder), said.seconds, pace)
    if said.keep:
        KEPT.mkdir(parents=True, exist_ok=True)
        (KEPT / "kills.json").write_text(json.dumps(found | {"commit": commit()}))
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "switchyard.settings.dev")
    main()
