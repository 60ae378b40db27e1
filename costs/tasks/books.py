"""Scheduled work of the books."""

from __future__ import annotations

from celery import shared_task

from costs.books import checking, closing, partitions
from switchyard.tenancy.models import Organisation


@shared_task(name="costs.verify_books")
def verify_books() -> int:
    """A check of every organisation's books, each a job whose findings become alerts; gives how many were started."""
    return len(
        [checking.start_check(organisation=organisation) for organisation in Organisation.objects.all()]
    )


@shared_task(name="costs.prepare_books")
def prepare_books() -> int:
    """Partitions of the next months before anything comes, and a row for each fiscal period; gives new partitions."""
    for pk in Organisation.objects.values_list("pk", flat=True):
        closing.ensure_periods(pk)
    return len(partitions.ensure_partitions())
