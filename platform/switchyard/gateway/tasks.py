"""Celery entries of /v1's keeping: what was kept long enough goes, and batches get their last word."""

from __future__ import annotations

from celery import shared_task

from switchyard.gateway.batches.finishing import finish_ended
from switchyard.gateway.responses.keeping import purge_expired


@shared_task(name="gateway.purge_responses")
def purge_responses() -> int:
    """Delete responses that were kept for as long as may be; gives how many."""
    return purge_expired()


@shared_task(name="gateway.finish_batches")
def finish_batches() -> int:
    """Give batches whose job ended without it their last state and files; gives how many."""
    return finish_ended()
