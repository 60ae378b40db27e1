"""What the teachers of compressed models would cost where their students answer."""

from __future__ import annotations

from typing import Any

from costs import pricing
from costs.contracts import Usage
from costs.selectors import node_rates
from modelhub.models import Deployment, ModelVersion
from modelhub.selectors.quality import usual_accelerator_ns


def teacher_costs(organisation_id: int) -> dict[tuple[str, str], int | None]:
    """(deployment, workload) of each live compressed model at home → nano-dollars an answer of its teacher, at the node's
    standard rate and the accelerator time measured of it; None where nobody measured the teacher or knows it any more.

    A version's lineage names its teacher by digest, or by the name its server knows it by.
    """
    versions = ModelVersion.objects.filter(deployment__organisation_id=organisation_id)
    live = list(
        versions.filter(stage="live", deployment__side="private").select_related(
            "deployment__node", "workload"
        )
    )
    students = [(v, name) for v in live if (name := _teacher_of(v.lineage))]
    if not students:
        return {}
    usual, rates = usual_accelerator_ns(organisation_id), node_rates(organisation_id)
    out: dict[tuple[str, str], int | None] = {}
    for student, teacher in students:
        deployment, workload = student.deployment, student.workload.name
        home = _deployment_of(teacher, organisation_id, workload)
        ns = usual.get((home, workload)) if home else None
        rate = rates.get(deployment.node.name) if deployment.node else None
        known = ns is not None and rate is not None
        out[deployment.name, workload] = (
            pricing.cost_of(Usage(accelerator_ns=ns), prices=None, rate=rate)
            if known and ns is not None
            else None
        )
    return out


def _teacher_of(lineage: Any) -> str:
    """The digest or name a version was compressed from; fine-tuned models have a base, which is no teacher."""
    train = lineage.get("train") if isinstance(lineage.get("train"), dict) else {}
    return str(lineage.get("teacher") or train.get("teacher") or "")


def _deployment_of(teacher: str, organisation_id: int, workload: str) -> str | None:
    rows = ModelVersion.objects.filter(deployment__organisation_id=organisation_id, workload__name=workload)
    found = rows.filter(digest=teacher).values_list("deployment__name", flat=True).first()
    if found:
        return str(found)
    named = Deployment.objects.filter(organisation_id=organisation_id, model=teacher)
    return named.values_list("name", flat=True).first()
