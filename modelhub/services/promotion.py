"""candidate → live → retired: one transaction, and the next request is answered by the new version."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction

from modelhub import artifacts
from modelhub.models import Evaluation, ModelVersion
from modelhub.services.server_control import warm
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
        worse, least = -difference["value"], -difference["high"]
        return f"It is worse than before by {worse:.3f} (at least {least:.3f}) on the same rows."
    return ""


@transaction.atomic
def promote(*, version: ModelVersion, user: User | None, force_reason: str = "") -> ModelVersion:
    """Make a version live in place of the one there is; an older one comes back the same way.

    Raises Conflict `gate_failed` unless the gate holds or a reason to go on is given, `artifact_changed` when its files
    are not the ones that were judged.
    """
    rows = ModelVersion.objects.select_for_update(of=("self",)).select_related("workload__lob", "deployment")
    version = rows.get(pk=version.pk)
    if version.stage == "live":
        return version
    why = gate(version)
    if why and not force_reason:
        raise Conflict(f"{why} Promote with a reason, or reject it.", code="gate_failed")
    _check_files(version)
    before = ModelVersion.objects.filter(
        deployment=version.deployment, workload=version.workload, stage="live"
    )
    replaced = list(before.values_list("version", flat=True))
    before.update(stage="retired")
    version.stage, version.promoted_at = "live", now()
    version.save(update_fields=["stage", "promoted_at"])
    _tell_quality(version)
    _note(version, "promoted", user, replaced=replaced, gate=why, force_reason=force_reason)
    transaction.on_commit(lambda: warm(version))
    bump_config()
    return version


def _check_files(version: ModelVersion) -> None:
    """A version trained here is a folder under the home; what ships is checked when its server loads it."""
    if not version.lineage.get("job") or not version.artifact:
        return
    folder = Path(settings.HOME) / version.artifact
    try:
        artifacts.verify(folder)
        found = artifacts.digest(folder / artifacts.MANIFEST)
    except artifacts.ArtifactCorrupt as error:
        raise Conflict(f"Its files can't be served: {error}.", code="artifact_changed") from None
    if found != version.digest:
        raise Conflict(
            "Its files are not the ones that were judged; train it again.", code="artifact_changed"
        )


def _tell_quality(version: ModelVersion) -> None:
    """What the version reached on the workload's validation rows is the deployment's quality from now on."""
    after = version.metrics.get("after")
    if not after or version.metrics.get("judged_on") != "validation rows":
        return
    Evaluation.objects.create(
        workload=version.workload, deployment=version.deployment, version=version.version, metric="accuracy",
        job_id=str(version.lineage.get("job", "")), value=after["value"], low=after["low"], high=after["high"], n=after["n"],
        correct=round(after["value"] * after["n"]), correct_low=after["low"], correct_high=after["high"],
        verdict="fail" if gate(version) else "pass",
        detail={"macro_f1": after.get("macro_f1"), "from": "its fine-tuning",
                "paired_difference": version.metrics["paired_difference"]},
    )  # fmt: skip


@transaction.atomic
def reject(*, version: ModelVersion, user: User | None, reason: str = "") -> ModelVersion:
    """A candidate or canary that will not go live. Raises Conflict for any other."""
    rows = ModelVersion.objects.select_for_update(of=("self",)).select_related("workload__lob", "deployment")
    version = rows.get(pk=version.pk)
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
