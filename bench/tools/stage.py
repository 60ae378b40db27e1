"""The processes of a benchmark's stage: Valkey, PostgreSQL with full durability, the bare upstream, the gateway, the ledger's
consumer and, where they are asked for, pages in a process of their own as `make run` starts it; with a home and ports of their
own. Only what was started here is ever ended, by its id."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson

from bench.common import ROOT, free_port
from bench.gateway import UVICORN
from switchyard.supervisor import plan, valkey
from switchyard.supervisor.readiness import status_of
from tests.fakes.postgres import PostgresServer


class Stage:
    """The processes. `kill` ends one without warning, `start` brings it back."""

    def __init__(self, home: Path, chunk_pause_s: float, pages: bool) -> None:
        self.home, self.chunk_pause_s, self.pages = home, chunk_pause_s, pages
        self.log = home / "children.log"
        self.socket, self.pages_socket = home / "valkey.sock", home / "pages.sock"
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
        if self.pages:
            self.env[plan.PAGES_URL] = f"unix://{self.pages_socket}"
            self.start("pages")
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
            "pages": [sys.executable, "manage.py", "serve_pages", "--socket", str(self.pages_socket)],
            "consumer": [sys.executable, "manage.py", "consume_usage"],
        }

    def start(self, name: str) -> None:
        if name == "postgres":
            self._again()
            return
        with self.log.open("ab") as log:
            self.processes[name] = subprocess.Popen(
                self.commands()[name], cwd=ROOT, env=self.env or None, stdout=log, stderr=log,
                start_new_session=self.pages,  # as `make run` does: between sessions the kernel weighs by group
            )  # fmt: skip
        if name == "valkey":
            _until(lambda: valkey.answers(self.socket), "Valkey")
        if name == "pages":
            _until(lambda: status_of(self.env[plan.PAGES_URL]) == 200, "the pages", self.processes["pages"])
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
        return status_of(f"http://127.0.0.1:{self.ports['web']}/readyz") == 200

    def kill(self, name: str) -> None:
        process = self.postgres.process if name == "postgres" else self.processes[name]
        assert process is not None
        process.send_signal(signal.SIGKILL)
        process.wait(20)

    def down(self) -> None:
        for name in ("web", "pages", "consumer", "upstream", "valkey"):
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
    holds: Callable[[], bool], what: str, process: subprocess.Popen[bytes] | None = None, limit_s: float = 180
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
def stage(home: Path, *, chunk_pause_s: float = 0.0, pages: bool = False) -> Iterator[Stage]:
    one = Stage(home, chunk_pause_s, pages)
    try:
        one.up()
        yield one
    finally:
        one.down()
