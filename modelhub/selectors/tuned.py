"""Versions that jobs made: how callers of /v1 name them, and how long they took from rows to canary."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from modelhub.models import Canary, Dataset, GateReport, ModelVersion
from switchyard.jobs.models import Job

STEPS = ("uploaded", "submitted", "started", "trained", "judged", "canary")


def public_name(version: ModelVersion) -> str:
    """`ft:<deployment>:<workload>:<suffix>:<id>`; the suffix may be empty."""
    suffix = str(version.lineage.get("suffix", ""))
    ending = version.version.removeprefix("ft-")
    if suffix:
        ending = ending.removeprefix(f"{suffix}-")
    return ":".join(("ft", version.deployment.name, version.workload.name, suffix, ending))


def versions_of(organisation_id: int) -> list[ModelVersion]:
    """Versions that jobs made here and that can be asked for: everything but the retired."""
    rows = ModelVersion.objects.filter(deployment__organisation_id=organisation_id, lineage__has_key="job")
    return list(rows.exclude(stage="retired").select_related("deployment", "workload__lob"))


def version_of(job: Job) -> ModelVersion | None:
    """The version a job made."""
    rows = ModelVersion.objects.filter(workload__organisation_id=job.organisation_id)
    return (
        rows.filter(pk=job.result.get("candidate") or 0).select_related("deployment", "workload__lob").first()
    )


def lead_time(job: Job, version: ModelVersion | None = None) -> dict[str, Any]:
    """From rows to canary: each step with its moment (or None) and the seconds since the one before, and the whole so far.

    {"steps": [{"step", "at", "seconds"}], "total_seconds", "complete"}
    """
    version = version or version_of(job)
    moments = _moments(job, version)
    steps, before = [], None
    for step in STEPS:
        at = moments.get(step)
        seconds = (at - before).total_seconds() if at and before else None
        steps.append({"step": step, "at": at, "seconds": seconds})
        before = at or before
    known = [at for at in moments.values() if at]
    total = (max(known) - min(known)).total_seconds() if len(known) > 1 else None
    return {"steps": steps, "total_seconds": total, "complete": moments.get("canary") is not None}


def _moments(job: Job, version: ModelVersion | None) -> dict[str, datetime | None]:
    marks = {name: datetime.fromisoformat(at) for name, at in job.marks.items()}
    dataset = Dataset.objects.select_related("file").filter(pk=job.params.get("dataset") or "").first()
    uploaded = (dataset.file.created_at if dataset.file else dataset.created_at) if dataset else None
    judged = canary = None
    if version is not None:
        report = GateReport.objects.filter(version=version).order_by("at").first()
        trial = Canary.objects.filter(version=version).order_by("started_at").first()
        judged = report.at if report else None
        canary = trial.started_at if trial else version.promoted_at
    trained = marks.get("trained") or (job.finished_at if job.state == "succeeded" else None)
    return {
        "uploaded": uploaded, "submitted": job.created_at, "started": job.started_at, "trained": trained, "judged": judged,
        "canary": canary,
    }  # fmt: skip
