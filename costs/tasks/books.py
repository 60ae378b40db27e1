"""Scheduled work of the books."""

from __future__ import annotations

import redis
from celery import shared_task

from costs.books import closing, partitions, verification
from costs.books.reservations import verify_counters
from costs.budgets import client
from costs.models import Alert
from switchyard.core.clock import now
from switchyard.tenancy.models import Organisation


@shared_task(name="costs.verify_books")
def verify_books() -> list[str]:
    """What is wrong with the books, each finding an alert as well."""
    found = []
    for organisation in Organisation.objects.all():
        findings = verification.verify_books(organisation.pk)
        try:
            findings += verify_counters(organisation.pk, client())
        except redis.RedisError as error:
            findings.append(f"Valkey's counters can't be compared: {error}")
        for finding in findings:
            found.append(finding)
            Alert.objects.get_or_create(
                unique_key=f"books:{organisation.pk}:{now():%Y%m%d}:{finding}"[:160],
                defaults={
                    "organisation_id": organisation.pk,
                    "kind": "books",
                    "subject": "ledger",
                    "message": finding[:400],
                },
            )
    return found


@shared_task(name="costs.prepare_books")
def prepare_books() -> int:
    """Partitions of the next months before anything comes, and a row for each fiscal period; gives new partitions."""
    for pk in Organisation.objects.values_list("pk", flat=True):
        closing.ensure_periods(pk)
    return len(partitions.ensure_partitions())
