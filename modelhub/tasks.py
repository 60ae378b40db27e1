"""Celery entries of models: load the job, call its recipe. Only a job's id travels."""

from __future__ import annotations

from typing import Any

from celery import shared_task
from django.db import transaction
from django.db.models import F

from modelhub.models import Deployment, ModelVersion
from modelhub.services import datasets, files
from modelhub.services.activation import collect
from modelhub.services.after_jobs import follow
from modelhub.services.canary import watch_all
from modelhub.services.devices import tune_if_due
from modelhub.services.experiments import advance_all
from modelhub.services.job_costs import settle
from modelhub.services.jobs import start_audit, start_evaluation
from modelhub.services.objectives import watch_objectives
from modelhub.services.reservations import release_ended
from modelhub.services.running import run_next
from switchyard.jobs import reaper
from switchyard.jobs.models import FINAL, Job

RECIPES = {
    "fine_tune": "modelhub.recipes.fine_tune",
    "evaluation": "modelhub.recipes.evaluate",
    "bias_audit": "modelhub.recipes.audit_bias",
    "verify_books": "costs.books.checking",
    "migration": "modelhub.recipes.migrate",
    "gates": "modelhub.recipes.gates",
    "experiment": "modelhub.recipes.experiment",
    "tabular": "modelhub.recipes.retrain",
    "label_queue": "modelhub.recipes.label_queue",
    "compression": "modelhub.recipes.compress",
    "batch": "switchyard.gateway.batches.recipe",
    "import": "modelhub.recipes.import_folder",
    "probe": "modelhub.recipes.probe",
}


@shared_task(name="modelhub.run_job")
def run_job(job_id: str) -> None:
    """Run the job whose turn it is; a message too many, or of a job that is gone, does nothing."""
    ended = run_next(job_id, RECIPES)
    if ended is not None and ended.state in FINAL:
        follow(ended)


@shared_task(name="modelhub.watch_canaries")
def watch_canaries() -> dict[str, int]:
    """One look at every version on trial: back, live, or on."""
    return watch_all()


@shared_task(name="modelhub.watch_objectives")
def watch_accuracy() -> int:
    """One look at every accuracy objective; gives how many deployments rest."""
    return watch_objectives()


@shared_task(name="modelhub.advance_experiments")
def advance_experiments() -> int:
    """Take in what ended while nobody followed; gives how many are under way."""
    return advance_all()


@shared_task(name="modelhub.reap")
def reap() -> int:
    """Wake what nobody works on, and book what ended without its last write; gives how many were woken."""
    settle_ended()
    release_ended()
    return reaper.reap()


@shared_task(name="modelhub.purge_files")
def purge_files() -> int:
    """Delete files and rows that were kept for as long as may be; gives how many."""
    return files.purge_expired() + datasets.purge_expired()


def settle_ended() -> int:
    """Book compute of jobs that a reaper or a person ended in their runner's place; gives how many."""
    unpaid = Job.objects.filter(state__in=FINAL | {"paused"}, accelerator_ns__gt=F("charged_ns"))
    ids = list(unpaid.values_list("pk", flat=True)[:200])
    for pk in ids:
        with transaction.atomic():
            settle(Job.objects.select_for_update(of=("self",)).select_related("lob").get(pk=pk))
    return len(ids)


@shared_task(name="modelhub.collect_activations")
def collect_activations() -> int:
    """Expert counts of every organisation's own servers; gives how many windows were stored."""
    owners = Deployment.objects.filter(side="private", enabled=True).values_list("organisation_id", flat=True)
    return sum(collect(organisation_id) for organisation_id in sorted(set(owners)))


@shared_task(name="modelhub.tune_devices", queue="training")
def tune_devices() -> bool:
    """Which implementation of each operator is quickest here, once a machine: where training runs, so do the runtimes."""
    return tune_if_due()


@shared_task(name="modelhub.scheduled_evaluations")
def scheduled_evaluations() -> int:
    """One evaluation for each live version that has held-back rows; gives how many wait."""
    return sum(
        start_evaluation(workload=version.workload, deployment=version.deployment, user=None) is not None
        for version in _live_versions()
        if version.workload.task in version.deployment.tasks
    )


@shared_task(name="modelhub.scheduled_audits")
def scheduled_audits() -> int:
    """One audit for each text workload that both sides answer: the external model against the private one."""
    sides: dict[Any, dict[str, str]] = {}
    for version in _live_versions():
        if version.workload.task == "classification" and "classification" in version.deployment.tasks:
            sides.setdefault(version.workload, {}).setdefault(
                version.deployment.side, version.deployment.name
            )
    both = {workload: names for workload, names in sides.items() if len(names) == 2}
    for workload, names in both.items():
        start_audit(workload=workload, user=None, teacher=names["private"], student=names["external"])
    return len(both)


@shared_task(name="modelhub.owed_audits")
def owed_audits() -> int:
    """Audits of smaller copies that wait for their gates; gives how many were started."""
    from modelhub.services.bias_audits import start_owed

    return start_owed()


def _live_versions() -> Any:
    """Of workloads that can be judged; ordered, so that the same deployments are compared every time."""
    from modelhub.services.validation import has_validation_rows

    live = ModelVersion.objects.filter(stage="live", deployment__enabled=True)
    rows = live.select_related("deployment", "workload__lob", "workload__organisation")
    return [row for row in rows.order_by("deployment__name") if has_validation_rows(row.workload)]
