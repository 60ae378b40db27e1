"""Read the event stream into the ledger: `manage.py consume_usage`."""

import signal
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = "Consume usage events in batches: one transaction, then acknowledge."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--once", action="store_true", help="Take what is there and end.")

    def handle(self, *args: Any, **options: Any) -> None:
        from switchyard.gateway.consumer import Consumer

        consumer = Consumer(settings.REDIS_URL)
        if options["once"]:
            while consumer.step():
                pass
            consumer.roll_up()
            return
        signal.signal(signal.SIGTERM, consumer.stop)
        signal.signal(signal.SIGINT, consumer.stop)
        self.stdout.write("ledger: consuming", ending="\n")
        consumer.run()
