"""Starts the whole product as `make run` does, in a folder of its own, and calls it as its users do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import httpx2 as httpx
from openai import OpenAI

from switchyard.supervisor import ports
from switchyard.supervisor.home import ROOT

START_S = 150.0


class Product:
    """One running instance. `stop()` is Ctrl-C."""

    def __init__(self, home: Path, **env: str) -> None:
        self.home, self.port, self.env = home, ports.free_port(), env
        self.demo: dict[str, Any] = {}
        self.process: subprocess.Popen[bytes] | None = None
        self.started_s = 0.0

    @property
    def url(self) -> str:
        return self.demo["url"]

    def start(self) -> Product:
        left_out = (
            "REDIS_URL",
            "DATABASE_URL",
            "DJANGO_SETTINGS_MODULE",
            "SWITCHYARD_UPSTREAM_CIDRS",
            "DEMO",
        )
        env = {name: value for name, value in os.environ.items() if name not in left_out}
        env |= {
            "PYTHONPATH": f"{ROOT}:{ROOT / 'platform'}",
            "SWITCHYARD_HOME": str(self.home),
            "PORT": str(self.port),
        }
        env |= {"SWITCHYARD_DEMO_HISTORY": "0"} | self.env
        self.home.mkdir(parents=True, exist_ok=True)
        began, written = time.monotonic(), time.time()
        with (self.home / "console.log").open("ab") as console:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "switchyard.supervisor.cli", "run"],
                cwd=ROOT, env=env, stdout=console, stderr=subprocess.STDOUT,
            )  # fmt: skip
        while not self._announced_since(written):
            if self.process.poll() is not None or time.monotonic() - began > START_S:
                raise AssertionError(f"it did not start:\n{self.console[-3000:]}")
            time.sleep(0.1)
        self.started_s = time.monotonic() - began
        self.demo = json.loads((self.home / "demo.json").read_text())
        return self

    def _announced_since(self, moment: float) -> bool:
        """A file that a killed run left behind doesn't count."""
        try:
            return (self.home / "demo.json").stat().st_mtime >= moment - 1
        except FileNotFoundError:
            return False

    @property
    def console(self) -> str:
        return (self.home / "console.log").read_text("utf-8", "replace")

    def stop(self, number: int = signal.SIGINT) -> float:
        """Seconds until it has ended."""
        began = time.monotonic()
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(timeout=20)
        return time.monotonic() - began

    def pids(self, word: str = "") -> list[int]:
        """Living processes that name this home in their environment, and `word` in their command line."""
        mark, found = f"SWITCHYARD_HOME={self.home}\0".encode(), []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
                ours = mark in (folder / "environ").read_bytes() + b"\0"
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            except (OSError, IndexError):
                continue
            if ours and state != "Z" and word in command and int(folder.name) != os.getpid():
                found.append(int(folder.name))
        return found

    # ------------------------------------------------------------------ as users call it
    def sdk(self, lob: str) -> OpenAI:
        return OpenAI(base_url=f"{self.url}/v1", api_key=self.demo["keys"][lob], max_retries=0, timeout=60)

    def administrator(self) -> httpx.Client:
        """Logged in through the form, as a person is."""
        client = httpx.Client(base_url=self.url, timeout=60, follow_redirects=True)
        client.get("/login/")
        person = self.demo["admin"]
        answer = post_form(
            client, "/login/", {"username": person["username"], "password": person["password"]}
        )
        assert answer.status_code == 200 and "/login/" not in str(answer.url), "the login failed"
        return client

    def call(
        self, method: str, path: str, body: Any = None, *, key: str = "", headers: dict[str, str] | None = None
    ) -> tuple[int, Any, dict[str, str]]:  # fmt: skip
        """(status, JSON, headers); `key` is a bearer, the administrator's token when empty."""
        bearer = key or self.demo["admin"]["token"]
        sent = {"authorization": f"Bearer {bearer}", "content-type": "application/json"} | (headers or {})
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, headers=sent, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return (
                    response.status,
                    json.loads(response.read() or b"null"),
                    {k.lower(): v for k, v in response.headers.items()},
                )
        except urllib.error.HTTPError as error:
            return (
                error.code,
                json.loads(error.read() or b"null"),
                {k.lower(): v for k, v in error.headers.items()},
            )


def post_form(client: httpx.Client, path: str, fields: dict[str, str]) -> httpx.Response:
    """A form sent as its page sends it, with the token of the page's cookie."""
    token = client.cookies["csrftoken"]
    headers = {"referer": str(client.base_url.join(path))}
    return client.post(path, data=fields | {"csrfmiddlewaretoken": token}, headers=headers)
