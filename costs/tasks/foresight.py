"""What spending will come to, and what stands out of it."""

from __future__ import annotations

from celery import shared_task

from costs import outlook
from switchyard.tenancy.models import Organisation


@shared_task(name="costs.make_forecasts")
def make_forecasts() -> int:
    """This month's end of every organisation and line of business; gives how many estimates."""
    return sum(len(outlook.forecast_month(pk)) for pk in Organisation.objects.values_list("pk", flat=True))


@shared_task(name="costs.find_anomalies")
def find_anomalies() -> int:
    """The last whole days of every workload against its own past; gives how many stand out."""
    return sum(len(outlook.find_anomalies(pk)) for pk in Organisation.objects.values_list("pk", flat=True))


@shared_task(name="costs.find_bursts")
def find_bursts() -> int:
    """The running hour and the one before; gives how many workloads spend far too fast."""
    return sum(len(outlook.find_bursts(pk)) for pk in Organisation.objects.values_list("pk", flat=True))
