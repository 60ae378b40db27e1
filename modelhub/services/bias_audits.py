"""Audits that are owed: a smaller copy that waits for its gates is audited without anybody asking."""

from __future__ import annotations

from modelhub.models import ModelVersion
from modelhub.services.bias_gate import bias_gate, deployment_of_teacher, teacher_of
from modelhub.services.jobs import start_audit
from switchyard.core.errors import InvalidRequest, SwitchyardError
from switchyard.jobs.models import Job
from switchyard.tenancy.models import User


def audit_version(*, version: ModelVersion, user: User | None, limit: int | None = None) -> Job:
    """Queue the audit of exactly this version against its teacher. One that waits or runs already is given back.

    Raises InvalidRequest where nobody can be compared with it, Conflict when its cost could not be charged.
    """
    teacher = deployment_of_teacher(version)
    if teacher is None:
        raise InvalidRequest(
            f"Nothing answers {version.workload.name} that {version.version} could be compared with."
        )
    return start_audit(
        workload=version.workload, user=user, teacher=teacher.name, student=version.deployment.name,
        student_version=version.version, limit=limit,
    )  # fmt: skip


def start_owed() -> int:
    """One audit for each candidate or canary that was made smaller and has none; gives how many were started."""
    waiting = ModelVersion.objects.filter(stage__in=("candidate", "canary"), workload__task="classification")
    started = 0
    for version in waiting.select_related("deployment", "workload__lob", "workload__organisation"):
        if teacher_of(version) is None or bias_gate(version).verdict != "not_run":
            continue
        try:
            started += audit_version(version=version, user=None) is not None
        except SwitchyardError:
            continue  # no rows, no money, nobody to compare with: its gate stays not_run and says so
    return started
