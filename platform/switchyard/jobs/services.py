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
QUEUES = ("default", "training")
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
    estimated_nusd: int | None = None,
) -> Job:
    """A queued job. With `unique_key`, a live job of that key is given back instead of a second one.

    Keys are kept apart by organisation. Raises ValueError for a kind or a queue that nobody works on.
    """
    if kind not in Job.KINDS or queue not in QUEUES:
        raise ValueError(f"kind {kind!r} or queue {queue!r} is unknown")
    key = f"{organisation.pk}:{unique_key}"[:200] if unique_key else ""
    try:
        with transaction.atomic():
            job = Job.objects.create(
                id=new_id("job"), organisation=organisation, lob=lob, kind=kind, queue=queue, params=params,
                created_by=user, unique_key=key, estimated_nusd=estimated_nusd, message="waiting for a worker",
            )  # fmt: skip
            _note(job, "submitted", user)
            transaction.on_commit(lambda: wake(job))
            return job
    except IntegrityError:
        existing = Job.objects.filter(unique_key=key, state__in=LIVE).first() if key else None
        if existing is None:
            raise
        return existing


def wake(job: Job) -> None:
    """Tell a worker. When the broker is away the row waits; the reaper wakes it later."""
    try:
        current_app.send_task(TASK, args=[job.pk], queue=job.queue, retry=False)
    except Exception as error:
        log.warning("job %s waits for the reaper: the broker is out of reach (%s)", job.pk, error)
        return
    Job.objects.filter(pk=job.pk).update(woken_at=now())


def cancel(*, job: Job, user: User | None) -> Job:
    """A waiting job ends at once; a running one within seconds, at its next look. Raises Conflict."""
    return _stop(job, user, state="cancelled", flag="cancel_requested", message="cancelled before it ran")


def pause(*, job: Job, user: User | None) -> Job:
    """Like `cancel`, but `resume` goes on from the checkpoint. Raises Conflict."""
    return _stop(job, user, state="paused", flag="pause_requested", message="paused before it ran")


@transaction.atomic
def _stop(job: Job, user: User | None, *, state: str, flag: str, message: str) -> Job:
    job = _locked(job)
    check_move(job.state, state)
    if job.state == "running":
        setattr(job, flag, True)
        job.save(update_fields=[flag])
    else:
        job.state, job.message, job.fence = state, message, job.fence + 1
        job.finished_at = now() if state == "cancelled" else None
        job.save(update_fields=["state", "message", "fence", "finished_at"])
    _note(job, flag, user)
    return job


@transaction.atomic
def resume(*, job: Job, user: User | None) -> Job:
    """Queue a paused job again; it goes on from its checkpoint. One that was asked to pause and still runs just runs on.

    Raises Conflict.
    """
    asked = Job.objects.filter(pk=job.pk, state="running", pause_requested=True, cancel_requested=False)
    if asked.update(pause_requested=False):
        _note(job, "resumed", user)
        return _locked(job)
    return _requeue(job, user, "resumed", ("paused",))


@transaction.atomic
def retry(*, job: Job, user: User | None) -> Job:
    """Run an ended job again, with its attempts counted from the start; its checkpoints are still there."""
    return _requeue(job, user, "retried", ("failed", "cancelled", "quarantined"), attempt=0, stalled=0)


def _requeue(job: Job, user: User | None, action: str, states: tuple[str, ...], **changes: Any) -> Job:
    job = _locked(job)
    if job.state not in states:
        raise Conflict(
            f"Only a job that is {' or '.join(states)} can be {action}; this one is {job.state}.",
            code="illegal_state",
        )
    check_move(job.state, "queued")
    values = {
        "state": "queued", "cancel_requested": False, "pause_requested": False, "finished_at": None, "error": "",
        "error_code": "", "eta": None, "lease_until": None, "message": "waiting for a worker", "fence": job.fence + 1,
        **changes,
    }  # fmt: skip
    for name, value in values.items():
        setattr(job, name, value)
    try:
        with transaction.atomic():
            job.save(update_fields=list(values))
    except IntegrityError:
        raise Conflict(
            "The same work is queued or running in another job; wait for that one.", code="already_running"
        ) from None
    _note(job, action, user)
    transaction.on_commit(lambda: wake(job))
    return job


def _locked(job: Job) -> Job:
    return Job.objects.select_for_update(of=("self",)).select_related("lob").get(pk=job.pk)


def _note(job: Job, action: str, user: User | None) -> None:
    JobEvent.objects.create(job=job, message=action.replace("_", " "))
    record(
        actor=user, action=f"job.{action}", target=f"job:{job.pk}", lob=job.lob.slug if job.lob else "",
        organisation_id=job.organisation_id, detail={"kind": job.kind},
    )  # fmt: skip
