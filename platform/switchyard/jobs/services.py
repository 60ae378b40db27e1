"""Writes of jobs: submit, cancel, pause, resume, retry. A message only wakes a worker; the row is the truth."""

from __future__ import annotations

import logging
from typing import Any

from celery import current_app
from django.db import IntegrityError, transaction

from switchyard.audit.services import record
from switchyard.core.clock import now
from switchyard.core.errors import Conflict
from switchyard.core.ids import new_id
from switchyard.jobs.lifecycle import check_move
from switchyard.jobs.models import Job, JobEvent
from switchyard.tenancy.models import LineOfBusiness, Organisation, User

log = logging.getLogger(__name__)
TASK = "modelhub.run_job"
LIVE = ("queued", "running", "paused")


def submit_once(
    *,
    kind: str,
    organisation: Organisation,
    lob: LineOfBusiness | None,
    params: dict[str, Any],
    queue: str = "default",
    user: User | None = None,
    unique_key: str = "",
) -> Job:
    """A queued job. With `unique_key`, a live job of that key is given back instead of a second one."""
    try:
        with transaction.atomic():
            job = Job.objects.create(
                id=new_id("job"), organisation=organisation, lob=lob, kind=kind, queue=queue, params=params,
                created_by=user, unique_key=unique_key, message="waiting for a worker",
            )  # fmt: skip
            _note(job, "submitted", user)
            transaction.on_commit(lambda: wake(job))
            return job
    except IntegrityError:
        existing = Job.objects.filter(unique_key=unique_key, state__in=LIVE).first() if unique_key else None
        if existing is None:
            raise
        return existing


def wake(job: Job) -> None:
    """Tell a worker. When the broker is away the row waits; the reaper wakes it later."""
    try:
        current_app.send_task(TASK, args=[job.pk], queue=job.queue, retry=False)
    except Exception as error:
        log.warning("job %s waits for the reaper: the broker is out of reach (%s)", job.pk, error)


@transaction.atomic
def cancel(*, job: Job, user: User | None) -> Job:
    """A waiting job ends at once; a running one within seconds, at its next look."""
    job = Job.objects.select_for_update().get(pk=job.pk)
    if job.state == "running":
        job.cancel_requested = True
        job.save(update_fields=["cancel_requested"])
    else:
        check_move(job.state, "cancelled")
        job.state, job.finished_at, job.message = "cancelled", now(), "cancelled before it ran"
        job.fence += 1
        job.save(update_fields=["state", "finished_at", "message", "fence"])
    _note(job, "cancel_requested", user)
    return job


@transaction.atomic
def pause(*, job: Job, user: User | None) -> Job:
    job = Job.objects.select_for_update().get(pk=job.pk)
    if job.state == "running":
        job.pause_requested = True
        job.save(update_fields=["pause_requested"])
    else:
        check_move(job.state, "paused")
        job.state, job.message = "paused", "paused before it ran"
        job.fence += 1
        job.save(update_fields=["state", "message", "fence"])
    _note(job, "pause_requested", user)
    return job


@transaction.atomic
def resume(*, job: Job, user: User | None) -> Job:
    return _requeue(job, user, "resumed", ("paused",))


@transaction.atomic
def retry(*, job: Job, user: User | None) -> Job:
    """Run an ended job again, with its attempts counted from the start; its checkpoints are still there."""
    return _requeue(job, user, "retried", ("failed", "cancelled", "quarantined"), attempt=0)


def _requeue(job: Job, user: User | None, action: str, states: tuple[str, ...], **changes: Any) -> Job:
    job = Job.objects.select_for_update().get(pk=job.pk)
    if job.state not in states:
        raise Conflict(
            f"Only a job that is {' or '.join(states)} can be {action}; this one is {job.state}.",
            code="illegal_state",
        )
    check_move(job.state, "queued")
    for name, value in {
        "state": "queued", "cancel_requested": False, "pause_requested": False, "finished_at": None, "error": "",
        "lease_until": None, "message": "waiting for a worker", "fence": job.fence + 1, **changes,
    }.items():  # fmt: skip
        setattr(job, name, value)
    job.save()
    _note(job, action, user)
    transaction.on_commit(lambda: wake(job))
    return job


def _note(job: Job, action: str, user: User | None) -> None:
    JobEvent.objects.create(job=job, message=action.replace("_", " "))
    record(
        actor=user, action=f"job.{action}", target=f"job:{job.pk}", lob=job.lob.slug if job.lob else "",
        organisation_id=job.organisation_id, detail={"kind": job.kind},
    )  # fmt: skip
