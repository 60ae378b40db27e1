"""Finds jobs that nobody works on: their runner died, or their message did."""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction
from django.db.models import Q

from switchyard.core.clock import now
from switchyard.core.conf import conf
from switchyard.jobs import services
from switchyard.jobs.models import Job, JobEvent

MOST_AT_ONCE = 200


def reap() -> int:
    """Queue what died again and wake what waits unheard; gives how many jobs were woken."""
    jobs = [job for pk in _stale_ids() if (job := _requeue_stale(pk)) is not None]
    jobs += _unheard()
    for job in jobs:
        services.wake(job)
    return len(jobs)


def _stale_ids() -> list[str]:
    rows = Job.objects.filter(state="running", lease_until__lt=now()).order_by("lease_until")
    return list(rows.values_list("pk", flat=True)[:MOST_AT_ONCE])


@transaction.atomic
def _requeue_stale(job_id: str) -> Job | None:
    """Fence the dead runner off. What was asked of it (to cancel, to pause) is done in its place."""
    job = Job.objects.select_for_update().filter(pk=job_id, state="running", lease_until__lt=now()).first()
    if job is None:
        return None
    job.fence, job.lease_until, job.eta = job.fence + 1, None, None
    job.state, job.message = "queued", "its runner died; waiting for another"
    if job.cancel_requested:
        job.state, job.message, job.finished_at = "cancelled", "cancelled", now()
    elif job.pause_requested:
        job.state, job.message = "paused", "paused; it goes on from its checkpoint"
    job.cancel_requested = job.pause_requested = False
    job.save(
        update_fields=[
            "state", "message", "fence", "lease_until", "eta", "finished_at", "cancel_requested", "pause_requested"
        ]
    )  # fmt: skip
    JobEvent.objects.create(
        job=job, level="warning", message=f"the runner of attempt {job.attempt} died; {job.state}"
    )
    return job if job.state == "queued" else None


def _unheard() -> list[Job]:
    """Queued rows whose message was never sent, or so long ago that it may have died with the broker."""
    fresh = now() - timedelta(seconds=conf("JOB_HEARTBEAT_S"))
    lost = now() - timedelta(seconds=conf("JOB_WAKE_AGAIN_S"))
    never_sent = Q(woken_at__isnull=True, created_at__lt=fresh)
    rows = Job.objects.filter(state="queued").filter(never_sent | Q(woken_at__lt=lost))
    return list(rows.order_by("created_at")[:MOST_AT_ONCE])
