"""Starting the jobs of models: the same call for the page, the REST API and the schedule."""

from __future__ import annotations

from typing import Any

from modelhub.models import Dataset, Deployment, ModelVersion
from modelhub.services import job_costs
from modelhub.services.validation import validation_rows
from switchyard.core.errors import InvalidRequest
from switchyard.jobs.models import Job
from switchyard.jobs.services import submit_once
from switchyard.tenancy.models import User, Workload

TEXT_TASK = "classification"
MOST_EPOCHS = 500


def start_fine_tune(
    *, dataset: Dataset, deployment: Deployment, user: User | None, epochs: int | str = "auto", seed: int = 0
) -> Job:
    """Queue a fine-tune of the workload's head; one at a time for each workload and deployment.

    Raises InvalidRequest for work that can't be fine-tuned, Conflict when its cost could not be charged.
    """
    workload = dataset.workload
    if workload is None or workload.task != TEXT_TASK:
        raise InvalidRequest("Fine-tuning takes rows of a classification workload.")
    _check_usable(deployment, workload)
    if deployment.side != "private" or not deployment.heads or TEXT_TASK not in deployment.tasks:
        raise InvalidRequest(
            f"{deployment.name} has no heads to fine-tune; choose a private text deployment."
        )
    if epochs != "auto" and not (str(epochs).isdigit() and 1 <= int(epochs) <= MOST_EPOCHS):
        raise InvalidRequest(f"`epochs` is `auto` or a number from 1 to {MOST_EPOCHS}.", param="epochs")
    params = {"dataset": dataset.pk, "epochs": epochs if epochs == "auto" else int(epochs), "seed": seed}
    return _submit(
        "fine_tune", workload, user, deployments={"deployment": deployment.name}, rows=dataset.rows,
        params=params, key=f"{deployment.pk}", queue="training",
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
    _check_usable(deployment, workload)
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
    limit: int | None = None,
) -> Job:
    """Queue an audit of the student's deployment against the teacher's, both by name.

    Raises InvalidRequest, Conflict when its cost could not be charged.
    """
    if workload.task != TEXT_TASK:
        raise InvalidRequest("This audit compares classifiers; name a classification workload.")
    found = {d.name: d for d in Deployment.objects.filter(organisation_id=workload.organisation_id)}
    for name in (teacher, student):
        if name not in found:
            raise InvalidRequest(f"There is no deployment {name!r}.")
        _check_usable(found[name], workload)
        if TEXT_TASK not in found[name].tasks:
            raise InvalidRequest(f"{name} is no classifier.")
    if teacher == student:
        raise InvalidRequest("Teacher and student are the same deployment.")
    rows = len(validation_rows(workload).first(limit).inputs)
    return _submit(
        "bias_audit", workload, user, deployments={"teacher": teacher, "student": student}, rows=rows,
        params={"limit": limit}, key=f"{teacher}:{student}",
    )  # fmt: skip


def _check_usable(deployment: Deployment, workload: Workload) -> None:
    """A deployment of another organisation, or that isn't this line of business's, doesn't exist for the asker."""
    lobs = set(deployment.lobs.values_list("pk", flat=True))
    if deployment.organisation_id != workload.organisation_id or (lobs and workload.lob_id not in lobs):
        raise InvalidRequest(f"There is no deployment {deployment.name!r} for {workload.lob.slug}.")


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
    return submit_once(
        kind=kind, organisation=workload.organisation, lob=workload.lob, queue=queue, user=user,
        params={"workload": workload.name, **deployments, "rows": rows, **params},
        unique_key=f"{kind}:{workload.pk}:{key}", estimated_nusd=expected,
    )  # fmt: skip
