"""Starting the jobs of models: the same call for the page, the REST API and the schedule."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from modelhub.models import Dataset, Deployment, ModelVersion
from modelhub.services import fine_tuning, job_costs, reservations
from modelhub.services.access import check_usable
from modelhub.services.validation import validation_rows
from switchyard.core.errors import InvalidRequest
from switchyard.jobs.models import Job
from switchyard.jobs.services import submit_once
from switchyard.tenancy.models import User, Workload

TEXT_TASK = "classification"


def start_fine_tune(
    *,
    dataset: Dataset,
    deployment: Deployment,
    user: User | None,
    epochs: int | str = "auto",
    seed: int = 0,
    validation_dataset: Dataset | None = None,
    **settings: Any,
) -> Job:
    """Queue a fine-tune; see modelhub.services.fine_tuning, whose Settings name the rest."""
    if isinstance(epochs, str) and epochs.isdigit():
        epochs = int(epochs)
    return fine_tuning.start(
        dataset=dataset, deployment=deployment, user=user, validation=validation_dataset,
        settings=fine_tuning.Settings(epochs=epochs, seed=seed, **settings),
    )  # fmt: skip


def start_evaluation(
    *,
    workload: Workload,
    deployment: Deployment,
    user: User | None,
    version: str = "",
    limit: int | None = None,
    dataset: Dataset | None = None,
) -> Job:
    """Queue an evaluation on the workload's validation rows, or on those of an uploaded set.

    Raises InvalidRequest, Conflict when its cost could not be charged.
    """
    check_usable(deployment, workload)
    if workload.task not in deployment.tasks:
        raise InvalidRequest(f"{deployment.name} does not do {workload.task}.")
    if (
        version
        and not ModelVersion.objects.filter(
            workload=workload, deployment=deployment, version=version
        ).exists()
    ):
        raise InvalidRequest(f"{deployment.name} has no version {version!r} of {workload.name}.")
    if dataset is not None and dataset.lob_id != workload.lob_id:
        raise InvalidRequest("The data set is another line of business's.")
    rows = len(validation_rows(workload, dataset).first(limit).inputs)
    params = {"version": version, "limit": limit, "dataset": dataset.pk if dataset else None}
    return _submit(
        "evaluation", workload, user, deployments={"deployment": deployment.name}, rows=rows, params=params,
        key=f"{deployment.pk}:{version}:{dataset.pk if dataset else ''}",
    )  # fmt: skip


def start_audit(
    *,
    workload: Workload,
    user: User | None,
    teacher: str = "private-sparse",
    student: str = "ext-mini",
    student_version: str = "",
    limit: int | None = None,
) -> Job:
    """Queue an audit of the student's deployment against the teacher's, both by name; `student_version` names one that
    need not be live.

    Raises InvalidRequest, Conflict when its cost could not be charged.
    """
    if workload.task != TEXT_TASK:
        raise InvalidRequest("This audit compares classifiers; name a classification workload.")
    found = {d.name: d for d in Deployment.objects.filter(organisation_id=workload.organisation_id)}
    for name in (teacher, student):
        if name not in found:
            raise InvalidRequest(f"There is no deployment {name!r}.")
        check_usable(found[name], workload)
        if TEXT_TASK not in found[name].tasks:
            raise InvalidRequest(f"{name} is no classifier.")
    if (
        student_version
        and not ModelVersion.objects.filter(
            workload=workload, deployment=found[student], version=student_version
        ).exists()
    ):
        raise InvalidRequest(f"{student} has no version {student_version!r} of {workload.name}.")
    if teacher == student and not student_version:
        raise InvalidRequest("Teacher and student are the same deployment; name the student's version.")
    rows = len(validation_rows(workload).first(limit).inputs)
    return _submit(
        "bias_audit", workload, user, deployments={"teacher": teacher, "student": student}, rows=rows,
        params={"limit": limit} | ({"student_version": student_version} if student_version else {}),
        key=f"{teacher}:{student}:{student_version}",
    )  # fmt: skip


def _submit(
    kind: str,
    workload: Workload,
    user: User | None,
    *,
    deployments: dict[str, str],
    rows: int,
    params: dict[str, Any],
    key: str,
    queue: str = "default",
) -> Job:
    expected = job_costs.estimate(
        kind=kind, organisation_id=workload.organisation_id, deployments=list(deployments.values()),
        workload=workload.name, rows=rows,
    )  # fmt: skip
    with transaction.atomic():
        job = submit_once(
            kind=kind, organisation=workload.organisation, lob=workload.lob, queue=queue, user=user,
            params={"workload": workload.name, **deployments, "rows": rows, **params},
            unique_key=f"{kind}:{workload.pk}:{key}", estimated_nusd=expected,
        )  # fmt: skip
        if job.state == "queued" and not job.reserved_nusd and job.attempt == 0:
            reservations.reserve(job, expected)
    return job
