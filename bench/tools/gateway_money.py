"""Money under load: what a budget of one dollar lets through over three web processes, and what a kill loses.

`rows(results)` adds budget_overspend_usd and lost_settlements to the gateway's benchmark. Alone, printing the two:

    python -m bench.tools.gateway_money
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from bench.common import FULL, Results, child, free_port, start_store, wait_for, workplace

PROCESSES, CALLS = 3, 200
LIMIT_USD = 1.0
ROUNDS = int(os.environ.get("BENCH_MONEY_ROUNDS", "3"))
KILL_REQUESTS = 1500 if FULL else 400
KILL_S = 120.0
SETTLE_S = 40.0
# 800 bytes are reserved as 800 tokens; the upstream reports 180 in and 50 out: at these prices $0.0076 of $0.020 reserved.
QUESTION = "Where is my parcel? " * 40
PRICES = {"input_nusd_per_munit": 20 * 10**9, "output_nusd_per_munit": 80 * 10**9}
UVICORN = ("--host", "127.0.0.1", "--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning",
           "--ws", "none")  # fmt: skip


@dataclass
class Stage:
    """Three web processes on ports of their own over one Valkey and one database, and the ledger process."""

    home: Path
    env: dict[str, str]
    keys: dict[str, Any]
    ports: list[int]
    webs: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def url(self, i: int) -> str:
        return f"http://127.0.0.1:{self.ports[i % len(self.ports)]}/v1/chat/completions"

    def start(self, i: int) -> subprocess.Popen[bytes]:
        words = [
            sys.executable,
            "-m",
            "uvicorn",
            "switchyard.asgi:application",
            "--port",
            str(self.ports[i]),
            *UVICORN,
        ]
        log = (self.home / "children.log").open("ab")
        return subprocess.Popen(words, env={**os.environ, **self.env}, stdout=log, stderr=log)

    def told(self, *words: str) -> Any:
        """What the company's own script says, as JSON: it knows the database."""
        done = subprocess.run(
            [sys.executable, "-m", "bench.tools.gateway_money", *words], env={**os.environ, **self.env},
            capture_output=True, timeout=600,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(done.stderr.decode()[-2000:])
        return json.loads(done.stdout.splitlines()[-1])


@contextmanager
def stage(home: Path) -> Iterator[Stage]:
    from bench.common import ROOT

    with ExitStack() as stack:
        _, store_url = start_store(stack, home)
        upstream_port = free_port()
        env = {
            "SWITCHYARD_HOME": str(home), "REDIS_URL": store_url, "SWITCHYARD_UPSTREAM_CIDRS": "127.0.0.0/8",
            "DJANGO_SETTINGS_MODULE": "switchyard.settings.dev", "OMP_NUM_THREADS": "1", "PROCESSES": str(PROCESSES),
            "BENCH_UPSTREAM": f"http://127.0.0.1:{upstream_port}/v1", "BENCH_CHUNK_PAUSE_S": "0.01",
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "platform")]),
        }  # fmt: skip
        log = home / "children.log"
        found = Stage(home, env, {}, [free_port() for _ in range(PROCESSES)])
        found.keys = found.told("make")
        stack.enter_context(child("-m", "bench.tools.upstream", str(upstream_port), env=env, log=log))
        stack.enter_context(child("manage.py", "consume_usage", env=env, log=log))
        stack.callback(_end, found)
        for i in range(PROCESSES):
            found.webs.append(found.start(i))
        for port, web in zip(found.ports, found.webs, strict=True):
            wait_for(f"http://127.0.0.1:{port}/readyz", web, 400)
        yield found


def _end(found: Stage) -> None:
    for web in found.webs:
        web.terminate()
        try:
            web.wait(10)
        except subprocess.TimeoutExpired:
            web.kill()
            web.wait()


# ------------------------------------------------------------------------------------------------ the dollar
async def burst(found: Stage, key: str) -> Counter[int]:
    """CALLS at once over all processes; how many ended with which status."""
    statuses: Counter[int] = Counter()
    body = {"model": "auto", "messages": [{"role": "user", "content": QUESTION}], "max_tokens": 50}

    async def one(session: aiohttp.ClientSession, i: int) -> None:
        with suppress(aiohttp.ClientError):
            async with session.post(found.url(i), json=body | {"stream": i % 2 == 0}) as reply:
                await reply.read()
                statuses[reply.status] += 1

    headers = {"authorization": f"Bearer {key}"}
    async with aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(limit=CALLS)) as session:
        await asyncio.gather(*(one(session, i) for i in range(CALLS)))
    return statuses


def overspend(found: Stage, key: str, lob: str) -> tuple[float, float, int]:
    """(beyond the dollar, spent by the books in dollars, calls made): bursts until one is refused whole."""
    calls = 0
    for _ in range(8):
        statuses = asyncio.run(burst(found, key))
        calls += sum(statuses.values())
        if not statuses[200]:
            break
    deadline, spent = time.monotonic() + SETTLE_S, -1.0
    while time.monotonic() < deadline:  # the books are whole when two looks agree
        now = found.told("spent", lob)
        if now == spent:
            break
        spent = now
        time.sleep(2)
    return max(0.0, spent - LIMIT_USD), spent, calls


# ------------------------------------------------------------------------------------------------ the kill
async def killed(found: Stage, key: str, seed: int) -> list[str]:
    """Ids of the answers received whole while one web process after another is killed -9 and started again."""
    whole: list[str] = []
    left, until = KILL_REQUESTS, time.monotonic() + KILL_S
    draw = random.Random(seed)
    body = {"model": "auto", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 60}

    async def caller(session: aiohttp.ClientSession, number: int) -> None:
        nonlocal left
        while left > 0 and time.monotonic() < until:
            stream = draw.random() < 0.4
            with suppress(aiohttp.ClientError, TimeoutError, OSError):
                async with session.post(found.url(number + left), json=body | {"stream": stream}) as reply:
                    raw = await reply.read()
                    if reply.status == 200 and (not stream or raw.endswith(b"data: [DONE]\n\n")):
                        whole.append(reply.headers["x-request-id"])
                        left -= 1
            await asyncio.sleep(draw.uniform(0.005, 0.02))

    async def hand() -> None:
        for i in range(PROCESSES):
            await asyncio.sleep(1.0)
            found.webs[i].kill()
            found.webs[i].wait()
            found.webs[i] = found.start(i)

    headers = {"authorization": f"Bearer {key}"}
    async with aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=30)) as session:
        await asyncio.gather(hand(), *(caller(session, n) for n in range(12)))
    return whole


def lost(found: Stage, whole: list[str]) -> tuple[int, int]:
    """(whole answers that the books lack, those they hold twice), once spools were read or time is up."""
    (found.home / "whole.json").write_text(json.dumps(whole))
    deadline, missing, twice = time.monotonic() + SETTLE_S, len(whole), 0
    while time.monotonic() < deadline:
        missing, twice = found.told("missing")
        if not missing:
            break
        time.sleep(2)
    return missing, twice


def rows(results: Results) -> None:
    """budget_overspend_usd and lost_settlements, each over ROUNDS rounds on a stage of their own."""
    with workplace("sy-money-") as home, stage(home) as found:
        beyond, spent, calls = zip(
            *(overspend(found, found.keys[f"dollar{i}"], f"dollar{i}") for i in range(ROUNDS)),
            strict=True,
        )
        whole: list[str] = []
        gone: list[float] = []
        twice = 0
        for i in range(ROUNDS):
            part = asyncio.run(killed(found, found.keys["plain"], i))
            whole += part
            missing, doubled = lost(found, part)
            gone.append(missing + doubled)
            twice += doubled
    used = ", ".join(f"${value:.4f}" for value in spent)
    results.add(
        "budget_overspend_usd", list(beyond), "USD",
        f"{CALLS} calls at once, half of them streams, over {PROCESSES} processes against ${LIMIT_USD:.2f}, again until all are "
        f"refused ({sum(calls)} calls): the ledger's sum less the limit; spent {used}", at_most=0,
        judged=min(spent) > 0.9 * LIMIT_USD,  # a budget that nobody used proves nothing
    )  # fmt: skip
    results.add(
        "lost_settlements", gone, "",
        f"{len(whole)} answers received whole while {PROCESSES * ROUNDS} web processes were killed -9: those lacking or twice; "
        f"{twice} of them twice", at_most=0,
        judged=len(whole) >= ROUNDS * KILL_REQUESTS // 4,
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------ what knows the database
def make() -> dict[str, str]:
    """The benchmark's company, and three lines of business with a dollar each."""
    from bench.tools import company
    from costs.models import Price
    from tests import factories

    keys = company.make()
    Price.objects.all().update(**PRICES)
    from switchyard.tenancy.models import Organisation

    organisation = Organisation.objects.get(slug="bench")
    for i in range(ROUNDS):
        lob = factories.make_lob(organisation, f"dollar{i}", guard_mode="off")
        _, keys[f"dollar{i}"] = factories.make_key(factories.make_application(lob))
        factories.make_workload(lob, f"chatter-dollar{i}", task="chat", tier="edge")
        factories.make_budget(
            organisation, f"lob:dollar{i}", usd=str(LIMIT_USD), period="total", action="stop"
        )
    return keys


def spent_usd(lob: str) -> float:
    from django.db.models import Sum

    from costs.models import LedgerEntry

    found = LedgerEntry.objects.filter(lob=lob, debit__startswith="expense:").aggregate(
        all=Sum("amount_nusd")
    )["all"]
    return (found or 0) / 10**9


def missing() -> tuple[int, int]:
    from django.conf import settings

    from costs.models import Attempt

    whole = json.loads((Path(settings.HOME) / "whole.json").read_text())
    held: Counter[str] = Counter()
    for start in range(0, len(whole), 500):
        some = Attempt.objects.filter(
            request_id__in=whole[start : start + 500], superseded=False, answered=True
        )
        held.update(some.values_list("request_id", flat=True))
    return sum(1 for name in whole if not held[name]), sum(1 for count in held.values() if count > 1)


def main(words: list[str]) -> None:
    if not words:
        results = Results("gateway")
        rows(results)
        for row in results.rows:
            print(f"  {row.metric}: met={row.met}: {row.how}")
        return
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "switchyard.settings.dev")
    import django

    django.setup()
    asked: dict[str, Any] = {"make": make, "missing": missing, "spent": lambda: spent_usd(words[1])}
    print(json.dumps(asked[words[0]]()))


if __name__ == "__main__":
    main(sys.argv[1:])
