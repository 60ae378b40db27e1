"""Runs one job: claims its row, keeps the lease alive, and writes only while its fence holds."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NoReturn

from django.db import transaction
from django.db.models import Q

from switchyard.core.clock import now
from switchyard.core.conf import conf
from switchyard.core.errors import SwitchyardError
from switchyard.jobs import disk
from switchyard.jobs.heart import Heart
from switchyard.jobs.lifecycle import check_move
from switchyard.jobs.meter import Meter
from switchyard.jobs.models import Job, JobEvent
from switchyard.jobs.pace import Pace

log = logging.getLogger(__name__)
LOOK_EVERY_S = 2.0
LEAST_PROGRESS = 1e-6  # shares are floats: a tie is no progress


class Stopped(Exception):
    """The recipe noticed that it should stop; its checkpoint is written."""


class Fenced(Exception):
    """Another runner has the job now: whatever this one still does is void."""


@dataclass(slots=True)
class Context:
    """What a recipe sees of its job: parameters, progress, what it costs, and whether to stop."""

    job: Job
    fence: int
    meter: Meter = field(default_factory=Meter)
    watch: Callable[[Context], str] | None = (
        None  # asked at each look: why the work should pause, "" to go on
    )
    paused_because: str = ""
    _pace: Pace = field(default_factory=Pace)
    reached: float = 0.0  # the share of the work that is done, as last told
    _before_ns: int = 0
    _furthest: float = 0.0
    _looked: float = 0.0
    _stop: bool = False

    @property
    def params(self) -> dict[str, Any]:
        return self.job.params

    @property
    def accelerator_ns(self) -> int:
        """Compute of all attempts so far."""
        return self._before_ns + self.meter.read()

    def progress(self, share: float, message: str, **data: Any) -> None:
        """Show where the work is: share in 0..1; `data` goes into the log. Raises Fenced when the job was taken over."""
        self.reached = share = max(0.0, min(1.0, share))
        values: dict[str, Any] = {
            "progress": share,
            "message": message[:300],
            "eta": self._pace.reached(share),
        }
        if share > self._furthest + LEAST_PROGRESS:
            self._furthest = share
            values |= {"furthest": share, "stalled": 0}
        self.write(**values)
        if data:
            self.log(message, **data)

    def log(self, message: str, level: str = "info", **data: Any) -> None:
        """A line of the job's log. Raises Fenced."""
        with transaction.atomic():
            self.write()
            JobEvent.objects.create(job_id=self.job.pk, level=level, message=message[:500], data=data)

    def device(self, name: str) -> None:
        """What really ran: device and provider. Raises Fenced."""
        self.job.device = name[:120]
        self.write(device=self.job.device)

    def mark(self, milestone: str) -> None:
        """Remember when the work reached a milestone for the first time (`trained`, `judged`). Raises Fenced."""
        if milestone not in self.job.marks:
            self.job.marks = self.job.marks | {milestone: now().isoformat()}
            self.write(marks=self.job.marks)

    def pause(self, reason: str) -> NoReturn:
        """End here in words; `resume` goes on from the checkpoint. Raises Stopped."""
        self._stop, self.paused_because = True, reason
        raise Stopped

    @contextmanager
    def computing(self, *, on_cpu: bool = True) -> Iterator[None]:
        """Meter what happens inside; the row is told on the way out."""
        with self.meter.running(on_cpu=on_cpu):
            yield
        self.write()

    def should_stop(self) -> bool:
        """Whether somebody asked to cancel or pause, has taken the job, or there is a reason to pause it; looks at the row
        every two seconds."""
        if not self._stop and time.monotonic() - self._looked > LOOK_EVERY_S:
            self._looked = time.monotonic()
            row = self._rows().values("cancel_requested", "pause_requested").first()
            self._stop = row is None or row["cancel_requested"] or row["pause_requested"]
            if not self._stop and self.watch is not None:
                self.paused_because = self.watch(self)
                self._stop = bool(self.paused_because)
        return self._stop

    def asked_to_stop(self) -> bool:
        """Whether somebody asked to cancel or pause, by the row as it is now; for the heart's thread."""
        return self._rows().filter(Q(cancel_requested=True) | Q(pause_requested=True)).exists()

    def check(self) -> None:
        """Raises Stopped when the work should end here."""
        if self.should_stop():
            raise Stopped

    def write(self, **values: Any) -> None:
        """Change the row while it is ours, the measured compute with it. Raises Fenced."""
        if not self._rows().update(accelerator_ns=self.accelerator_ns, **values):
            raise Fenced

    def _rows(self) -> Any:
        return Job.objects.filter(pk=self.job.pk, fence=self.fence, state="running")


Recipe = Callable[[Context], dict[str, Any]]
Settle = Callable[[Job], None]


def claim(job_id: str) -> Context | None:
    """Take a queued job, or one whose runner died. None when there is nothing to take.

    A job that keeps dying without getting further is put in quarantine instead.
    """
    with transaction.atomic():
        job = Job.objects.select_for_update().filter(pk=job_id).first()
        if job is None or not _takeable(job):
            return None
        job.fence += 1
        job.lease_until = now() + timedelta(seconds=conf("JOB_LEASE_S"))
        if job.stalled >= conf("JOB_MAX_ATTEMPTS"):
            _quarantine(job)
            return None
        job.state, job.attempt, job.stalled = "running", job.attempt + 1, job.stalled + 1
        job.started_at, job.node = job.started_at or now(), conf("NODE")
        job.message = "started" if job.attempt == 1 else f"started again, attempt {job.attempt}"
        job.save(
            update_fields=[
                "state",
                "attempt",
                "stalled",
                "fence",
                "lease_until",
                "started_at",
                "message",
                "node",
            ]
        )
        JobEvent.objects.create(job=job, message=job.message)
        return Context(
            job, job.fence, reached=job.progress, _before_ns=job.accelerator_ns, _furthest=job.furthest
        )


def _takeable(job: Job) -> bool:
    if job.state == "queued":
        return True
    return job.state == "running" and job.lease_until is not None and job.lease_until < now()


def _quarantine(job: Job) -> None:
    check_move(job.state, "quarantined")
    job.state, job.finished_at, job.lease_until, job.message = "quarantined", now(), None, "in quarantine"
    job.error = (
        f"{job.stalled} attempts ended without an answer and without getting further. "
        "Look at the log, mend the cause, then retry."
    )
    job.save(update_fields=["state", "finished_at", "lease_until", "message", "error", "fence"])
    JobEvent.objects.create(job=job, level="error", message="quarantined", data={"attempts": job.attempt})


def run(
    job_id: str,
    recipe: Recipe,
    settle: Settle | None = None,
    watch: Callable[[Context], str] | None = None,
) -> Job | None:
    """Claim and run to an end state; gives the job, or None when somebody else has it.

    `settle(job)` is called in the transaction of the last write, to book what the job cost. `watch(context)` is asked every
    few seconds why the job should pause; "" lets it go on.
    """
    context = claim(job_id)
    if context is None:
        return None
    context.watch = watch
    heart = Heart(
        context.job.pk, renew=lambda until: context.write(lease_until=until), asked=context.asked_to_stop, lost=Fenced,
        stopped=Stopped,
    )  # fmt: skip
    heart.start()
    try:
        _end(context, _outcome(context, recipe, heart), settle)
    except Fenced:
        log.warning("job %s was taken over; this runner's writes are void", job_id)
    finally:
        heart.stop()
    return Job.objects.get(pk=job_id)


def _worked(context: Context, recipe: Recipe, heart: Heart) -> dict[str, Any]:
    try:
        return recipe(context)
    finally:
        heart.disarm()


def _outcome(context: Context, recipe: Recipe, heart: Heart) -> dict[str, Any]:
    """The recipe's end as columns. Raises Fenced."""
    try:
        return {
            "state": "succeeded",
            "result": _worked(context, recipe, heart),
            "progress": 1.0,
            "message": "done",
            "error": "",
            "error_code": "",
        }
    except Stopped:
        heart.disarm()
        row = Job.objects.get(pk=context.job.pk)
        if row.fence != context.fence:
            raise Fenced from None
        if row.cancel_requested:
            return {"state": "cancelled", "message": "cancelled"}
        why = context.paused_because
        message = f"paused: {why}"[:300] if why else "paused; it goes on from its checkpoint"
        return {"state": "paused", "stalled": 0, "message": message}
    except SwitchyardError as error:
        return {"state": "failed", "error": error.message, "error_code": error.code, "message": "failed"}
    except Fenced:
        raise
    except Exception as error:
        if disk.is_full(error):
            return {"state": "failed", "error": disk.TOLD, "error_code": "disk_full", "message": "failed"}
        log.exception("job %s failed", context.job.pk)
        trace = "".join(traceback.format_exception(error))[-4000:]
        context.log(str(error) or type(error).__name__, level="error", trace=trace)
        words = f"{type(error).__name__}: {error}"[:2000]
        return {"state": "failed", "error": words, "error_code": "internal_error", "message": "failed"}


def _end(context: Context, values: dict[str, Any], settle: Settle | None) -> None:
    """The last write of a runner, with its cost. Raises Fenced when the fence moved on."""
    check_move("running", values["state"])
    if values["state"] != "paused":
        values["finished_at"] = now()
    with transaction.atomic():
        context.write(lease_until=None, cancel_requested=False, pause_requested=False, eta=None, **values)
        told = values["message"] if context.paused_because else values["state"]
        JobEvent.objects.create(job_id=context.job.pk, message=told)
        if settle is not None:
            settle(Job.objects.select_related("lob").get(pk=context.job.pk))
