"""Starting the jobs of models: the same call for the page, the REST API and the schedule."""

from __future__ import annotations

from typing import Any

from modelhub.models import Dataset, Deployment
from switchyard.core.errors import InvalidRequest
from switchyard.jobs.models import Job
from switchyard.jobs.services import submit_once
from switchyard.tenancy.models import User, Workload

TEXT_TASK = "classification"


def start_fine_tune(
    *, dataset: Dataset, deployment: Deployment, user: User | None, epochs: int | str = "auto", seed: int = 0
) -> Job:
    """Queue a fine-tune of the workload's head; one at a time for each workload and deployment."""
    workload = dataset.workload
    if workload is None or workload.task != TEXT_TASK:
        raise InvalidRequest("Fine-tuning takes rows of a classification workload.")
    if deployment.side != "private" or not deployment.heads or TEXT_TASK not in deployment.tasks:
        raise InvalidRequest(
            f"{deployment.name} has no heads to fine-tune; choose a private text deployment."
        )
    if epochs != "auto" and not 1 <= int(epochs) <= 500:
        raise InvalidRequest("`epochs` is `auto` or a number from 1 to 500.")
    return submit_once(
        kind="fine_tune", organisation=dataset.organisation, lob=dataset.lob, queue="training", user=user,
        params={"dataset": dataset.pk, "deployment": deployment.name, "epochs": epochs, "seed": seed},
        unique_key=f"fine_tune:{deployment.pk}:{workload.pk}",
    )  # fmt: skip


def start_evaluation(
    *,
    workload: Workload,
    deployment: Deployment,
    user: User | None,
    version: str = "",
    limit: int | None = None,
) -> Job:
    if workload.task not in deployment.tasks:
        raise InvalidRequest(f"{deployment.name} does not do {workload.task}.")
    params: dict[str, Any] = {
        "workload": workload.name,
        "deployment": deployment.name,
        "version": version,
        "limit": limit,
    }
    return submit_once(
        kind="evaluation", organisation=workload.organisation, lob=workload.lob, params=params, user=user,
        unique_key=f"evaluation:{workload.pk}:{deployment.pk}:{version}",
    )  # fmt: skip


def start_audit(
    *,
    workload: Workload,
    user: User | None,
    teacher: str = "private-sparse",
    student: str = "ext-mini",
    limit: int | None = None,
) -> Job:
    if workload.task != TEXT_TASK:
        raise InvalidRequest("This audit compares classifiers; name a classification workload.")
    names = set(Deployment.objects.filter(organisation=workload.organisation).values_list("name", flat=True))
    for name in (teacher, student):
        if name not in names:
            raise InvalidRequest(f"There is no deployment {name!r}.")
    params = {"workload": workload.name, "teacher": teacher, "student": student, "limit": limit}
    return submit_once(
        kind="bias_audit", organisation=workload.organisation, lob=workload.lob, params=params, user=user,
        unique_key=f"bias_audit:{workload.pk}:{teacher}:{student}",
    )  # fmt: skip
