"""What half an hour of mixed traffic does to the gateway's memory: answers, streams, guards, idempotency keys, other dialects,
look-ups, refusals, callers who hang up, and an upstream that fails now and then.

    python -m bench.tools.gateway_soak [MINUTES] [REQUESTS_A_SECOND]

measures and keeps the rows in bench/results/gateway/soak.json, from where `bench.gateway` takes them; without that file it runs
three minutes itself. Bounded in time and in requests; nothing here is a timing.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from bench.common import RESULTS, Results, Row, child, commit, free_port, start_store, wait_for, workplace
from bench.tools.gateway_stage import rss_kib, web_process

KEPT = RESULTS / "gateway" / "soak.json"
MINUTES, RPS = 30.0, 20.0
SHORT_MINUTES = 3.0
SAMPLES, WARM = 60, 0.25  # looks at the memory, and the share of the time before the first that counts
SEED = 7
QUESTION = "Where is my parcel, and when will it arrive? I ordered two weeks ago. " * 11
# What may be asked and how often; every name is a method of Caller.
MIX = {
    "plain": 40, "guarded": 12, "stream": 12, "hung_up": 6, "idempotent": 5, "messages": 5, "responses": 3, "decision": 5,
    "feedback": 3, "flooding": 5, "no_json": 1, "no_model": 1, "no_key": 1, "deep": 1,
}  # fmt: skip
# What callers may be told while the upstream fails; 529 is 503 in Anthropic's words.
EXPECTED = {200, 400, 401, 404, 409, 429, 502, 503, 504, 529}


@dataclass
class Soak:
    """What was asked, how it went, and what the processes weighed: (seconds, requests so far, KiB) a look."""

    statuses: Counter[str] = field(default_factory=Counter)
    sizes: dict[str, list[tuple[float, int, float]]] = field(default_factory=dict)
    asked: int = 0


class Caller:
    def __init__(self, session: aiohttp.ClientSession, base: str, keys: dict[str, str], told: Soak) -> None:
        self.session, self.base, self.keys, self.told = session, base, keys, told
        self.draw = random.Random(SEED)
        self.last = ""  # a decision that may be asked for

    async def one(self, kind: str = "") -> None:
        kind = kind or self.draw.choices(list(MIX), list(MIX.values()))[0]
        self.told.asked += 1
        try:
            status = await getattr(self, kind)()
        except (aiohttp.ClientError, TimeoutError) as error:
            status = type(error).__name__
        self.told.statuses[f"{kind} {status}"] += 1

    async def _ask(
        self, path: str, body: Any, key: str = "plain", *, cut: bool = False, **headers: str
    ) -> int | str:
        data = body if isinstance(body, bytes) else orjson.dumps(body)
        with_key = {"authorization": f"Bearer {self.keys.get(key, key)}", "content-type": "application/json"}
        async with self.session.post(self.base + path, data=data, headers=with_key | headers) as reply:
            if cut and reply.status == 200:
                await reply.content.readany()
                reply.close()
                return "cut"
            await reply.read()
            if key == "plain":
                self.last = reply.headers.get("x-switchyard-decision-id", self.last)
            return reply.status

    def _chat(self, **more: Any) -> dict[str, Any]:
        text = f"{QUESTION} {self.draw.random()}"
        return {"model": "auto", "messages": [{"role": "user", "content": text}], "max_tokens": 256, **more}

    async def plain(self) -> int | str:
        return await self._ask("/v1/chat/completions", self._chat())

    async def guarded(self) -> int | str:
        return await self._ask("/v1/chat/completions", self._chat(stream=self.draw.random() < 0.3), "guarded")

    async def stream(self) -> int | str:
        return await self._ask(
            "/v1/chat/completions", self._chat(stream=True, stream_options={"include_usage": True})
        )

    async def hung_up(self) -> int | str:
        return await self._ask("/v1/chat/completions", self._chat(stream=True), cut=True)

    async def idempotent(self) -> int | str:
        name = f"k{self.draw.randrange(2_000)}"
        return await self._ask("/v1/chat/completions", self._chat(), **{"idempotency-key": name})

    async def messages(self) -> int | str:
        return await self._ask("/v1/messages", self._chat(stream=self.draw.random() < 0.5))

    async def responses(self) -> int | str:
        return await self._ask("/v1/responses", {"model": "auto", "input": QUESTION, "store": False})

    async def decision(self) -> int | str:
        headers = {"authorization": f"Bearer {self.keys['plain']}"}
        async with self.session.get(
            f"{self.base}/v1/decisions/{self.last or 'none'}", headers=headers
        ) as reply:
            await reply.read()
            return reply.status

    async def feedback(self) -> int | str:
        return await self._ask("/v1/feedback", {"decision_id": self.last or "none", "correct": True})

    async def flooding(self) -> int | str:
        answers = [self._ask("/v1/chat/completions", self._chat(), "flooding") for _ in range(30)]
        return max(await asyncio.gather(*answers), key=str)

    async def no_json(self) -> int | str:
        return await self._ask("/v1/chat/completions", b'{"model": "auto", "mess')

    async def no_model(self) -> int | str:
        return await self._ask("/v1/chat/completions", self._chat(model=f"nobody-{self.draw.random()}"))

    async def no_key(self) -> int | str:
        return await self._ask("/v1/chat/completions", self._chat(), f"sy_live_{self.draw.random()}")

    async def deep(self) -> int | str:
        return await self._ask("/v1/chat/completions", b'{"a":' * 1_000 + b"1" + b"}" * 1_000)


@dataclass(frozen=True)
class Ground:
    """What a gateway stands on: a store, a company with keys, a moody upstream. `env` is for whatever else is started."""

    env: dict[str, str]
    keys: dict[str, str]
    store: subprocess.Popen[bytes]
    log: Path

    @classmethod
    def under(cls, stack: ExitStack, home: Path) -> Ground:
        """Started; it ends with `stack`."""
        store, store_url = start_store(stack, home)
        upstream_port, log = free_port(), home / "children.log"
        env = {
            "SWITCHYARD_HOME": str(home), "REDIS_URL": store_url, "SWITCHYARD_UPSTREAM_CIDRS": "127.0.0.0/8",
            "DJANGO_SETTINGS_MODULE": "switchyard.settings.dev", "OMP_NUM_THREADS": "1",
            "BENCH_UPSTREAM": f"http://127.0.0.1:{upstream_port}/v1",
        }  # fmt: skip
        with child("-m", "bench.tools.company", env=env, log=home / "company.json") as made:
            made.wait(600)
        keys: dict[str, str] = orjson.loads((home / "company.json").read_bytes().splitlines()[-1])
        words = ("-m", "bench.tools.moody_upstream", str(upstream_port))
        stack.enter_context(child(*words, env=env, log=log))
        return cls(env, keys, store, log)


@contextmanager
def stage(home: Path) -> Iterator[tuple[str, dict[str, str], dict[str, int]]]:
    """(base URL, keys, process ids) of a gateway with its store, ledger and moody upstream."""
    with ExitStack() as stack:
        ground, port = Ground.under(stack, home), free_port()
        web = stack.enter_context(web_process("switchyard.asgi", port, ground.env, ground.log))
        consumer = stack.enter_context(child("manage.py", "consume_usage", env=ground.env, log=ground.log))
        wait_for(f"http://127.0.0.1:{port}/readyz", web, 300)
        pids = {"web": web.pid, "valkey": ground.store.pid, "ledger": consumer.pid}
        yield f"http://127.0.0.1:{port}", ground.keys, pids


async def drive(base: str, keys: dict[str, str], pids: dict[str, int], seconds: float, rps: float) -> Soak:
    """Requests by the clock, whoever is still being answered; at most 64 at a time."""
    told = Soak(sizes={name: [] for name in pids})
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=64)) as session:
        caller, began, looks = Caller(session, base, keys, told), time.monotonic(), 0
        under_way: set[asyncio.Task[None]] = set()
        while (gone := time.monotonic() - began) < seconds:
            while told.asked + len(under_way) < gone * rps + 1 and len(under_way) < 64:
                task = asyncio.create_task(caller.one())
                under_way.add(task)
                task.add_done_callback(under_way.discard)
                await asyncio.sleep(0)
            if gone >= looks * seconds / SAMPLES:
                looks += 1
                for name, pid in pids.items():
                    told.sizes[name].append((gone, told.asked, rss_kib(pid)))
            await asyncio.sleep(0.02)
        await asyncio.gather(*under_way)
    return told


def slope(points: list[tuple[float, float]]) -> float:
    """Least squares."""
    n = len(points)
    mx, my = sum(x for x, _ in points) / n, sum(y for _, y in points) / n
    return sum((x - mx) * (y - my) for x, y in points) / sum((x - mx) ** 2 for x, _ in points)


def measure(results: Results, minutes: float, rps: float) -> None:
    with workplace("sy-soak-") as home, stage(home) as (base, keys, pids):
        told = asyncio.run(drive(base, keys, pids, minutes * 60, rps))
    report(results, told, minutes, rps)


def report(results: Results, told: Soak, minutes: float, rps: float) -> None:
    counting = {name: [p for p in sizes if p[0] >= WARM * minutes * 60] for name, sizes in told.sizes.items()}
    web = counting["web"]
    mix = ", ".join(f"{name} {share}" for name, share in MIX.items())
    how = (
        f"{told.asked} requests in {minutes:g} min at {rps:g} a second ({mix}, in hundredths) with an upstream that fails one "
        f"call in thirty; least squares over {len(web)} looks after the first quarter"
    )
    whole = minutes >= MINUTES
    results.add("soak_rss_slope_mib_per_h", [slope([(t / 3600, kib / 1024) for t, _, kib in web])], "MiB/h",
                f"resident size of the web process: {how}", at_most=1.0, judged=whole)  # fmt: skip
    results.add(
        "soak_rss_slope_kib_per_1k",
        [slope([(n / 1000, kib) for _, n, kib in web])],
        "KiB",
        "the same a thousand requests",
    )
    odd = {
        said: count for said, count in told.statuses.items()
        if not (said.endswith(" cut") or (said.rpartition(" ")[2].isdigit() and int(said.rpartition(" ")[2]) in EXPECTED))
    }  # fmt: skip
    results.add("soak_unexpected_answers", [float(sum(odd.values()))], "",
                f"neither an answer nor a refusal in words: {odd or 'none'}; all: {dict(sorted(told.statuses.items()))}",
                at_most=0, judged=whole)  # fmt: skip
    for name, points in counting.items():
        results.add(f"soak_{name}_rss_mib", [points[0][2] / 1024, points[-1][2] / 1024], "MiB",
                    "resident size after the first quarter and at the end", control=True)  # fmt: skip


def keep(minutes: float, rps: float) -> None:
    results = Results("gateway")
    measure(results, minutes, rps)
    KEPT.parent.mkdir(parents=True, exist_ok=True)
    body = {"commit": commit(), "started": results.started, "rows": [asdict(row) for row in results.rows],
            "controls": [asdict(row) for row in results.controls]}  # fmt: skip
    KEPT.write_text(json.dumps(body, indent=1, ensure_ascii=False) + "\n")
    print(f"  → {KEPT}")


def rows(results: Results) -> None:
    """The rows that the long run kept, or those of three minutes."""
    if not KEPT.is_file():
        measure(results, SHORT_MINUTES, RPS)
        return
    kept = json.loads(KEPT.read_text("utf-8"))
    for kind, into in (("rows", results.rows), ("controls", results.controls)):
        for told in kept[kind]:
            into.append(Row(**told | {"how": f"{told['how']}; run at {kept['started']}, {kept['commit']}"}))


def main(words: list[str]) -> None:
    keep(float(words[0]) if words else MINUTES, float(words[1]) if len(words) > 1 else RPS)


if __name__ == "__main__":
    main(sys.argv[1:])
