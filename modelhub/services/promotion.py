"""candidate → canary → live → retired: one transaction, and the next request is answered by the new version."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from modelhub.models import Canary, Evaluation, ModelVersion
from modelhub.services.gates import GateResult, unmet
from modelhub.services.self_test import check_files
from modelhub.services.server_control import warm
from switchyard.audit.services import record
from switchyard.core.clock import now
from switchyard.core.errors import Conflict, NotFound
from switchyard.tenancy.models import User
from switchyard.tenancy.querysets import scope_of
from switchyard.tenancy.services import bump_config

REASON_MAX = 300
# Who may go on against a gate. Harm to a group is not an engineer's to accept.
MAY_OVERRIDE = {"bias": ("risk",)}
OVERRIDERS = ("model_engineer", "risk")


class GateFailed(Conflict):
    """A gate that didn't pass, and no reason to go on. `gates`: the results that speak against it."""

    code, fields = "gate_failed", ("gates",)


def gate(version: ModelVersion) -> str:
    """Why a version should not go live; empty when nothing speaks against it. What was live before was judged before."""
    if version.stage == "live" or was_live(version):
        return ""
    return " ".join(f"{row.gate}: {row.sentence}" for row in unmet(version))


def was_live(version: ModelVersion) -> bool:
    return version.stage == "retired" and version.promoted_at is not None


def check_gates(version: ModelVersion, user: User | None, reason: str) -> list[GateResult]:
    """What speaks against it, after a look at whether it may go on all the same.

    Raises Conflict `gate_failed` without a reason, `may_not_override` for a reason of somebody who may not give one.
    """
    if was_live(version):
        return []
    against = unmet(version)
    if not against:
        return []
    told = " ".join(f"{row.gate}: {row.sentence}" for row in against)
    if not reason:
        raise GateFailed(
            _("%(why)s Promote with a reason, or reject it.") % {"why": told},
            gates=[row.as_dict() for row in against],
        )
    for row in against:
        roles = MAY_OVERRIDE.get(row.gate, OVERRIDERS) if row.verdict == "fail" else OVERRIDERS
        if user is not None and not _holds(user, version, roles):
            raise Conflict(
                _("The gate %(gate)s failed; only somebody with the role %(roles)s may go on against it.")
                % {"gate": row.gate, "roles": _(" or ").join(roles)},
                code="may_not_override",
            )
    return against


def _holds(user: User, version: ModelVersion, roles: tuple[str, ...]) -> bool:
    scope = scope_of(user).narrowed(*roles)
    return scope.organisation_id == version.workload.organisation_id and scope.allows_lob(
        version.workload.lob.slug
    )


@transaction.atomic
def promote(
    *, version: ModelVersion, user: User | None, force_reason: str = "", by_itself: str = ""
) -> ModelVersion:
    """Make a version live in place of the one there is; an older one comes back the same way.

    Raises Conflict `gate_failed` unless its gates hold or a reason to go on is given, `may_not_override` where that takes
    another role, `artifact_changed` when its files are not the ones that were judged. `by_itself`: the canary's evidence.
    """
    version = _locked(version)
    if version.stage == "live":
        return version
    against = check_gates(version, user, force_reason[:REASON_MAX])
    require_files(version)
    before = ModelVersion.objects.filter(
        deployment=version.deployment, workload=version.workload, stage="live"
    )
    replaced = list(before.values_list("version", flat=True))
    before.filter(promoted_at__isnull=True).update(promoted_at=version.created_at)
    before.update(stage="retired")
    back = was_live(version)
    end_canaries(version, user, "promoted")
    version.stage, version.promoted_at = "live", now()
    version.save(update_fields=["stage", "promoted_at"])
    _tell_quality(version, against)
    _note(
        version, "rolled_back" if back else "promoted", user, replaced=replaced,
        gate=" ".join(row.sentence for row in against), gates={row.gate: row.verdict for row in against},
        force_reason=force_reason[:REASON_MAX], by_itself=by_itself,
    )  # fmt: skip
    transaction.on_commit(lambda: warm(version))
    bump_config()
    return version


def before_it(version: ModelVersion) -> ModelVersion | None:
    """What was live on its deployment before the version that is live now."""
    rows = ModelVersion.objects.filter(
        deployment=version.deployment, workload=version.workload, stage="retired"
    )
    return rows.filter(promoted_at__isnull=False).order_by("-promoted_at").first()


@transaction.atomic
def rollback(*, version: ModelVersion, user: User | None, reason: str = "") -> ModelVersion:
    """From the live version back to the one before it. Raises Conflict when it isn't live, NotFound without one before."""
    version = _locked(version)
    if version.stage != "live":
        words = _("Only a live version can be rolled back; this one is %(s)s.") % {"s": version.stage}
        raise Conflict(words, code="illegal_state")
    earlier = before_it(version)
    if earlier is None:
        raise NotFound(_("Nothing was live before this version."))
    return promote(version=earlier, user=user, force_reason=reason)


def end_canaries(version: ModelVersion, user: User | None, state: str, reason: str = "") -> int:
    """End what is tried on its deployment and workload: a version that goes live ends every trial there."""
    rows = Canary.objects.filter(deployment=version.deployment, workload=version.workload, state="running")
    name = user.username if user else "system"
    for canary in rows.select_related("version"):
        own = canary.version_id == version.pk
        canary.state = state if own else "stopped"
        canary.ended_at, canary.ended_by = now(), name
        canary.reason = (reason or canary.reason)[:400]
        canary.save(update_fields=["state", "ended_at", "ended_by", "reason"])
        if not own or state != "promoted":
            ModelVersion.objects.filter(pk=canary.version_id, stage="canary").update(stage="candidate")
    return len(rows)


def require_files(version: ModelVersion) -> None:
    """A version trained here is a folder under the home; what ships is checked when its server loads it."""
    if version.lineage.get("job") and (why := check_files(version)):
        raise Conflict(
            _("Its files can't be served: %(why)s.") % {"why": why.rstrip(".")}, code="artifact_changed"
        )


def _tell_quality(version: ModelVersion, against: list[GateResult]) -> None:
    """What the version reached on the workload's validation rows is the deployment's quality from now on."""
    after = version.metrics.get("after")
    if not after or version.metrics.get("judged_on") != "validation rows":
        return
    if Evaluation.objects.filter(
        workload=version.workload, deployment=version.deployment, version=version.version
    ).exists():
        return
    Evaluation.objects.create(
        workload=version.workload, deployment=version.deployment, version=version.version, metric="accuracy",
        job_id=str(version.lineage.get("job", "")), value=after["value"], low=after["low"], high=after["high"], n=after["n"],
        correct=round(after["value"] * after["n"]), correct_low=after["low"], correct_high=after["high"],
        verdict="fail" if any(row.verdict == "fail" for row in against) else "pass",
        detail={"macro_f1": after.get("macro_f1"), "from": "its fine-tuning",
                "paired_difference": version.metrics.get("paired_difference")},
    )  # fmt: skip


@transaction.atomic
def reject(*, version: ModelVersion, user: User | None, reason: str = "") -> ModelVersion:
    """A candidate or canary that will not go live. Raises Conflict for any other."""
    version = _locked(version)
    if version.stage not in ("candidate", "canary"):
        raise Conflict(
            _("Only a candidate can be rejected; this one is %(s)s.") % {"s": version.stage},
            code="illegal_state",
        )
    if version.stage == "canary":
        end_canaries(version, user, "stopped", reason)
    version.stage = "retired"
    version.save(update_fields=["stage"])
    _note(version, "rejected", user, reason=reason[:REASON_MAX])
    bump_config()
    return version


def _locked(version: ModelVersion) -> ModelVersion:
    rows = ModelVersion.objects.select_for_update(of=("self",)).select_related("workload__lob", "deployment")
    return rows.get(pk=version.pk)


def _note(version: ModelVersion, action: str, user: User | None, **detail: Any) -> None:
    record(
        actor=user, action=f"model.{action}", target=f"version:{version.pk}", lob=version.workload.lob.slug,
        organisation_id=version.workload.organisation_id,
        detail={"workload": version.workload.name, "version": version.version, **detail},
    )  # fmt: skip
