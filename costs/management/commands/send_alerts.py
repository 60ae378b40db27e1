"""Send what waits in the outbox now: `manage.py send_alerts`."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from costs.models import AlertDelivery
from costs.notify import outbox


class Command(BaseCommand):
    help = "Write deliveries for alerts without any, then try those that are due."

    def handle(self, *args: Any, **options: Any) -> None:
        gathered = outbox.gather()
        sent, missed = outbox.send_due()
        waiting = AlertDelivery.objects.filter(state="pending").count()
        self.stdout.write(f"{gathered} gathered, {sent} sent, {missed} not sent, {waiting} waiting")
