"""What a worker does with a message: the job whose turn it is, its money held, its end booked, once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from modelhub.services import reservations
from modelhub.services.tuned import name_the_version, with_trained_tokens
from switchyard.jobs import runner
from switchyard.jobs.fairness import next_job
from switchyard.jobs.models import Job

TRIES = 5  # other workers may take the same job first
VENDOR_RECIPE = "modelhub.recipes.vendor_fine_tune"


def run_next(job_id: str, recipes: Mapping[str, str]) -> Job | None:
    """Run the job whose turn it is where the message's job waits; gives the ended job, or None when nothing was to do.

    `recipes`: kind → module with `run(context)`.
    """
    named = Job.objects.filter(pk=job_id).first()
    if named is None or named.kind not in recipes:
        return None
    if named.state == "running":  # its runner may be dead
        return run_one(named, recipes)
    for _ in range(TRIES):
        job = next_job(named, queue=named.queue, kinds=list(recipes))
        if job is None:
            return None
        if (ended := run_one(job, recipes)) is not None:
            return ended
        named.refresh_from_db(fields=["state"])
    return None


def run_one(job: Job, recipes: Mapping[str, str]) -> Job | None:
    """Run exactly this job; None when somebody else has it."""

    def paid(context: runner.Context) -> dict[str, Any]:
        reservations.reserve_or_pause(context)
        return with_trained_tokens(context.job, recipe_of(job, recipes)(context))

    return runner.run(job.pk, paid, _end, reservations.watcher(job))


def recipe_of(job: Job, recipes: Mapping[str, str]) -> Callable[[runner.Context], dict[str, Any]]:
    """Imported when it is needed: workers alone load what it takes."""
    vendor = job.kind == "fine_tune" and job.params.get("side") == "external"
    return import_module(VENDOR_RECIPE if vendor else recipes[job.kind]).run


def _end(job: Job) -> None:
    """In the transaction of the last write."""
    reservations.book(job)
    if job.state == "succeeded" and job.result.get("candidate"):
        name_the_version(job)
