"""Jobs for tests: a recipe stands in for work, the rows and the clock are real."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from switchyard.core.clock import now
from switchyard.jobs.models import Job
from switchyard.jobs.services import submit_once
from tests.factories import make_lob


def make_job(**kwargs: Any) -> Job:
    """A queued job of customer-service."""
    lob = kwargs.pop("lob", None) or make_lob()
    values = {"kind": "evaluation", "params": {"workload": "support-sentiment"}, "queue": "default"}
    return submit_once(
        organisation=lob.organisation, lob=lob, **{"user": None, "unique_key": ""} | values | kwargs
    )


def let_lease_end(job: Job) -> None:
    """As if the runner had been dead for longer than its lease."""
    Job.objects.filter(pk=job.pk).update(lease_until=now() - timedelta(seconds=1))
