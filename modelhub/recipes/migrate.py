"""A live deployment to another backend: prepare → order → follow → write down how it ended."""

from __future__ import annotations

from typing import Any

from modelhub.models import Deployment
from modelhub.services import migration
from switchyard.core.errors import NotFound
from switchyard.jobs.runner import Context, Stopped

SHARES = {"opening": 0.1, "comparing": 0.2, "watching": 0.6}


def run(context: Context) -> dict[str, Any]:
    """params: {"deployment", "backend", "agreement", "latency_ratio", "rows", "patience_s"}. Result: the server's report.

    A move that came back is a result, not a failure: the deployment answers as before.
    """
    job, params = context.job, context.params
    deployment = Deployment.objects.filter(name=params["deployment"], organisation=job.organisation).first()
    if deployment is None:
        raise NotFound("The deployment of this job is gone.")
    with context.computing():
        made = migration.prepare(deployment, params["backend"])
    context.progress(0.1, f"{len(made)} graphs quantised" if made else "nothing to prepare")
    report = migration.follow(
        deployment, migration.order(deployment, params), lambda told: _look(context, told)
    )
    context.device(f"{report['source']} to {params['backend']}")
    migration.note(
        deployment, f"migration_{report['state']}", job.created_by, backend=params["backend"], why=report["why"], job=job.pk,
        compared=report["compared"]["rows"] + report["golden"]["rows"], watched=report["watched"]["rows"],
    )  # fmt: skip
    if context.should_stop():
        raise Stopped
    return report


def _look(context: Context, report: dict[str, Any]) -> bool:
    """Shows where it is; False when somebody asked to stop."""
    state, rows = report["state"], report["bounds"]["rows"]
    done = report["watched" if state == "watching" else "compared"]["rows"]
    agreed = report["golden"]["agreed"] + report["compared"]["agreed"] + report["watched"]["agreed"]
    seen = report["golden"]["rows"] + report["compared"]["rows"] + report["watched"]["rows"]
    share = SHARES.get(state, 0.1) + 0.35 * min(1.0, done / rows)
    context.progress(share, f"{state}: {agreed} of {seen} answers agree")
    return not context.should_stop()
