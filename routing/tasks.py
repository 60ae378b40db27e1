"""Celery entries of routing: live monitors, the guard's examination of every way out, rollouts, what-ifs held to account."""

from __future__ import annotations

from celery import shared_task

from routing.rollout.tally import tally
from routing.rollout.watch import watch_all
from routing.services.bias_watch import watch
from routing.services.guard_tests import examine
from routing.services.learned import learn_where_due
from routing.whatif.compare import compare_all
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


@shared_task(name="routing.watch_rollouts")
def watch_rollouts() -> dict[str, int]:
    """One look at every published version: on, or back by itself."""
    return watch_all()


@shared_task(name="routing.tally_shadows")
def tally_shadows() -> int:
    """What shadow versions would have done with the newest sampled requests; gives how many were counted."""
    return sum(tally(pk) for pk in Organisation.objects.order_by("pk").values_list("pk", flat=True))


@shared_task(name="routing.compare_what_ifs")
def compare_what_ifs() -> int:
    """What published versions were foretold to do beside what they did; gives how many were compared."""
    return compare_all()
