"""Alerts on their way."""

from __future__ import annotations

from celery import shared_task

from costs.notify import outbox


@shared_task(name="costs.send_alerts")
def send_alerts() -> int:
    """Deliveries for alerts that were written without any, then those that are due; gives how many were sent."""
    outbox.gather()
    sent, _ = outbox.send_due()
    return sent
