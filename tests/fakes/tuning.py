"""A recipe that trains nothing but does all else that a fine-tune does: for tests of what stands around it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from modelhub.models import Dataset, Deployment, ModelVersion
from modelhub.services.datasets import read_rows
from switchyard.core.errors import InvalidRequest
from switchyard.jobs.runner import Context

EPOCHS = 3
after_epoch: list[Callable[[Context, int], None]] = []  # called when an epoch is told
NS_AN_EPOCH = 1_000_000_000


def run(context: Context) -> dict[str, Any]:
    params = context.params
    dataset = Dataset.objects.select_related("workload", "lob").get(pk=params["dataset"])
    deployment = Deployment.objects.get(organisation=context.job.organisation, name=params["deployment"])
    rows = read_rows(dataset)
    if params["seed"] == 13:
        raise InvalidRequest("The loss is not a number.")
    epochs = EPOCHS if params["epochs"] == "auto" else int(params["epochs"])
    context.device("a fake device")
    done = round(context.job.progress * epochs)  # what a checkpoint would say
    for epoch in range(done + 1, epochs + 1):
        context.check()
        context.meter.add(NS_AN_EPOCH)
        told = {"epoch": epoch, "loss": 1 / epoch, "held_loss": 1.1 / epoch, "accuracy": 1 - 0.5 / epoch}
        context.progress(epoch / epochs, f"epoch {epoch}", **told)
        for call in list(after_epoch):
            call(context, epoch)
    context.mark("trained")
    version = "ft-" + context.job.pk[-8:].lower()
    candidate, _ = ModelVersion.objects.update_or_create(
        deployment=deployment, workload=dataset.workload, version=version,
        defaults={
            "upstream_model": f"{deployment.model}/{dataset.workload.name}@{version}", "stage": "candidate",
            "lineage": {"job": context.job.pk, "dataset": dataset.pk},
        },
    )  # fmt: skip
    return {"candidate": candidate.pk, "epochs": epochs, "trained_tokens": 7 * len(rows) * epochs}
