"""Loopback ports: PORT is the only fixed one, everything else takes what is free."""

from __future__ import annotations

import errno
import os
import socket

from switchyard.supervisor.home import StartRefused

HOST = "127.0.0.1"


def read_port() -> int:
    """PORT of the environment. Raises StartRefused on nonsense."""
    raw = os.environ.get("PORT", "8000")
    if not raw.isdigit() or not 1 <= int(raw) <= 65535:
        raise StartRefused(f"PORT={raw!r} is no port. Choose one in 1..65535: make run PORT=8001.")
    return int(raw)


def is_free(port: int) -> bool:
    """Whether we could listen there. Raises StartRefused where ports of that size aren't ours to take."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            if error.errno == errno.EACCES:
                raise StartRefused(
                    f"Port {port} needs more rights than you have. Choose one above 1023: make run PORT=8000."
                ) from None
            return False
    return True


def require_free(port: int) -> None:
    if not is_free(port):
        raise StartRefused(
            f"Port {port} is taken by another program. Stop it, or choose another port: make run PORT={port + 1}."
        )


def free_port(avoid: frozenset[int] = frozenset()) -> int:
    """A port that was free a moment ago."""
    for _ in range(50):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.bind((HOST, 0))
            port = probe.getsockname()[1]
        if port not in avoid:
            return port
    raise StartRefused("No free loopback port was found.")
