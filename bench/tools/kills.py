"""Traffic while processes are killed: every answer that a client received whole must be in the ledger exactly once.

A stage of our own (Valkey, PostgreSQL with full durability, the bare upstream, the gateway, the ledger's consumer), a client
that writes down which answers it received whole, and a hand that kills -9 one process after another. Only processes
started here are killed, by their id. Bounded in requests and in time.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import orjson
import psycopg

from bench.common import ROOT, free_port
from bench.gateway import UVICORN
from switchyard.supervisor import valkey
from tests.fakes.postgres import PostgresServer

STREAMED = 0.4
PAUSE_S = (3.0, 8.0)  # between two kills
THINK_S = (0.1, 0.5)  # between two calls of a caller
SETTLE_S = 60.0
QUESTION = "Where is my parcel, and when will it arrive? I ordered two weeks ago. " * 11


@dataclass
class Told:
    """What the client knows in the end."""

    whole: list[str] = field(default_factory=list)  # request ids of answers received to their last byte
    broken: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0


@dataclass(frozen=True)
class Books:
    """What the ledger says of it."""

    lost: int
    doubled: int
    extra: int  # attempts of calls that no client received whole: metered or estimated
    entries: int
    balance_nusd: int
    findings: list[str]


class Stage:
    """The processes. `kill` ends one without warning, `start` brings it back."""

    def __init__(self, home: Path, chunk_pause_s: float) -> None:
        self.home, self.chunk_pause_s = home, chunk_pause_s
        self.log = home / "children.log"
        self.socket = home / "valkey.sock"
        self.postgres = PostgresServer(durable=True, shared_buffers="128MB")
        self.ports = {name: free_port() for name in ("upstream", "web")}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.env: dict[str, str] = {}
        self.key = ""

    def up(self) -> None:
        self.postgres.start()
        self.env = os.environ | {
            "SWITCHYARD_HOME": str(self.home), "REDIS_URL": f"unix://{self.socket}", "DATABASE_URL": self.postgres.url,
            "SWITCHYARD_UPSTREAM_CIDRS": "127.0.0.0/8", "DJANGO_SETTINGS_MODULE": "switchyard.settings.dev",
            "BENCH_UPSTREAM": f"http://127.0.0.1:{self.ports['upstream']}/v1", "OMP_NUM_THREADS": "1",
            "BENCH_CHUNK_PAUSE_S": str(self.chunk_pause_s), "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "platform")]),
        }  # fmt: skip
        (self.home / "valkey").mkdir()
        self.start("valkey")
        made = subprocess.run(
            [sys.executable, "-m", "bench.tools.company"],
            env=self.env,
            cwd=ROOT,
            capture_output=True,
            timeout=180,
        )
        if made.returncode:
            raise RuntimeError(made.stderr.decode()[-2000:])
        self.key = orjson.loads(made.stdout.splitlines()[-1])["plain"]
        for name in ("upstream", "consumer", "web"):
            self.start(name)

    def commands(self) -> dict[str, list[str]]:
        web = [
            sys.executable,
            "-m",
            "uvicorn",
            "switchyard.asgi:application",
            "--port",
            str(self.ports["web"]),
            *UVICORN,
        ]
        return {
            "valkey": valkey.command(self.socket, self.home / "valkey"),
            "upstream": [sys.executable, "-m", "bench.tools.upstream", str(self.ports["upstream"])],
            "web": web,
            "consumer": [sys.executable, "manage.py", "consume_usage"],
        }

    def start(self, name: str) -> None:
        if name == "postgres":
            self._again()
            return
        with self.log.open("ab") as log:
            self.processes[name] = subprocess.Popen(
                self.commands()[name], cwd=ROOT, env=self.env or None, stdout=log, stderr=log
            )
        if name == "valkey":
            _until(lambda: valkey.answers(self.socket), "Valkey")
        if name == "web":
            _until(self._ready, "the gateway", self.processes["web"])

    def _again(self) -> None:
        """The database after a crash: its old children must have let go of the memory first."""
        for _ in range(20):
            try:
                self.postgres.restart()
                return
            except RuntimeError:
                time.sleep(0.5)
        raise RuntimeError("PostgreSQL did not come back.")

    def _ready(self) -> bool:
        import urllib.error
        import urllib.request

        with contextlib.suppress(urllib.error.URLError, OSError):
            address = f"http://127.0.0.1:{self.ports['web']}/readyz"
            return urllib.request.urlopen(address, timeout=2).status == 200
        return False

    def kill(self, name: str) -> None:
        process = self.postgres.process if name == "postgres" else self.processes[name]
        assert process is not None
        process.send_signal(signal.SIGKILL)
        process.wait(20)

    def down(self) -> None:
        for name in ("web", "consumer", "upstream", "valkey"):
            process = self.processes.get(name)
            if process is not None and process.poll() is None:
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(10)
                if process.poll() is None:
                    process.kill()
                    process.wait(5)
        self.postgres.stop()


def _until(
    holds: Callable[[], bool], what: str, process: subprocess.Popen[bytes] | None = None, limit_s: float = 60
) -> None:
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        if process is not None and process.poll() is not None:
            raise RuntimeError(f"{what} ended with {process.returncode}.")
        if holds():
            return
        time.sleep(0.05)
    raise RuntimeError(f"{what} did not come up within {limit_s:g} s.")


@contextlib.contextmanager
def stage(home: Path, *, chunk_pause_s: float = 0.0) -> Iterator[Stage]:
    one = Stage(home, chunk_pause_s)
    try:
        one.up()
        yield one
    finally:
        one.down()


async def traffic(one: Stage, requests: int, callers: int, told: Told, stop_at: float) -> None:
    """`callers` at a time until `requests` answers came whole or time is up."""
    url = f"http://127.0.0.1:{one.ports['web']}/v1/chat/completions"
    dice = random.Random(7)
    timeout = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(
        timeout=timeout, headers={"authorization": f"Bearer {one.key}"}
    ) as session:

        async def call() -> None:
            while len(told.whole) < requests and time.monotonic() < stop_at:
                await asyncio.sleep(dice.uniform(*THINK_S))
                streamed = dice.random() < STREAMED
                body = {
                    "model": "auto",
                    "messages": [{"role": "user", "content": QUESTION}],
                    "max_tokens": 256,
                }
                try:
                    async with session.post(url, json=body | ({"stream": True} if streamed else {})) as reply:
                        payload = await reply.read()
                        if reply.status != 200 or (
                            streamed and not payload.rstrip().endswith(b"data: [DONE]")
                        ):
                            raise aiohttp.ClientPayloadError("not whole")
                        if streamed and b'"error"' in payload:
                            raise aiohttp.ClientPayloadError("ended in an error")
                        told.whole.append(reply.headers["x-request-id"])
                except (TimeoutError, aiohttp.ClientError, OSError):
                    told.broken += 1

        await asyncio.gather(*(call() for _ in range(callers)))


async def hand(one: Stage, victims: tuple[str, ...], told: Told, done: asyncio.Event) -> None:
    """Kill one after another, each brought back before the next."""
    dice = random.Random(11)
    while not done.is_set():
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(done.wait(), dice.uniform(*PAUSE_S))
            return
        name = dice.choice(victims)
        await asyncio.to_thread(one.kill, name)
        told.kills[name] += 1
        await asyncio.sleep(dice.uniform(0.1, 1.0))
        await asyncio.to_thread(one.start, name)


async def run(
    one: Stage, requests: int, victims: tuple[str, ...], *, callers: int = 8, limit_s: float = 600
) -> Told:
    told, done, began = Told(), asyncio.Event(), time.monotonic()
    killing = asyncio.create_task(hand(one, victims, told, done))
    await traffic(one, requests, callers, told, began + limit_s)
    done.set()
    await killing
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
        [sys.executable, "manage.py", "shell", "-c", rebuild], cwd=ROOT, env=one.env, timeout=120, check=True
    )
    checked = subprocess.run(
        [sys.executable, "manage.py", "verify_books", "--json"],
        cwd=ROOT,
        env=one.env,
        capture_output=True,
        timeout=120,
    )
    findings = orjson.loads(checked.stdout or b"[]") if checked.stdout else [checked.stderr.decode()[-300:]]
    assert entries is not None and total is not None
    extra = len(set(attempts) - whole)
    return Books(lost, doubled, extra, int(entries[0]), int(total[0]), findings)
