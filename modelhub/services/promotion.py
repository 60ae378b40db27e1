"""candidate → live → retired: one transaction, and the next request is answered by the new version."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from modelhub.models import ModelVersion
from switchyard.audit.services import record
from switchyard.core.clock import now
from switchyard.core.errors import Conflict
from switchyard.tenancy.models import User
from switchyard.tenancy.services import bump_config


def gate(version: ModelVersion) -> str:
    """Why a version should not go live; empty when nothing speaks against it.

    It fails when it is surely worse than what it replaces: the upper bound of the paired difference on the same rows
    lies below zero.
    """
    difference = version.metrics.get("paired_difference")
    if difference and difference["high"] < 0:
        return f"It is worse than before by {-difference['value']:.3f} (at least {-difference['high']:.3f}) on the same rows."
    return ""


@transaction.atomic
def promote(*, version: ModelVersion, user: User | None, force_reason: str = "") -> ModelVersion:
    """Raises Conflict `gate_failed` unless the gate holds or a reason to go on is given."""
    version = (
        ModelVersion.objects.select_for_update()
        .select_related("workload__lob", "deployment")
        .get(pk=version.pk)
    )
    if version.stage == "live":
        return version
    why = gate(version)
    if why and not force_reason:
        raise Conflict(f"{why} Promote with a reason, or reject it.", code="gate_failed")
    before = ModelVersion.objects.filter(
        deployment=version.deployment, workload=version.workload, stage="live"
    )
    replaced = list(before.values_list("version", flat=True))
    before.update(stage="retired")
    version.stage, version.promoted_at = "live", now()
    version.save(update_fields=["stage", "promoted_at"])
    _note(version, "promoted", user, replaced=replaced, gate=why, force_reason=force_reason)
    bump_config()
    return version


@transaction.atomic
def reject(*, version: ModelVersion, user: User | None, reason: str = "") -> ModelVersion:
    """A candidate or canary that will not go live."""
    if version.stage not in ("candidate", "canary"):
        raise Conflict(
            f"Only a candidate can be rejected; this one is {version.stage}.", code="illegal_state"
        )
    version.stage = "retired"
    version.save(update_fields=["stage"])
    _note(version, "rejected", user, reason=reason)
    bump_config()
    return version


def _note(version: ModelVersion, action: str, user: User | None, **detail: Any) -> None:
    record(
        actor=user, action=f"model.{action}", target=f"version:{version.pk}", lob=version.workload.lob.slug,
        organisation_id=version.workload.organisation_id,
        detail={"workload": version.workload.name, "version": version.version, **detail},
    )  # fmt: skip
