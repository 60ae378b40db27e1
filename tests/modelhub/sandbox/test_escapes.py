"""Ways out that code of a model might try: each ends in the sandbox, and the machine is as it was."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from pathlib import Path

import pytest

from modelhub.sandbox.run import GUARD, Limits, run_program

QUICK = Limits(timeout_s=4.0, cpu_s=2, memory_bytes=256 << 20)


def children_named(mark: str) -> list[str]:
    """Processes of this machine whose command line holds the mark."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().decode("utf-8", "replace")
        except OSError:
            continue
        if mark in words:
            found.append(words)
    return found


@pytest.mark.parametrize(
    "source",
    [
        "import os\nwhile True:\n    os.fork()",
        "import multiprocessing\nmultiprocessing.Process(target=print).start()",
        "import _posixsubprocess, os\n"
        "_posixsubprocess.fork_exec([b'/bin/sh'], [b'/bin/sh'], True, (), None, None, -1, -1, -1, -1, -1, -1, *os.pipe(), "
        "True, True, -1, None, None, None, -1, None, False)",
        "import _imp, importlib.machinery as m\n"
        "_imp.create_dynamic(m.ModuleSpec('_ctypes', None, origin='/nowhere'))",
        "import os\nos.posix_spawn('/bin/sleep', ['/bin/sleep', '60'], {})",
        "import pty\npty.fork()",
    ],
)
def test_no_process_is_started(source: str):
    mark = f"escape-{secrets.token_hex(6)}"
    outcome = run_program(f"# {mark}\n{source}\nprint('out')", QUICK)
    assert not outcome.ok and "out" not in outcome.output.splitlines()
    time.sleep(0.1)
    assert children_named(mark) == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel's filter is Linux's")
@pytest.mark.parametrize(
    "call", ["libc.fork()", "libc.socket(2, 1, 0)", "libc.kill(1, 0)", "libc.system(b'true')"]
)
def test_native_code_meets_the_kernels_filter(call: str):
    """With the guard's own functions alone, no Python lock beside them."""
    source = (
        "import ctypes, os, sys\n"
        f"sys.path.insert(0, {str(GUARD.parent)!r})\n"
        "import guard\n"
        "assert guard.filter_calls()\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        f"print({call})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, timeout=30, check=False
    )
    # 127 << 8 is how system() says that nothing could be started
    assert done.stdout.strip() in ("-1", "32512"), (done.stdout, done.stderr)


def test_threads_do_not_outlive_it():
    source = (
        "import threading, time\n"
        "try:\n"
        "    for _ in range(5000):\n"
        "        threading.Thread(target=time.sleep, args=(60,)).start()\n"
        "except RuntimeError:\n"
        "    print('no more')\n"
        "import time; time.sleep(60)"
    )
    began = time.monotonic()
    assert not run_program(source, QUICK).ok
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    "source",
    ["x = bytearray(1 << 32)", "x = []\nwhile True:\n    x.append('y' * 1_000_000)", "x = 'a' * (1 << 33)"],
)
def test_memory_runs_out_for_it_alone(source: str):
    outcome = run_program(source, QUICK)
    assert not outcome.ok and ("MemoryError" in outcome.output or outcome.reason in ("timeout", "cpu limit"))


def test_the_parents_environment_stays_its_own(monkeypatch: pytest.MonkeyPatch):
    secret = f"secret-{secrets.token_hex(8)}"
    monkeypatch.setenv("SWITCHYARD_TEST_SECRET", secret)
    tries = [
        "import os; print(dict(os.environ))",
        "import os; print(open(f'/proc/{os.getppid()}/environ').read())",
        "print(open('/proc/self/environ').read())",
        f"print(open('/proc/{os.getpid()}/environ').read())",
        "import os; os.chdir('/proc/self'); print(open('environ').read())",
        "import os; fd = os.open('/proc/1/environ', os.O_RDONLY); print(os.read(fd, 100000))",
    ]
    for source in tries:
        assert secret not in run_program(source, QUICK).output, source


def test_endless_output_is_cut_and_ends():
    began = time.monotonic()
    outcome = run_program("while True:\n    print('x' * 100_000)", QUICK)
    assert not outcome.ok and len(outcome.output) <= 64 * 1024
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    "source",
    [
        "open({target!r}, 'w').write('here')",
        "import os; fd = os.open({target!r}, os.O_CREAT | os.O_WRONLY); os.write(fd, b'here')",
        "import os; os.symlink({folder!r}, 'way'); open('way/file', 'w').write('here')",
        "import pathlib; pathlib.Path({target!r}).write_text('here')",
        "import io; io.FileIO({target!r}, 'w').write(b'here')",
        "import os; os.chdir({folder!r}); open('file', 'w').write('here')",
    ],
)
def test_nothing_is_written_elsewhere(source: str, tmp_path: Path):
    target = tmp_path / "file"
    tmp_path.chmod(0o777)
    run_program(source.format(target=str(target), folder=str(tmp_path)), QUICK)
    assert not target.exists()


@pytest.mark.parametrize(
    "source",
    [
        "import socket; socket.create_connection(('127.0.0.1', 80), 1); print('out')",
        "import urllib.request; urllib.request.urlopen('http://127.0.0.1/'); print('out')",
        "import _socket; _socket.socket(); print('out')",
        "import asyncio; asyncio.run(asyncio.open_connection('127.0.0.1', 80)); print('out')",
    ],
)
def test_there_is_no_network(source: str):
    outcome = run_program(source, QUICK)
    assert not outcome.ok and "out" not in outcome.output.splitlines()


def test_the_limits_cannot_be_raised_again():
    source = (
        "import resource\n"
        "for name in ('RLIMIT_AS', 'RLIMIT_FSIZE', 'RLIMIT_NPROC'):\n"
        "    try:\n"
        "        resource.setrlimit(getattr(resource, name), (1 << 40, 1 << 40))\n"
        "    except (ValueError, OSError):\n"
        "        continue\n"
        "    if resource.getrlimit(getattr(resource, name))[0] == 1 << 40 and __import__('os').geteuid():\n"
        "        raise SystemExit(name)\n"
    )
    assert run_program(source, QUICK).ok
