"""Three web processes as `make run PROCESSES=3` starts them, a small company, and connections of which it is known who has them.

python -m tests.journeys.workers company | publish     is run with the processes' own surroundings
"""

from __future__ import annotations

import http.client
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from switchyard.supervisor import plan, ports
from switchyard.supervisor.home import ROOT, Home
from tests.fakes.valkey import ValkeyServer

PROCESSES = 3
RPM, TPM, AT_ONCE, USD = 30, 3_000, 4, "1.00"
TOKENS = 100  # of a call, as its body's size and the upstream's own count both say
CALL_NUSD = 9_000_000  # $0.009 a call, beside its tokens
POLICY = """\
rules:
  - name: frail first
    when: workload.name == "frail"
    route: {prefer: [ext-frail], fallback: [ext-a]}
  - name: all else
    when: "true"
    route: {prefer: [ext-a]}
default: deny
"""


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: Any

    @property
    def code(self) -> str:
        return self.body["error"]["code"] if self.status != 200 else ""


@dataclass
class Line:
    """One connection, and the process at its other end."""

    pid: int
    connection: http.client.HTTPConnection

    def ask(self, key: str, model: str = "chatter", **headers: str) -> Answer:
        body = {"model": model, "messages": [{"role": "user", "content": "How are you?"}], "max_tokens": 100}
        body["user"] = "x" * (4 * TOKENS - len(json.dumps(body)) - len(', "user": ""'))
        sent = {"authorization": f"Bearer {key}", "content-type": "application/json"} | headers
        self.connection.request("POST", "/v1/chat/completions", json.dumps(body), sent)
        reply = self.connection.getresponse()
        return Answer(reply.status, dict(reply.headers.items()), json.loads(reply.read()))


@dataclass
class Workers:
    """`keys`: of applications with a limit each."""

    places: plan.Places
    env: dict[str, str]
    keys: dict[str, str]
    valkey: ValkeyServer
    pids: list[int] = field(default_factory=list)

    @contextmanager
    def lines(self, each: int) -> Iterator[list[Line]]:
        """So many fresh connections to each of the processes: while it takes them, the others are halted."""
        opened: dict[int, list[http.client.HTTPConnection]] = {}
        try:
            for pid in self.pids:
                fresh = opened[pid] = [
                    http.client.HTTPConnection("127.0.0.1", self.places.port, timeout=30) for _ in range(each)
                ]
                with self._alone(pid):
                    for connection in fresh:
                        connection.connect()
                    self._wait_until_taken(pid, {connection.sock.getsockname()[1] for connection in fresh})
            yield [
                Line(pid, line)
                for lines in zip(*opened.values(), strict=True)
                for pid, line in zip(opened, lines, strict=True)
            ]
        finally:
            for connection in itertools.chain(*opened.values()):
                connection.close()

    @contextmanager
    def _alone(self, pid: int) -> Iterator[None]:
        others = [psutil.Process(other) for other in self.pids if other != pid]
        for other in others:
            other.suspend()
        try:
            yield
        finally:
            for other in others:
                other.resume()

    @staticmethod
    def _wait_until_taken(pid: int, ports: set[int]) -> None:
        """Our ends' ports, until the process holds the other ends."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            if ports <= {c.raddr.port for c in psutil.Process(pid).net_connections("tcp4") if c.raddr}:
                return
            time.sleep(0.01)
        raise AssertionError("Nobody took the connection.")

    def at_once(self, each: int, call: Callable[[Line], Answer]) -> list[tuple[int, Answer]]:
        """One call on each of `each` connections a process, all together: (process, answer)."""
        with self.lines(each) as lines, ThreadPoolExecutor(len(lines)) as pool:
            return list(zip([line.pid for line in lines], pool.map(call, lines), strict=True))

    def publish(self) -> float:
        """The moment, by the clock, from which another policy is in force."""
        return float(self._child("publish"))

    def _child(self, word: str) -> str:
        words = [sys.executable, "-m", "tests.journeys.workers", word]
        told = subprocess.run(words, cwd=ROOT, env=self.env, capture_output=True, text=True, timeout=120)
        assert told.returncode == 0, told.stderr[-3000:]
        return told.stdout.splitlines()[-1]

    def start(self) -> subprocess.Popen[bytes]:
        self.keys |= json.loads(self._child("company"))
        web = plan.servers(self.places)[0]
        with (self.places.home.root / "web.log").open("ab") as log:
            process = subprocess.Popen(
                web.command, cwd=ROOT, env=dict(web.env or {}) | self.env, stdout=log, stderr=log
            )
        deadline = time.monotonic() + 90
        while len(self.pids) < PROCESSES or not all(map(self._listens, self.pids)):
            log_tail = (self.places.home.root / "web.log").read_text()[-3000:]
            assert process.poll() is None and time.monotonic() < deadline, log_tail
            time.sleep(0.1)
            ready = (self.places.home.root / "web.log").read_text().count("Application startup complete")
            children = psutil.Process(process.pid).children()
            workers = [c.pid for c in children if "resource_tracker" not in " ".join(c.cmdline())]
            self.pids = workers if ready >= PROCESSES else []
        return process

    @staticmethod
    def _listens(pid: int) -> bool:
        return any(c.status == "LISTEN" for c in psutil.Process(pid).net_connections("tcp4"))


def places_in(root: Path, valkey: ValkeyServer) -> plan.Places:
    """As the supervisor makes them, but that nobody serves pages or models."""
    home = Home(root)
    home.prepare()
    (home.run / "prometheus").mkdir(exist_ok=True)
    return plan.Places(
        home, ports.free_port(), 9, 9, valkey.url, "", "", processes=PROCESSES, pages_url="http://127.0.0.1:9"
    )


# ------------------------------------------------------------------------------------------------- in a process of its own
def company(urls: Sequence[str]) -> dict[str, str]:
    from django.apps import apps
    from django.conf import settings
    from django.core.management import call_command

    from tests import factories

    # The tables as they are now: to go through how they became so takes a quarter of a minute.
    settings.MIGRATION_MODULES = {app.label: None for app in apps.get_app_configs()}
    call_command("migrate", run_syncdb=True, verbosity=0)
    organisation = factories.make_organisation(slug="acme")
    lob = factories.make_lob(organisation, guard_mode="off")
    for name, url in zip(("ext-a", "ext-frail"), urls, strict=True):
        factories.make_deployment(
            organisation, name, base_url=url, tasks=["chat"], heads=False, model=f"{name}-model", bare=True
        )
        factories.make_price(organisation, name, call_nusd_per_munit=CALL_NUSD * 10**6)
    for name in ("chatter", "frail"):
        factories.make_workload(lob, name, task="chat")
    keys = {}
    limits: dict[str, dict[str, int]] = {
        "plain": {}, "dollar": {}, "rpm": {"rpm": RPM}, "tpm": {"tpm": TPM}, "at_once": {"concurrency": AT_ONCE},
    }  # fmt: skip
    for name, limit in limits.items():
        _, keys[name] = factories.make_key(factories.make_application(lob, name, **limit))
    factories.make_budget(organisation, "application:dollar", usd=USD, period="total", action="stop")
    factories.make_policy(organisation, POLICY)
    return keys


def publish() -> float:
    from switchyard.tenancy.models import Organisation
    from tests import factories

    factories.make_policy(Organisation.objects.get(), POLICY.replace("all else", "everything else"))
    return time.time()


if __name__ == "__main__":
    import django

    django.setup()
    print(json.dumps(company(os.environ["UPSTREAMS"].split()) if sys.argv[1] == "company" else publish()))
