"""Celery entries of routing: live monitors, and the guard's examination of every way out."""

from __future__ import annotations

from celery import shared_task

from routing.services.bias_watch import watch
from routing.services.guard_tests import examine
from routing.services.learned import learn_where_due
from switchyard.tenancy.models import Organisation


@shared_task(name="routing.watch_bias")
def watch_bias() -> int:
    """Every organisation's new decisions and feedback; gives how many were read."""
    return sum(watch(pk) for pk in Organisation.objects.order_by("pk").values_list("pk", flat=True))


@shared_task(name="routing.learn")
def learn() -> int:
    """Workloads with enough new judged answers; gives how many fits were put into use."""
    return learn_where_due()


@shared_task(name="routing.guard_self_test")
def guard_self_test() -> int:
    """A planted output through every route; gives how many routes failed."""
    return len(examine())
