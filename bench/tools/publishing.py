"""Several gateway processes under load while versions are published and rolled back: when is each on the new one, and did any
request fail?

`watched(home, processes, rounds)` starts a store, an upstream, that many web processes on one database, callers for each of
them, and a publisher in a process of its own; the clock is the machine's monotonic one, from the publisher's commit to the
first response of a process that names the new version.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from bench.common import ROOT, child, free_port, start_store, wait_for
from bench.tools.gateway_stage import web_process

VERSION = "x-switchyard-policy-version"
CALLERS = 3  # connections to each process
PAUSE_S = 0.01
WAIT_S = 6.0  # for a version that never comes


@dataclass
class Seen:
    """What callers of one process saw: version → monotonic seconds of its first response; failures with their words."""

    first: dict[str, float] = field(default_factory=dict)
    latest: str = ""
    requests: int = 0
    failures: list[str] = field(default_factory=list)
    nameless: int = 0  # responses that did not say their version


@dataclass(frozen=True)
class Published:
    """Seconds from each commit until every process had answered with it; and what the callers saw meanwhile."""

    seconds: list[float]
    requests: int
    failures: list[str]
    nameless: int
    went_back: int  # responses of an older version after the newer one had answered in the same process


def watched(processes: int = 3, rounds: int = 6) -> Published:
    """`rounds` publishings, every third a rollback. RuntimeError when a process doesn't start."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sy-publish-", dir="/tmp")))
        env, key = _company(stack, home)
        log = home / "children.log"
        urls = []
        for _ in range(processes):
            port = free_port()
            web = stack.enter_context(web_process("switchyard.asgi", port, env, log))
            urls.append((f"http://127.0.0.1:{port}", web))
        try:
            for url, web in urls:
                wait_for(f"{url}/readyz", web, 180)
        except RuntimeError as error:
            raise RuntimeError(f"{error}\n{log.read_text()[-2000:]}") from None
        return asyncio.run(_under_load([url for url, _ in urls], key, env, rounds))


def _company(stack: ExitStack, home: Path) -> tuple[dict[str, str], str]:
    _, store_url = start_store(stack, home)
    port = free_port()
    env = {
        "SWITCHYARD_HOME": str(home), "REDIS_URL": store_url, "SWITCHYARD_UPSTREAM_CIDRS": "127.0.0.0/8",
        "DJANGO_SETTINGS_MODULE": "switchyard.settings.dev", "BENCH_UPSTREAM": f"http://127.0.0.1:{port}/v1",
        "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "platform")]),
    }  # fmt: skip
    made = subprocess.run(
        [sys.executable, "-m", "bench.tools.company"], env=os.environ | env, cwd=ROOT, capture_output=True, timeout=600
    )  # fmt: skip
    if made.returncode:
        raise RuntimeError(made.stderr.decode()[-2000:])
    stack.enter_context(child("-m", "bench.tools.upstream", str(port), env=env, log=home / "children.log"))
    return env, json.loads(made.stdout.splitlines()[-1])["plain"]


async def _under_load(urls: list[str], key: str, env: dict[str, str], rounds: int) -> Published:
    import aiohttp

    stop, seen = asyncio.Event(), [Seen() for _ in urls]
    order: list[str] = []  # labels as they were published
    back = [0]
    publisher = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.tools.publishing", cwd=ROOT, env=os.environ | env,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert publisher.stdin is not None and publisher.stdout is not None
    async with aiohttp.ClientSession(headers={"authorization": f"Bearer {key}"}) as session:
        callers = [
            asyncio.create_task(_call(session, url, told, order, back, stop))
            for url, told in zip(urls, seen, strict=True)
            for _ in range(CALLERS)
        ]
        await publisher.stdout.readline()  # it is ready
        await asyncio.sleep(1.0)
        seconds = []
        for number in range(rounds):
            before = order[-2] if len(order) > 1 else ""
            if number % 3 == 2:  # what was live before comes again: its first answer is to be a new one
                for one in seen:
                    one.first.pop(before, None)
            publisher.stdin.write(b"back\n" if number % 3 == 2 else b"on\n")
            told = json.loads(await publisher.stdout.readline())
            order.append(told["label"])
            seconds.append(await _everywhere(seen, told["label"], told["at"]))
            await asyncio.sleep(0.3)
        stop.set()
        await asyncio.gather(*callers)
    publisher.stdin.close()
    await publisher.wait()
    failures = [words for told in seen for words in told.failures]
    return Published(seconds, sum(t.requests for t in seen), failures, sum(t.nameless for t in seen), back[0])


async def _everywhere(seen: list[Seen], label: str, at: float) -> float:
    """Until every process has answered with it; infinity when it never does."""
    while time.monotonic() - at < WAIT_S:
        firsts = [told.first.get(label) for told in seen]
        if all(first is not None for first in firsts):
            return max(first - at for first in firsts if first is not None)
        await asyncio.sleep(0.005)
    return float("inf")


async def _call(
    session: object, url: str, told: Seen, order: list[str], back: list[int], stop: asyncio.Event
) -> None:  # fmt: skip
    """One caller: half of its requests are streams."""
    number = 0
    while not stop.is_set():
        number += 1
        body = {
            "model": "auto",
            "messages": [{"role": "user", "content": "Where is my parcel?"}],
            "stream": number % 2 == 0,
        }
        began = time.monotonic()
        try:
            async with session.post(f"{url}/v1/chat/completions", json=body) as reply:  # type: ignore[attr-defined]
                whole = await reply.read()
                label, status = reply.headers.get(VERSION, ""), reply.status
        except Exception as error:
            told.failures.append(f"{type(error).__name__}: {error}")
            continue
        told.requests += 1
        if status != 200 or (body["stream"] and b"[DONE]" not in whole):
            told.failures.append(f"{status}: {whole[:200]!r}")
        told.nameless += not label
        told.first.setdefault(label, time.monotonic())
        # A label is published once: whatever began after its first answer must not name the one before.
        if len(order) > 1 and label == order[-2] and told.first.get(order[-1], began) < began:
            back[0] += 1
        await asyncio.sleep(PAUSE_S)


def publish() -> None:
    """The publisher: a line in, a version live; says when its transaction was committed, and how decisions name it."""
    import django

    django.setup()
    from routing.models import Policy
    from routing.selectors import policies as read
    from routing.services import policies
    from switchyard.tenancy.models import Organisation

    organisation = Organisation.objects.get(slug="bench")
    print("ready", flush=True)
    for line in sys.stdin:
        if line.strip() == "back":
            policies.rollback(organisation=organisation, lob=None, user=None)
        else:
            text = read.live(organisation.pk, None).document + "\n"  # type: ignore[union-attr]
            version = Policy.objects.filter(organisation=organisation, lob=None).count() + 1
            text += f"# version {version}\n"
            policies.publish(
                policy=policies.create_draft(organisation=organisation, lob=None, document=text, user=None),
                user=None,
            )
        at = time.monotonic()
        live = read.live(organisation.pk, None)
        assert live is not None
        print(json.dumps({"at": at, "label": read.label_of(live)}), flush=True)


if __name__ == "__main__":
    publish()
