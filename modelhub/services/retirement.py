"""Taking a version out of service."""

from __future__ import annotations

from django.db import transaction

from modelhub.models import ModelVersion
from switchyard.audit.services import record
from switchyard.core.errors import Conflict
from switchyard.tenancy.models import User
from switchyard.tenancy.services import bump_config


@transaction.atomic
def retire_version(*, version: ModelVersion, user: User | None, reason: str = "") -> ModelVersion:
    """Retire a version; the files stay, so that it can be promoted again.

    Raises Conflict `last_live_version` when nothing else would answer the workload, unless a reason says so.
    """
    rows = ModelVersion.objects.select_for_update(of=("self",)).select_related("workload__lob", "deployment")
    version = rows.get(pk=version.pk)
    if version.stage == "retired":
        return version
    others = ModelVersion.objects.filter(workload=version.workload, stage="live", deployment__enabled=True)
    if version.stage == "live" and not reason and not others.exclude(pk=version.pk).exists():
        raise Conflict(
            f"Nothing else answers {version.workload.name}: give a reason to retire its last live version.",
            code="last_live_version",
        )
    was, version.stage = version.stage, "retired"
    version.save(update_fields=["stage"])
    record(
        actor=user, action="model.retired", target=f"version:{version.pk}", lob=version.workload.lob.slug,
        organisation_id=version.workload.organisation_id,
        detail={"workload": version.workload.name, "version": version.version, "was": was, "reason": reason},
    )  # fmt: skip
    bump_config()
    return version
