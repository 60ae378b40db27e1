"""Serve pages, the admin and REST for a gateway in front: `manage.py serve_pages --socket var/run/pages.sock`."""

import contextlib
import os
import signal
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import uvicorn
from django.core.management.base import BaseCommand, CommandError

from switchyard.gateway.pages_server import private_socket
from switchyard.supervisor.priority import PAGES, step_back

KEEP_ALIVE_S = 75  # over the front's 30 s: it is the front that closes


class Command(BaseCommand):
    help = "Run the pages process; the gateway finds it by SWITCHYARD_PAGES_URL."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--socket", help="Path of a unix socket; only its owner may connect.")
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument(
            "--port", type=int, help="Instead of a socket: where the front is another machine."
        )
        parser.add_argument(
            "--nice", type=int, default=PAGES, help="How far others go first; 0 for not at all."
        )
        parser.add_argument(
            "--drain", type=int, default=4, help="Seconds that running requests get at the end."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if (options["socket"] is None) == (options["port"] is None):
            raise CommandError("Say either --socket PATH or --port PORT: where the gateway finds the pages.")
        for number in (signal.SIGTERM, signal.SIGINT):
            # The server takes them over, and raises them again once it has stopped: then the socket is removed.
            signal.signal(number, lambda *_: sys.exit(0))
        config = uvicorn.Config(
            "switchyard.pages_asgi:application", host=options["host"], port=options["port"] or 0, loop="uvloop",
            http="httptools", ws="none", lifespan="on", access_log=False, log_level="warning", proxy_headers=False,
            server_header=False, date_header=False, timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=options["drain"],
        )  # fmt: skip
        config.load()
        step_back(options["nice"])  # only now: a busy machine shouldn't wait for its pages at the start
        server = uvicorn.Server(config)
        if options["socket"] is None:
            server.run()
        else:
            self._on_socket(server, Path(options["socket"]))
        if not server.started:
            raise CommandError("The pages process could not start: see its last lines above.")

    def _on_socket(self, server: uvicorn.Server, path: Path) -> None:
        try:
            place = private_socket(path)
        except OSError as error:
            raise CommandError(f"No socket can be made at {path}: {error.strerror or error}.") from None
        mine = os.stat(path).st_ino
        try:
            server.run(sockets=[place])
        finally:
            with contextlib.suppress(OSError):
                if os.stat(path).st_ino == mine:
                    path.unlink()
