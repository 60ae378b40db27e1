"""Serve the models of one side over HTTP: `manage.py serve_models --side private --port 9001`."""

import asyncio
import logging
import os
import signal
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from modelhub.hal.device import best_device
from modelhub.services.signatures import artifact_trust
from modelhub.serving.app import ModelServer
from modelhub.serving.bill import Bill
from modelhub.serving.kept import Kept
from modelhub.serving.memory import Room
from modelhub.serving.sessions import SIDES, ModelPool
from switchyard.core.conf import conf

log = logging.getLogger(__name__)


class Command(BaseCommand):
    help = "Run the OpenAI-shaped model server of one side (onnxruntime; never torch)."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--side", choices=sorted(SIDES), required=True)
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, required=True)
        parser.add_argument("--threads", type=int, default=1, help="Threads of one inference.")
        parser.add_argument("--prices", help="External side: JSON file of its price sheet.")
        parser.add_argument(
            "--model", action="append", help="Serve this artifact; repeat it. Else the side's own."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        api_key = os.environ.get("SWITCHYARD_UPSTREAM_KEY", "")
        if not api_key:
            raise CommandError(
                "SWITCHYARD_UPSTREAM_KEY is not set: the server would accept anybody. Set its key."
            )
        try:
            asyncio.run(serve(options, api_key))
        except OSError as error:
            raise CommandError(
                f"Cannot listen on {options['host']}:{options['port']}: {error.strerror}."
            ) from None


async def serve(options: dict[str, Any], api_key: str) -> None:
    """Load, listen, take new versions as they come, and stop on SIGTERM or SIGINT once running requests have ended."""
    from aiohttp import web

    server = made(options, api_key)
    runner = web.AppRunner(server.application(), access_log=None, shutdown_timeout=conf("SERVING_DRAIN_S"))
    await runner.setup()
    await server.warm_up()
    await web.TCPSite(runner, options["host"], options["port"]).start()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    print(f"{options['side']} model server on http://{options['host']}:{options['port']}/v1", flush=True)
    watching = asyncio.create_task(watch_artifacts(server, conf("SERVING_RELOAD_POLL_S")))
    await stop.wait()
    server.draining = True  # /healthz says so, and callers are sent elsewhere, while what has begun is ended
    watching.cancel()
    await runner.cleanup()


def made(options: dict[str, Any], api_key: str) -> ModelServer:
    """The server of one side as the settings want it. Raises CommandError without a price sheet."""
    side, home = options["side"], Path(settings.HOME)
    trunk = None
    if side == "private":
        from modelhub.ml.trunk import ensure_trunk

        trunk = ensure_trunk(home)
    bill = None
    if side == "external":
        prices = Path(options["prices"] or home / "stand-in-prices.json")
        if not prices.is_file():
            raise CommandError(
                f"The external side bills by a price sheet and {prices} is missing: pass --prices FILE."
            )
        bill = Bill(home / "bill-external.db", prices)
    kept = Kept(home / f"serving-{side}.json")
    pool = ModelPool(
        side, trunk_dir=trunk, threads=options["threads"], ids=options["model"], room=Room(conf("SERVING_MEMORY_BYTES")),
        trust=artifact_trust(), backends=kept.backends(), providers=best_device().providers,
    )  # fmt: skip
    server = ModelServer(
        pool,
        api_key=api_key,
        bill=bill,
        deadline_s=conf("SERVING_DEADLINE_S"),
        queue_rows=conf("SERVING_QUEUE_ROWS"),
    )
    server.control.keep = kept.keep
    return server


async def watch_artifacts(server: ModelServer, seconds: float) -> None:
    """A retrained model is taken as soon as its manifest is there; nobody need tell this process."""
    while True:
        await asyncio.sleep(seconds)
        try:
            for found in await server.control.take_new():
                print(f"{found['model']} is now {found['version']}", flush=True)
        except Exception:
            log.exception("looking for new versions")
