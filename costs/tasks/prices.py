"""Scheduled looks at the price sheets."""

from __future__ import annotations

from celery import shared_task

from costs.sheets.watch import check_prices as look
from switchyard.tenancy.models import Organisation


@shared_task(name="costs.check_prices")
def check_prices() -> int:
    """Deployments without a price, or soon without one, each an alert; gives how many were found."""
    return sum(look(pk) for pk in Organisation.objects.values_list("pk", flat=True))
