"""A job's money: held in its budgets before it starts, more when it turns out dearer, given back when it is booked.

estimate → hold → (measured cost outgrows it → hold more, or pause at the next checkpoint) → book → give the hold back
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import redis
from django.db import transaction
from django.db.models import Sum

from costs.budgets.holds import hold, release, sweep
from costs.pricing import private_cost
from modelhub.services.job_costs import deployments_of, rate_for, settle
from switchyard.core.errors import BudgetExhausted
from switchyard.jobs.models import FINAL, Job
from switchyard.jobs.runner import Context

log = logging.getLogger(__name__)
LIVE = ("queued", "running", "paused")
MARGIN = 1.5  # of what was measured so far, when the pace says less
EXPECTED = "expected_nusd"  # in params: what the pace said when the money ran out


def reserve(job: Job, amount_nusd: int) -> None:
    """Hold so much in every budget on the job's path. Raises BudgetExhausted; what it held before stays then."""
    others = Job.objects.filter(organisation_id=job.organisation_id, state__in=LIVE).exclude(pk=job.pk)
    held = others.aggregate(nusd=Sum("reserved_nusd"))["nusd"] or 0
    hold(
        job.pk, organisation_id=job.organisation_id, lob=_lob(job), amount_nusd=amount_nusd, others_nusd=held
    )
    Job.objects.filter(pk=job.pk).update(reserved_nusd=amount_nusd)
    job.reserved_nusd = amount_nusd


def reserve_or_pause(context: Context) -> None:
    """At the start of an attempt: what is left of the expected cost is held, or the job pauses and says why. Raises Stopped."""
    job = context.job
    expected = job.params.get(EXPECTED) or job.estimated_nusd
    if job.reserved_nusd or not expected or job.lob_id is None:
        return
    try:
        reserve(job, max(1, round(expected * (1 - min(job.progress, 0.99)))))
    except BudgetExhausted as error:
        context.pause(error.message)


def watcher(job: Job) -> Callable[[Context], str]:
    """For the runner: why the job should pause for want of money, "" to go on."""
    rate = rate_for(job.organisation_id, deployments_of(job)) if job.lob_id is not None else None

    def watch(context: Context) -> str:
        if rate is None:
            return ""
        unbooked = private_cost(context.accelerator_ns - context.job.charged_ns, rate)
        if unbooked <= context.job.reserved_nusd:
            return ""
        whole = private_cost(context.accelerator_ns, rate)
        expected = max(round(whole * MARGIN), round(whole / max(context.reached, 0.01)))
        try:
            reserve(context.job, expected - (whole - unbooked))
        except BudgetExhausted as error:
            _remember(context, expected)
            return error.message
        return ""

    return watch


def _remember(context: Context, expected_nusd: int) -> None:
    """What it will come to, so that it isn't resumed on an estimate that proved too low. Raises Fenced."""
    context.job.params = context.job.params | {EXPECTED: expected_nusd}
    context.write(params=context.job.params)


def book(job: Job) -> None:
    """Book what was measured and give the hold back; call it in the transaction of the job's last write."""
    before = job.cost_nusd
    settle(job)
    give_back(job, spent_nusd=Job.objects.values_list("cost_nusd", flat=True).get(pk=job.pk) - before)


def give_back(job: Job, *, spent_nusd: int = 0) -> None:
    """Once the transaction is through, nothing is held for the job any more."""
    Job.objects.filter(pk=job.pk).update(reserved_nusd=0)
    job.reserved_nusd = 0
    organisation_id, lob = job.organisation_id, _lob(job)
    transaction.on_commit(
        lambda: release(job.pk, organisation_id=organisation_id, lob=lob, spent_nusd=spent_nusd)
    )


def release_ended() -> int:
    """Give back what jobs hold that ended or paused without their runner, and have the counters say what the rows say."""
    over = Job.objects.filter(state__in=FINAL | {"paused"}, reserved_nusd__gt=0).select_related("lob")
    done = 0
    for job in over[:200]:
        with transaction.atomic():
            give_back(job)
        done += 1
    try:
        sweep(_living)
    except redis.RedisError:
        log.warning("holds aren't compared: the counters can't be reached")
    return done


def _living() -> dict[str, tuple[int, str, int]]:
    rows = Job.objects.filter(state__in=LIVE, reserved_nusd__gt=0).select_related("lob")
    return {job.pk: (job.organisation_id, _lob(job), job.reserved_nusd) for job in rows}


def _lob(job: Job) -> str:
    return job.lob.slug if job.lob is not None else ""
