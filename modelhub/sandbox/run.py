"""Runs one Python program in a process without network, with little memory and for a short time."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

GUARD = Path(__file__).with_name("guard.py")
MEGABYTE = 1 << 20
OUTPUT_LIMIT_BYTES = 64 * 1024


@dataclass(frozen=True)
class Limits:
    """What a program may use. `processes` is counted per user by the kernel and does not bind root."""

    timeout_s: float = 5.0
    cpu_s: int = 4
    memory_bytes: int = 512 * MEGABYTE
    file_bytes: int = 1 * MEGABYTE
    open_files: int = 32
    processes: int = 0

    def as_rlimits(self) -> dict[str, int]:
        """Under the kernel's names."""
        return {
            "RLIMIT_CPU": self.cpu_s,
            "RLIMIT_AS": self.memory_bytes,
            "RLIMIT_FSIZE": self.file_bytes,
            "RLIMIT_NOFILE": self.open_files,
            "RLIMIT_NPROC": self.processes,
            "RLIMIT_CORE": 0,
        }


@dataclass(frozen=True)
class Outcome:
    """How a program ended. `isolated`: it had a network of its own (with nothing in it) by the kernel."""

    ok: bool
    reason: str
    output: str
    isolated: bool


@functools.cache
def network_isolation() -> tuple[str, ...]:
    """The command that gives a child an empty network, or () where the machine does not allow it."""
    unshare = shutil.which("unshare")
    if unshare is None:
        return ()
    for flags in (("--net",), ("--user", "--net")):
        command = (unshare, *flags)
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            if (
                subprocess.run([*command, "true"], capture_output=True, timeout=5, check=False).returncode
                == 0
            ):
                return command
    return ()


def run_program(source: str, limits: Limits | None = None) -> Outcome:
    """Run a program to its end, or to the end of its time. `ok` is exit status 0.

    It runs under `python -I` in an empty folder that is deleted afterwards, in a process group of its own,
    with a cleared environment and no standard input. Output is cut at 64 KiB.
    """
    limits = limits or Limits()
    isolation = network_isolation()
    with tempfile.TemporaryDirectory(prefix="sandbox-") as folder:
        program, log = Path(folder, "program.py"), Path(folder, "output.txt")
        os.chmod(folder, 0o755)  # noqa: S103 - the program may run as nobody; it holds only its own source
        program.write_text(source, encoding="utf-8", errors="replace")
        command = [*isolation, sys.executable, "-I", "-S", "-B", str(GUARD), json.dumps(limits.as_rlimits())]
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*command, str(program)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env={"LANG": "C.UTF-8"},
                start_new_session=True,
            )
            try:
                status: int | None = process.wait(limits.timeout_s)
            except subprocess.TimeoutExpired:
                status = None
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        with log.open("rb") as written:
            text = written.read(OUTPUT_LIMIT_BYTES).decode("utf-8", "replace")
    return Outcome(status == 0, _reason(status, text), text, bool(isolation))


def _reason(status: int | None, text: str) -> str:
    if status is None:
        return "timeout"
    if status == 0:
        return "passed"
    if status in (-signal.SIGXCPU, 128 + signal.SIGXCPU):
        return "cpu limit"
    last = text.strip().rsplit("\n", 1)[-1]
    return last[:200] or f"exit status {status}"
