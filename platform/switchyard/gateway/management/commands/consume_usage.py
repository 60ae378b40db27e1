"""Read the event stream into the ledger: `manage.py consume_usage`."""

import signal
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from switchyard.supervisor.priority import LEDGER, step_back

MAX_STALLED_S = 60.0


class Command(BaseCommand):
    help = "Consume usage events in batches: one transaction, then acknowledge."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--once", action="store_true", help="Take what is there and end.")
        parser.add_argument(
            "--check", action="store_true", help="Health check: is the stream read, or does it stand still?"
        )

        parser.add_argument(
            "--nice", type=int, default=LEDGER, help="How far calls of /v1 go first; 0 for not at all."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        from switchyard.gateway.consumer import Consumer, stalled_s

        if options["check"]:
            waited = stalled_s(settings.REDIS_URL)
            if waited > MAX_STALLED_S:
                raise CommandError(f"The stream has not been read for {waited:.0f} s.")
            return
        consumer = Consumer(settings.REDIS_URL)
        if options["once"]:
            while consumer.step():
                pass
            consumer.roll_up()
            return
        signal.signal(signal.SIGTERM, consumer.stop)
        signal.signal(signal.SIGINT, consumer.stop)
        step_back(options["nice"], batch=True)
        self.stdout.write("ledger: consuming", ending="\n")
        consumer.run()
