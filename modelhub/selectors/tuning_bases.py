"""What `model` means to a fine-tune: a workload, a deployment, or the name of a base; and which workload learns."""

from __future__ import annotations

from collections.abc import Set

from django.db.models import Q, QuerySet

from modelhub.models import Deployment, ModelVersion
from modelhub.services.datasets import known_labels
from switchyard.core.errors import InvalidRequest, ModelNotFound
from switchyard.tenancy.models import LineOfBusiness, Workload

LEARNT = ("classification", "chat", "completion")


def target_of(
    model: str, lob: LineOfBusiness, labels: Set[str], wanted: str = ""
) -> tuple[Deployment, Workload]:
    """(what is trained, what for). `labels`: those of the rows, empty for conversations.

    Raises ModelNotFound for what the line of business may not name, InvalidRequest where several workloads fit.
    """
    workload = Workload.objects.select_related("lob", "organisation").filter(lob=lob, name=model).first()
    if workload is not None:
        if workload.task not in LEARNT:
            raise InvalidRequest(
                f"{model} does {workload.task}: its models learn from tables, not from rows of text.",
                param="model",
            )
        return _base_for(workload), workload
    if model.startswith("ft:"):
        raise InvalidRequest(
            "A fine-tuned model isn't trained further: name its base and send all the rows.", param="model"
        )
    deployment = usable(lob).filter(Q(name=model) | Q(model=model)).order_by("-side", "name").first()
    if deployment is None:
        if usable(lob, enabled=False).filter(Q(name=model) | Q(model=model)).exists():
            raise InvalidRequest(
                f"{model} is switched off: its base is retired. Name another.", param="model"
            )
        raise ModelNotFound(
            f"There is no model {model[:100]!r} to fine-tune for this key: name a workload, a deployment or its base.",
            param="model",
        )
    return deployment, _workload_for(deployment, lob, labels, wanted)


def usable(lob: LineOfBusiness, *, enabled: bool = True) -> QuerySet[Deployment]:
    """Deployments that are switched on (or off) and that the line of business may name."""
    rows = Deployment.objects.filter(organisation_id=lob.organisation_id, enabled=enabled)
    return rows.filter(Q(lobs__isnull=True) | Q(lobs=lob)).distinct()


def _base_for(workload: Workload) -> Deployment:
    """The private deployment whose live version answers it, else the first private one that could learn it."""
    rows = usable(workload.lob).filter(side="private")
    if workload.task == "classification":
        rows = rows.filter(heads=True)
    fit = [row for row in rows.order_by("name") if workload.task in row.tasks]
    live = set(
        ModelVersion.objects.filter(workload=workload, stage="live").values_list("deployment_id", flat=True)
    )
    fit.sort(key=lambda row: (row.pk not in live, row.model != "txt-base", row.name))
    if not fit:
        raise InvalidRequest(
            f"No private deployment can learn {workload.name}: name one as `model`.", param="model"
        )
    return fit[0]


def _workload_for(deployment: Deployment, lob: LineOfBusiness, labels: Set[str], wanted: str) -> Workload:
    tasks = set(deployment.tasks) | ({"classification"} if deployment.side == "external" else set())
    rows = Workload.objects.select_related("lob", "organisation").filter(
        lob=lob, task__in=tasks & set(LEARNT)
    )
    found = list(rows.filter(name=wanted) if wanted else rows.order_by("name"))
    if len(found) > 1 and labels:
        shared = {row.pk: len(labels & known_labels(row)) for row in found}
        best = max(shared.values())
        found = [row for row in found if best and shared[row.pk] == best] or found
    if len(found) == 1:
        return found[0]
    if not found:
        raise InvalidRequest(
            f"{lob.slug} has no workload that {deployment.name} could learn: make one first.", param="model"
        )
    names = ", ".join(row.name for row in found)
    raise InvalidRequest(
        f"Several workloads fit: {names}. Name one as `model`, or as `workload`.", param="model"
    )
