"""`make doctor`: what would keep Switchyard from starting, each with its mend. Standard library only.

It runs before anything is installed, so it imports nothing of ours.
"""

import argparse
import errno
import fcntl
import importlib.util
import os
import platform
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
LOW, HIGH = (3, 11), (3, 14)
INSTALL_BYTES, RUN_BYTES = 4_000_000_000, 500_000_000
GOOD, BAD, NOTE = "ok", "PROBLEM", "note"
Finding = tuple  # (state, sentence)


def home() -> Path:
    raw = os.environ.get("SWITCHYARD_HOME")
    return Path(raw).expanduser().resolve() if raw else ROOT / "var"


def check_python() -> Finding:
    version = platform.python_version()
    if not LOW <= sys.version_info[:2] < HIGH:
        return (
            BAD,
            f"Python {version} is in use; 3.11, 3.12 or 3.13 is needed. Install one and run: make run PYTHON=python3.11",
        )
    return GOOD, f"Python {version}"


def check_venv() -> Finding:
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        return (
            BAD,
            "This Python cannot make virtual environments. Install its venv package (Debian: apt install python3-venv).",
        )
    return GOOD, "virtual environments can be made"


def check_machine() -> Finding:
    if sys.platform.startswith("linux") or sys.platform == "darwin":
        return GOOD, f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPU cores"
    return BAD, f"{platform.system()} isn't supported: use Linux, macOS, or WSL on Windows."


def check_disk(needed: int) -> Finding:
    folder = home()
    while not folder.exists():
        folder = folder.parent
    free = min(shutil.disk_usage(folder).free, shutil.disk_usage(ROOT).free)
    if free < needed:
        return BAD, (
            f"Only {free / 1e9:.1f} GB are free, {needed / 1e9:.1f} GB are needed. Free some space, or keep the state "
            "elsewhere: SWITCHYARD_HOME=/path make run"
        )
    return GOOD, f"{free / 1e9:.0f} GB free"


def check_home() -> Finding:
    folder = home()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder):
            pass
    except OSError as error:
        if error.errno == errno.ENOSPC:
            return BAD, f"The disk that holds {folder} is full. Free some space and start again."
        return (
            BAD,
            f"{folder} can't be written ({error.strerror}). Choose another: SWITCHYARD_HOME=/path make run",
        )
    return GOOD, f"state goes to {folder}"


def check_instance() -> Finding:
    path = home() / "run" / "supervisor.lock"
    try:
        with path.open("r+") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        pass
    except OSError:
        pid = path.read_text().strip() or "unknown"
        return BAD, (
            f"Switchyard already runs in {home()} (process {pid}). Stop it with Ctrl-C or `kill {pid}`, or start a "
            "second copy: SWITCHYARD_HOME=/path PORT=8001 make run"
        )
    return GOOD, "no other instance runs in this folder"


def check_port() -> Finding:
    raw = os.environ.get("PORT", "8000")
    if not raw.isdigit() or not 1 <= int(raw) <= 65535:
        return BAD, f"PORT={raw!r} is no port. Choose one in 1..65535: make run PORT=8001"
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", int(raw)))
        except OSError as error:
            if error.errno == errno.EACCES:
                return (
                    BAD,
                    f"Port {raw} needs more rights than you have. Choose one above 1023: make run PORT=8000",
                )
            return (
                BAD,
                f"Port {raw} is taken by another program. Stop it, or choose another: make run PORT={int(raw) + 1}",
            )
    return GOOD, f"port {raw} is free"


def installed() -> bool:
    return (ROOT / ".venv" / ".stamp-installed").exists()


def pip_answers(arguments: list) -> str:
    """What pip says against a look-up by its own configuration; empty when the registry answered."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "index",
        "versions",
        "pip",
        "--disable-pip-version-check",
        *arguments,
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=40)
    except (OSError, subprocess.SubprocessError) as error:
        return f"{type(error).__name__}"
    lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
    return "" if done.returncode == 0 else (lines or [f"status {done.returncode}"])[-1]


def check_registry() -> Finding:
    if installed():
        return GOOD, "everything is installed; no package registry is needed"
    if importlib.util.find_spec("pip") is None:
        return BAD, "pip is missing. Install it (Debian: apt install python3-pip python3-venv)."
    trouble = pip_answers(["--timeout", "6", "--retries", "0"])
    if trouble:
        return BAD, (
            f"The package registry can't be reached ({trouble}). Check the network or proxy, or name another one: "
            "PIP_INDEX_URL=… (packages in a folder: PIP_FIND_LINKS=/folder)"
        )
    return GOOD, "the package registry answers"


def check_gpu() -> Finding:
    try:
        lines = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=10, check=True)
        return NOTE, f"GPU found: {lines.stdout.splitlines()[0]}"
    except (OSError, subprocess.SubprocessError, IndexError):
        return NOTE, "no NVIDIA GPU: everything runs on the CPU"


def check_build() -> Finding:
    """An interpreter that was compiled as it comes (pyenv's default) and lies in a shared library costs some 8 % more CPU a
    request than a distribution's own: docs/explanation/hot-path.md has the figures."""
    tuned = "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
    try:
        shared = "libpython" in Path("/proc/self/maps").read_text()
    except OSError:
        shared = False
    if tuned or not shared:
        return GOOD, "nothing speaks against how this Python was built"
    return NOTE, (
        "This Python was built without --enable-optimizations: a request costs some 8 % more CPU than with a "
        "distribution's own or the Docker image's. Another one: make clean, then make run PYTHON=/usr/bin/python3"
    )


def findings(*, starting: bool) -> list:
    """Every check's answer. `starting`: only what a start needs, and quickly."""
    checks = [check_python(), check_machine(), check_home(), check_instance(), check_port()]
    checks.append(check_disk(RUN_BYTES if installed() else INSTALL_BYTES))
    if not installed():
        checks += [check_venv(), check_registry()]
    elif not starting:
        checks.append(check_registry())
    if not starting:
        checks += [check_build(), check_gpu()]
    return checks


def main(arguments=None) -> int:
    parser = argparse.ArgumentParser(prog="doctor", description="What would keep Switchyard from starting.")
    parser.add_argument("--starting", action="store_true", help="Quiet unless there is a problem.")
    options = parser.parse_args(arguments)
    found = findings(starting=options.starting)
    problems = [sentence for state, sentence in found if state == BAD]
    if options.starting:
        for sentence in problems:
            print(sentence, file=sys.stderr)
    else:
        for state, sentence in found:
            print(f"{state:>8}  {sentence}")
        print("Nothing keeps it from starting." if not problems else f"{len(problems)} to mend.")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
