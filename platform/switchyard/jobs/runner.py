"""Runs one job: claims its row, keeps the lease alive, and writes only while its fence holds."""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db import connection, transaction

from switchyard.core.clock import now
from switchyard.core.conf import conf
from switchyard.core.errors import SwitchyardError
from switchyard.jobs import services
from switchyard.jobs.models import Job, JobEvent

log = logging.getLogger(__name__)
LOOK_EVERY_S = 2.0


class Stopped(Exception):
    """The recipe noticed that it should stop; its checkpoint is written."""


class Fenced(Exception):
    """Another runner has the job now: whatever this one still does is void."""


Recipe = Callable[["Context"], dict[str, Any]]


@dataclass(slots=True)
class Context:
    """What a recipe sees of its job: parameters, progress, and whether to stop."""

    job: Job
    fence: int
    accelerator_ns: int = 0
    _looked: float = field(default=0.0)
    _stop: bool = field(default=False)

    @property
    def params(self) -> dict[str, Any]:
        return self.job.params

    def progress(self, share: float, message: str, **data: Any) -> None:
        """Show where the work is: share in 0..1. Raises Fenced when the job was taken over."""
        self._write(progress=max(0.0, min(1.0, share)), message=message[:300])
        if data:
            JobEvent.objects.create(job_id=self.job.pk, message=message[:500], data=data)

    def log(self, message: str, **data: Any) -> None:
        JobEvent.objects.create(job_id=self.job.pk, message=message[:500], data=data)

    def device(self, name: str) -> None:
        """What really ran: device and provider."""
        self._write(device=name[:120])

    def should_stop(self) -> bool:
        """Whether somebody asked to cancel or pause; looks at the row every two seconds at most."""
        if not self._stop and time.monotonic() - self._looked > LOOK_EVERY_S:
            self._looked = time.monotonic()
            row = (
                Job.objects.filter(pk=self.job.pk)
                .values("cancel_requested", "pause_requested", "fence")
                .first()
            )
            self._stop = (
                row is None or row["fence"] != self.fence or row["cancel_requested"] or row["pause_requested"]
            )
        return self._stop

    def check(self) -> None:
        if self.should_stop():
            raise Stopped

    def _write(self, **values: Any) -> None:
        if not Job.objects.filter(pk=self.job.pk, fence=self.fence, state="running").update(**values):
            raise Fenced


def claim(job_id: str) -> Context | None:
    """Take a queued job, or one whose runner died. None when there is nothing to take."""
    with transaction.atomic():
        job = Job.objects.select_for_update().filter(pk=job_id).first()
        if job is None or not _takeable(job):
            return None
        if job.attempt >= conf("JOB_MAX_ATTEMPTS"):
            job.state, job.finished_at = "quarantined", now()
            job.error = f"Tried {job.attempt} times and each runner died. Look at the log, mend the cause, then retry."
            job.fence += 1
            job.save()
            return None
        job.state, job.attempt, job.fence = "running", job.attempt + 1, job.fence + 1
        job.lease_until = now() + timedelta(seconds=conf("JOB_LEASE_S"))
        job.started_at = job.started_at or now()
        job.message = "started" if job.attempt == 1 else f"started again, attempt {job.attempt}"
        job.save()
        JobEvent.objects.create(job=job, message=job.message)
        return Context(job, job.fence)


def _takeable(job: Job) -> bool:
    if job.state == "queued":
        return True
    return job.state == "running" and job.lease_until is not None and job.lease_until < now()


def run(job_id: str, recipe: Recipe) -> Job | None:
    """Claim and run to an end state; gives the job, or None when somebody else has it."""
    context = claim(job_id)
    if context is None:
        return None
    heart = _Heart(context)
    heart.start()
    try:
        result = recipe(context)
        _end(context, "succeeded", result=result, progress=1.0, message="done")
    except Stopped:
        _stopped(context)
    except Fenced:
        log.warning("job %s was taken over; this runner's writes are void", job_id)
    except SwitchyardError as error:
        _end(context, "failed", error=error.message, message="failed")
    except Exception as error:
        log.exception("job %s failed", job_id)
        trace = "".join(traceback.format_exception(error))[-4000:]
        JobEvent.objects.create(job_id=job_id, level="error", message=str(error)[:500], data={"trace": trace})
        _end(context, "failed", error=f"{type(error).__name__}: {error}"[:2000], message="failed")
    finally:
        heart.stop()
    return Job.objects.get(pk=job_id)


def _stopped(context: Context) -> None:
    row = Job.objects.get(pk=context.job.pk)
    if row.cancel_requested:
        _end(context, "cancelled", message="cancelled")
    else:
        _end(context, "paused", message="paused; it goes on from its checkpoint")


def _end(context: Context, state: str, **values: Any) -> None:
    """The last write of a runner; nothing happens when the fence moved on."""
    ended = {} if state == "paused" else {"finished_at": now()}
    rows = Job.objects.filter(pk=context.job.pk, fence=context.fence, state="running")
    if rows.update(
        state=state, lease_until=None, cancel_requested=False, pause_requested=False, **ended, **values
    ):
        JobEvent.objects.create(job_id=context.job.pk, message=state)


class _Heart(threading.Thread):
    """Renews the lease from a thread of its own until the work ends."""

    def __init__(self, context: Context) -> None:
        super().__init__(name=f"heart-{context.job.pk}", daemon=True)
        self._context, self._ended = context, threading.Event()

    def run(self) -> None:
        try:
            while not self._ended.wait(conf("JOB_HEARTBEAT_S")):
                until = now() + timedelta(seconds=conf("JOB_LEASE_S"))
                rows = Job.objects.filter(pk=self._context.job.pk, fence=self._context.fence, state="running")
                if not rows.update(lease_until=until):
                    return
        except Exception:
            log.exception("the heartbeat of job %s failed; its lease will end", self._context.job.pk)
        finally:
            connection.close()

    def stop(self) -> None:
        self._ended.set()
        self.join(timeout=5)


def reap() -> int:
    """Wake what nobody works on: rows whose lease ended, and queued ones whose message was lost. Gives how many."""
    stale = Job.objects.filter(state="running", lease_until__lt=now())
    forgotten = Job.objects.filter(
        state="queued", created_at__lt=now() - timedelta(seconds=conf("JOB_LEASE_S"))
    )
    jobs = list((stale | forgotten)[:200])
    for job in jobs:
        services.wake(job)
    return len(jobs)
