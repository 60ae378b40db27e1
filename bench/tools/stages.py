"""What each stage of a request costs by itself: CPU microseconds and objects left to the collector, without any network.

python -m bench.tools.stages [REPEATS] — the company of bench.tools.company, a store and an upstream that answer at once; one row
a stage of the path, in its order. CPU time of this process, best of five series, so that neighbours disturb it little.
"""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson

from bench.tools.load import request_bytes
from bench.tools.upstream import PLAIN

SERIES = 5


async def measured(work: Callable[[], Any], repeats: int) -> tuple[float, float]:
    """(µs, tracked objects made) of one call; what it gives is awaited when it can be."""
    best, made = 1e9, 0
    for _ in range(SERIES):
        gc.collect()
        gc.disable()
        before, began = gc.get_count()[0], time.process_time()
        for _ in range(repeats):
            given = work()
            if isinstance(given, Awaitable):
                await given
        took = time.process_time() - began
        made = gc.get_count()[0] - before
        gc.enable()
        best = min(best, took)
    return best * 1e6 / repeats, made / repeats


class Stages:
    """One request taken as far as the stage that is measured."""

    def __init__(self, key: str) -> None:
        from django.conf import settings

        from costs.spool import Spool
        from switchyard.gateway.desk import Office
        from switchyard.gateway.keys import KeyRing
        from switchyard.gateway.snapshot import SnapshotKeeper

        self.keeper = SnapshotKeeper()
        self.keeper.load()
        self.office = Office()
        self.ring = KeyRing()
        self.header = f"Bearer {key}".encode()
        self.raw = request_bytes("http://h/v1/chat/completions", key, False).partition(b"\r\n\r\n")[2]
        self.spool = Spool(Path(settings.HOME) / "spool-of-stages")

    async def open(self) -> None:
        await self.office.open()
        await self.office.upstream.close()
        self.key = self.ring.authenticate(self.header, self.keeper.world)
        self.world = self.keeper.world.organisations[self.key.organisation_id]

    def parse(self) -> Any:
        from routing.intake.parsing import parse
        from switchyard.core.clock import now_ns
        from switchyard.core.ids import new_id
        from switchyard.gateway.bodies import decode

        request_id = new_id("req")
        return parse(
            endpoint="chat/completions", raw=self.raw, body=decode(self.raw, 64), headers={b"host": b"h"}, key=self.key,
            world=self.world, request_id=request_id, decision_id="dec_" + request_id[4:], received_ns=now_ns(),
        )  # fmt: skip

    def run(self) -> Any:
        from routing.execution.deadlines import Deadline
        from routing.run import Run

        run = Run(self.request, self.world, Deadline(60))
        run.guard = self.office.desk.guard_for(self.world.lobs[self.key.lob])
        run.facts = self.facts
        return run


async def stages(key: str, repeats: int) -> None:
    from routing import pipeline
    from routing.execution.base import Reply
    from switchyard.gateway import metrics
    from switchyard.gateway.replies import encode_headers, run_headers

    told = await asyncio.to_thread(Stages, key)
    await told.open()
    desk, upstream = told.office.desk, told.office.upstream
    head, _, answer = PLAIN.partition(b"\r\n\r\n")

    async def at_once(*_: Any, **__: Any) -> Reply:
        return Reply(200, {"content-type": "application/json", "x-accelerator-ns": "1000000"}, answer)

    upstream.whole = at_once  # type: ignore[method-assign]
    told.request = told.parse()  # type: ignore[attr-defined]
    told.facts = desk.inspect(told.request, told.world, desk.live)  # type: ignore[attr-defined]

    async def row(name: str, work: Callable[[], Any], less: float = 0.0) -> float:
        us, made = await measured(work, repeats)
        print(f"  {name:34} {us - less:8.2f} µs {made:7.1f} objects", flush=True)
        return us

    await row("authenticate", lambda: told.ring.authenticate(told.header, told.keeper.world))
    await row("parse", told.parse)
    await row("inspect", lambda: desk.inspect(told.request, told.world, desk.live))
    made = await row("run and guard", told.run)

    def decided() -> Any:
        run = told.run()
        pipeline.decide(run)
        return run

    until = await row("decide", decided, made)
    whole = decided()
    await row("checkpoint", lambda: desk.meter.checkpoint(whole))

    async def admitted() -> Any:
        run = decided()
        await pipeline.admit(run, desk)
        return run

    async def given_back() -> None:
        run = await admitted()
        await desk.admission.release(run.request.request_id)

    await row("admit and give back (one at a time)", given_back, until)
    whole.grant = (await admitted()).grant

    async def executed() -> Any:
        run = whole
        run.attempts.clear()
        run.outcomes.clear()
        return await desk.executor.whole(run)

    await row("execute (no network)", executed)
    completion = await executed()
    await row("event", lambda: desk.meter.event(whole))

    async def settled() -> None:
        whole.settled = False
        await desk.meter.finish(whole)

    await row("meter (event, spool, settle)", settled)
    await row("guard", lambda: pipeline._guarded(whole, completion))
    await row("headers", lambda: encode_headers(run_headers(whole, with_cost=True)))
    await row("body", lambda: orjson.dumps(completion.payload))
    await row("metrics", lambda: metrics.observe(whole))
    await told.office.close()


def main() -> None:
    from switchyard.supervisor import valkey

    home = Path(tempfile.mkdtemp(prefix="sy-stages-", dir="/tmp"))
    (home / "valkey").mkdir()
    store = subprocess.Popen(valkey.command(home / "v.sock", home / "valkey"), stdout=subprocess.DEVNULL)
    try:
        os.environ |= {
            "SWITCHYARD_HOME": str(home), "REDIS_URL": f"unix://{home}/v.sock", "BENCH_UPSTREAM": "http://127.0.0.1:9/v1",
            "DJANGO_SETTINGS_MODULE": "switchyard.settings.dev", "SWITCHYARD_UPSTREAM_CIDRS": "127.0.0.0/8",
        }  # fmt: skip
        made = subprocess.run(
            [sys.executable, "-m", "bench.tools.company"], capture_output=True, timeout=600, check=True
        )
        import django
        import uvloop

        django.setup()
        key = orjson.loads(made.stdout.splitlines()[-1])["plain"]
        uvloop.run(stages(key, int(sys.argv[1]) if len(sys.argv) > 1 else 1000))
    finally:
        store.terminate()
        store.wait(10)
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main()
