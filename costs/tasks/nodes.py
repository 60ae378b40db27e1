"""Scheduled work of own machines: their finished hours, and versions of their cost that come into force."""

from __future__ import annotations

from datetime import timedelta

from celery import shared_task

from costs.nodes import intervals, versions
from switchyard.core.clock import now
from switchyard.tenancy.models import Organisation

LATE_WORK = timedelta(days=40)  # spools that lay still, corrections after a bill


@shared_task(name="costs.close_intervals")
def close_intervals(hours: int = 48) -> int:
    """Bill every node's finished hours; late work of the last two days is booked anew. Gives changed intervals."""
    versions.bring_into_force()
    return _close(timedelta(hours=hours))


@shared_task(name="costs.close_late_work")
def close_late_work() -> int:
    """The same for a month and more, once a day; gives changed intervals."""
    return _close(LATE_WORK)


def _close(back: timedelta) -> int:
    since = now() - back
    organisations = Organisation.objects.values_list("pk", flat=True)
    return sum(intervals.close_intervals(pk, since, now()) for pk in organisations)
