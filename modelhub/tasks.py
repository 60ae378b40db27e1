"""Celery entries of models: load the job, call its recipe. Only a job's id travels."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from celery import shared_task
from django.db.models import F

from costs.contracts import NodeRate
from costs.metering import record_job_cost
from costs.selectors import node_rates
from modelhub.models import Deployment, ModelVersion
from modelhub.services.jobs import start_audit, start_evaluation
from switchyard.core.clock import now
from switchyard.jobs import runner
from switchyard.jobs.models import Job
from switchyard.tenancy.models import Workload

RECIPES = {
    "fine_tune": "modelhub.recipes.fine_tune",
    "evaluation": "modelhub.recipes.evaluate",
    "bias_audit": "modelhub.recipes.audit_bias",
}


def recipe_of(kind: str) -> Callable[[runner.Context], dict[str, Any]]:
    """The recipe of a kind, imported when it is needed: workers alone load what it takes."""
    return import_module(RECIPES[kind]).run


@shared_task(name="modelhub.run_job")
def run_job(job_id: str) -> None:
    job = Job.objects.filter(pk=job_id).first()
    if job is None or job.kind not in RECIPES:
        return
    recipe = recipe_of(job.kind)

    def charged(context: runner.Context) -> dict[str, Any]:
        try:
            return recipe(context)
        finally:
            charge(context)

    runner.run(job_id, charged)


def charge(context: runner.Context) -> None:
    """Book the measured compute of this attempt on the line of business, once an attempt."""
    job = context.job
    rate = _rate(job)
    if rate is None or not context.accelerator_ns:
        return
    cost = record_job_cost(
        job_id=job.pk, kind=job.kind, organisation_id=job.organisation_id, lob=job.lob.slug if job.lob else "", rate=rate,
        accelerator_ns=context.accelerator_ns, at=now(), part=job.attempt,
        workload=str(job.params.get("workload", "")),
    )  # fmt: skip
    Job.objects.filter(pk=job.pk, fence=context.fence).update(cost_nusd=F("cost_nusd") + cost)


def _rate(job: Job) -> NodeRate | None:
    """The node of the private deployment the job works for, or the organisation's only one."""
    rates = node_rates(job.organisation_id)
    names = [job.params.get(role) for role in ("deployment", "teacher")]
    row = Deployment.objects.filter(
        organisation_id=job.organisation_id, name__in=[n for n in names if n], node__isnull=False
    )
    node = row.values_list("node__name", flat=True).first()
    return rates.get(node) if node else next(iter(rates.values()), None)


@shared_task(name="modelhub.reap")
def reap() -> int:
    return runner.reap()


@shared_task(name="modelhub.scheduled_evaluations")
def scheduled_evaluations() -> int:
    """One evaluation for each live version."""
    live = ModelVersion.objects.filter(stage="live", deployment__enabled=True).select_related(
        "deployment", "workload__lob"
    )
    versions = [
        v
        for v in live
        if v.workload.task in v.deployment.tasks and v.workload.task in ("classification", "prediction")
    ]
    for version in versions:
        start_evaluation(workload=version.workload, deployment=version.deployment, user=None)
    return len(versions)


@shared_task(name="modelhub.scheduled_audits")
def scheduled_audits() -> int:
    """One audit for each text workload that both sides answer."""
    count = 0
    for workload in Workload.objects.filter(task="classification").select_related("lob", "organisation"):
        sides = set(
            ModelVersion.objects.filter(workload=workload, stage="live").values_list(
                "deployment__side", flat=True
            )
        )
        if sides == {"private", "external"}:
            start_audit(workload=workload, user=None)
            count += 1
    return count
