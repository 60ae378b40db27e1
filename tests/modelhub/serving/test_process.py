"""`manage.py serve_models` as a process: it serves, takes a new version without a word, and ends what it began."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from modelhub import artifacts

KEY = "process-key"
HEADERS = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def call(port: int, method: str, path: str, body: dict | None = None) -> tuple[int, dict]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, json.dumps(body) if body is not None else None, HEADERS)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def until(check, seconds: float = 60.0):
    """What `check` gives once it gives something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if found := check():
                return found
        except OSError:
            pass
        time.sleep(0.05)
    raise AssertionError("it never came")


@pytest.fixture
def process(tmp_path: Path):
    """The student and the language model, from a home of their own."""
    shutil.copytree(artifacts.SHIPPED / "txt-edge", tmp_path / "artifacts" / "txt-edge")
    port = free_port()
    env = os.environ | {
        "SWITCHYARD_HOME": str(tmp_path), "SWITCHYARD_UPSTREAM_KEY": KEY, "SWITCHYARD_SERVING_DRAIN_S": "20",
        "PYTHONPATH": os.pathsep.join([str(artifacts.ROOT), str(artifacts.ROOT / "platform")]),
        "DJANGO_SETTINGS_MODULE": "switchyard.settings.dev",
    }  # fmt: skip
    words = ["--side", "external", "--port", str(port), "--model", "txt-edge", "--model", "lm-tiny"]
    prices = str(artifacts.ROOT / "deploy" / "stand-in-prices.json")
    running = subprocess.Popen(
        [sys.executable, str(artifacts.ROOT / "manage.py"), "serve_models", *words, "--prices", prices],
        env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        until(lambda: running.poll() is None and call(port, "GET", "/healthz")[0] == 200)
        yield running, port, tmp_path
    finally:
        running.kill()
        running.wait()


@pytest.mark.slow
def test_a_new_version_is_taken_and_sigterm_lets_an_answer_end(process):
    running, port, home = process
    status, listed = call(port, "GET", "/v1/models")
    assert status == 200
    assert [model["id"] for model in listed["data"]] == ["txt-edge", "lm-tiny"]
    assert listed["data"][0]["precision"] == "int8"

    manifest = home / "artifacts" / "txt-edge" / "manifest.json"
    artifacts.write_json(manifest, json.loads(manifest.read_text("utf-8")) | {"version": "77"})
    until(lambda: call(port, "GET", "/v1/models")[1]["data"][0]["version"].startswith("77-"))

    answer: dict = {}

    def write() -> None:
        body = {"model": "lm-tiny", "prompt": "def f(x):\n", "max_tokens": 400, "temperature": 1.5, "seed": 1}
        answer["status"], answer["body"] = call(port, "POST", "/v1/completions", body)

    writer = threading.Thread(target=write)
    writer.start()
    until(lambda: b'state="running"} 1.0' in metrics(port))
    running.send_signal(signal.SIGTERM)
    writer.join(60)
    assert answer["status"] == 200
    assert answer["body"]["usage"]["completion_tokens"] > 0
    assert running.wait(60) == 0


def metrics(port: int) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", "/metrics", headers=HEADERS)
        return connection.getresponse().read()
    finally:
        connection.close()
