"""The supervisor with small stand-in processes: start, announce, restart, stop in order."""

import json
import os
import signal
import stat
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from switchyard.supervisor import ports

PROGRAM = textwrap.dedent(
    """
    import json, sys
    from pathlib import Path
    from switchyard.supervisor import plan
    from switchyard.supervisor.children import Spec
    from switchyard.supervisor.home import Home
    from switchyard.supervisor.supervise import Supervisor

    SERVER = '''
    import http.server, signal, sys, pathlib, time
    def bye(*_):
        with open(sys.argv[2], "a") as out: out.write(sys.argv[3] + " ")
        sys.exit(0)
    signal.signal(signal.SIGTERM, bye)
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self): self.send_response(200); self.end_headers()
        def log_message(self, *a): pass
    http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
    '''
    home = Home(Path(sys.argv[1]))
    stops = str(home.root / "stops")

    def server(name, port, phase, path):
        command = (sys.executable, "-c", SERVER, str(port), stops, name)
        return Spec(name, command, phase=phase, ready_url=f"http://127.0.0.1:{port}{path}")

    plan.store = lambda places, path: Spec("valkey", plan.valkey.command(path, home.root / "valkey"), phase=plan.STORE)
    plan.model_servers = lambda p: [server("models", p.private_port, plan.MODELS, "/healthz")]
    code = "import json, os; p = os.environ['SECRETS']; d = json.load(open(p)); "
    code += "d |= " + sys.argv[2] + "; json.dump(d, open(p, 'w'))"
    plan.bootstrap = lambda p, empty: Spec(
        "bootstrap", (sys.executable, "-c", code), {"SECRETS": str(home.secrets_json)}, restart=False)
    plan.servers = lambda p: [server("web", p.port, plan.CALLERS, "/readyz"), server("ledger", p.external_port, plan.LEDGER, "/")]
    plan.history = lambda p, replay: Spec("history", (sys.executable, "-c", "pass"), restart=False)
    sys.exit(Supervisor(home).run())
    """
)
ACCOUNTS = '{"admin": {"username": "admin", "password": "p", "token": "t"}, "keys": {"legal": "sy_1"}}'


@pytest.fixture
def product(tmp_path):
    """Starts the stand-in product; ends it if the test didn't."""
    started: list[subprocess.Popen[str]] = []

    def start(port: int, accounts: str = ACCOUNTS) -> subprocess.Popen[str]:
        env = {k: v for k, v in os.environ.items() if k not in ("REDIS_URL", "DEMO")}
        env |= {"PYTHONPATH": "platform:.", "PORT": str(port)}
        command = [sys.executable, "-c", PROGRAM, str(tmp_path / "home"), accounts]
        process = subprocess.Popen(
            command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()


def _wait_for(path: Path, seconds: float = 20) -> dict:
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} was not written"
        time.sleep(0.05)
    return json.loads(path.read_text())


def _of_session(name: str, home: Path) -> list[int]:
    """Processes whose command line names this home."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes().decode("utf-8", "replace")
        except OSError:
            continue
        if str(home) in line and int(folder.name) != os.getpid():
            found.append(int(folder.name))
    return found


def test_it_starts_announces_restarts_and_stops_in_order(product, tmp_path):
    home, port = tmp_path / "home", ports.free_port()
    process = product(port)
    demo = _wait_for(home / "demo.json")
    assert demo["url"] == f"http://127.0.0.1:{port}"
    assert demo["keys"] == {"legal": "sy_1"} and demo["admin"]["token"] == "t"
    assert set(demo) == {"url", "admin", "keys", "upstreams", "upstream_keys"}
    assert all(url.endswith("/v1") for url in demo["upstreams"].values())
    assert stat.S_IMODE((home / "demo.json").stat().st_mode) == 0o600

    web = next(
        pid
        for pid in _of_session("web", home)
        if b"web" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    )
    os.kill(web, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while ports.is_free(port) or not _answers(port):
        assert time.monotonic() < deadline, "web was not started again"
        time.sleep(0.05)

    asked = time.monotonic()
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=12)
    assert time.monotonic() - asked < 10
    assert process.returncode == 0
    assert "web ended (signal 9)" in output and "Login       admin / p" in output
    assert (home / "stops").read_text().split() == ["web", "ledger", "models"]
    assert not (home / "demo.json").exists()
    assert _of_session("any", home) == []
    assert ports.is_free(port)


def _answers(port: int) -> bool:
    from switchyard.supervisor.readiness import status_of

    return status_of(f"http://127.0.0.1:{port}/readyz") == 200


def test_a_bootstrap_that_fails_ends_the_start_with_its_last_words(product, tmp_path):
    process = product(ports.free_port(), "undefined_name")
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "undefined_name" in output and "bootstrap.log" in output
    assert _of_session("any", tmp_path / "home") == []


def test_a_second_start_in_the_same_home_is_refused_and_the_first_goes_on(product, tmp_path):
    port = ports.free_port()
    first = product(port)
    _wait_for(tmp_path / "home" / "demo.json")
    second = product(ports.free_port())
    output, _ = second.communicate(timeout=20)
    assert second.returncode != 0 and "Another instance" in output
    assert (tmp_path / "home" / "demo.json").exists()
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=12)
    assert first.returncode == 0
