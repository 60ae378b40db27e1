"""Code that a model wrote runs on its own: no network, little memory, a short time, no other files."""

from __future__ import annotations

import http.server
import threading
from pathlib import Path

import pytest

from modelhub.sandbox.run import Limits, run_program

QUICK = Limits(timeout_s=5.0, cpu_s=2)


def test_a_program_that_ends_well_passes_with_its_output():
    outcome = run_program("print(2 + 2)", QUICK)
    assert outcome.ok
    assert outcome.output == "4\n"
    assert outcome.reason == "passed"


def test_a_program_that_raises_fails_with_the_reason():
    outcome = run_program("assert 1 == 2, 'no'", QUICK)
    assert not outcome.ok
    assert outcome.reason == "AssertionError: no"


def test_a_program_cannot_reach_a_server_on_this_machine():
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        source = f"import urllib.request as u; u.urlopen('http://127.0.0.1:{server.server_port}/', timeout=2)"
        outcome = run_program(source, QUICK)
    finally:
        server.shutdown()
        server.server_close()
    assert not outcome.ok
    assert "socket" in outcome.output


@pytest.mark.parametrize(
    "source",
    [
        "import socket; socket.socket()",
        "import subprocess; subprocess.run(['true'])",
        "import os; os.fork()",
        "import os; os.system('true')",
        "import ctypes; ctypes.CDLL(None)",
        "import os; os.kill(os.getppid(), 9)",
    ],
)
def test_doors_out_of_the_process_are_shut(source: str):
    outcome = run_program(source, QUICK)
    assert not outcome.ok
    assert "PermissionError" in outcome.reason


def test_a_program_cannot_write_outside_of_its_folder(tmp_path: Path):
    victim = tmp_path / "victim.txt"
    victim.write_text("mine", encoding="utf-8")
    assert "is not allowed" in run_program(f"open({str(victim)!r}, 'w').write('yours')", QUICK).reason
    assert "is not allowed" in run_program(f"import os; os.remove({str(victim)!r})", QUICK).reason
    assert victim.read_text(encoding="utf-8") == "mine"


def test_a_program_sees_no_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SWITCHYARD_PASSWORD", "hunter2")
    outcome = run_program("import os; print(dict(os.environ))", QUICK)
    assert outcome.ok
    assert "hunter2" not in outcome.output


def test_an_endless_program_is_stopped():
    outcome = run_program("while True: pass", Limits(timeout_s=0.7, cpu_s=5))
    assert (outcome.ok, outcome.reason) == (False, "timeout")


def test_processor_time_is_limited_by_the_kernel():
    outcome = run_program("while True: pass", Limits(timeout_s=60, cpu_s=1))
    assert (outcome.ok, outcome.reason) == (False, "cpu limit")


def test_memory_is_limited():
    assert "MemoryError" in run_program("x = bytearray(2 << 30)", QUICK).reason


def test_output_is_cut():
    outcome = run_program("print('x' * 300_000)", QUICK)
    assert outcome.ok
    assert len(outcome.output) == 64 * 1024
