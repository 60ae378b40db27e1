"""Where a version comes from and where it went: data set → job → version → gates → promotion → deployment, with digests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from modelhub.models import Canary, Dataset, GateReport, ModelVersion
from switchyard.audit.models import AuditEvent
from switchyard.jobs.models import Job
from switchyard.tenancy.querysets import Scope

ACTIONS = {
    "model.promoted": "promoted", "model.rolled_back": "rolled back to", "model.rejected": "rejected",
    "model.retired": "retired", "model.canary_started": "canary started", "model.canary_rolled_back": "canary taken back",
    "model.canary_stopped": "canary stopped", "model.imported": "imported", "model.exported": "exported",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Step:
    """One link of the chain. `digest`: what makes it checkable; `known`: False where the chain names what isn't here."""

    kind: str  # dataset | base | teacher | job | version | gates | canary | event | deployment
    title: str
    at: datetime | None = None
    digest: str = ""
    id: str = ""
    known: bool = True
    facts: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind, "title": self.title, "at": self.at, "digest": self.digest, "id": self.id, "known": self.known,
            "facts": dict(self.facts),
        }  # fmt: skip


def lineage_of(version: ModelVersion, scope: Scope) -> list[Step]:
    """The whole chain as its reader may see it, from the data on."""
    told = version.lineage
    steps = [*_data(told, scope), *_origins(told), *_job(told, scope)]
    steps.append(
        Step(
            "version", f"{version.workload.name}@{version.version}", version.created_at, version.digest, str(version.pk),
            facts={"stage": version.stage, "asked_as": version.upstream_model, "files": version.artifact},
        )
    )  # fmt: skip
    after = [*_gates(version), *_canaries(version), *_events(version)]
    steps += sorted(after, key=lambda step: (step.at is None, step.at))
    deployment = version.deployment
    facts = {
        "side": deployment.side,
        "model": deployment.model,
        "node": deployment.node.name if deployment.node else "",
    }
    steps.append(
        Step(
            "deployment", deployment.name, version.promoted_at if version.stage == "live" else None, id=deployment.name,
            facts=facts | {"serves_it": version.stage in ("live", "canary")},
        )
    )  # fmt: skip
    return steps


def _data(told: Mapping[str, Any], scope: Scope) -> list[Step]:
    if wanted := told.get("dataset"):
        row = Dataset.objects.for_tenant(scope).filter(pk=wanted).first()
        if row is None:
            return [Step("dataset", str(wanted), None, str(told.get("sha256", "")), str(wanted), known=False)]
        facts = {
            "rows": row.rows,
            "labels": len(row.labels),
            "same_as_trained_on": row.digest == told.get("sha256"),
        }
        return [Step("dataset", row.name, row.created_at, row.digest, row.pk, facts=facts)]
    if name := told.get("data_set"):
        return [Step("dataset", str(name), None, facts={"shipped": True})]
    return []


def _origins(told: Mapping[str, Any]) -> list[Step]:
    steps = []
    for kind in ("base", "teacher"):
        if told.get(kind):
            steps.append(Step(kind, str(told[kind]), None, str(told.get(f"{kind}_digest", ""))))
    if isinstance(told.get("train"), Mapping) and told["train"].get("command"):
        train = told["train"]
        facts = {name: train[name] for name in ("seed", "seconds", "machine") if name in train}
        steps.append(Step("job", str(train["command"]), None, facts=facts))
    if told.get("imported_from"):
        steps.append(
            Step(
                "base",
                str(told["imported_from"]),
                None,
                str(told.get("source_digest", "")),
                facts={"imported": True},
            )
        )
    return steps


def _job(told: Mapping[str, Any], scope: Scope) -> list[Step]:
    wanted = told.get("job")
    if not wanted:
        return []
    job = Job.objects.for_tenant(scope).filter(pk=wanted).first()
    if job is None:
        return [Step("job", str(wanted), None, id=str(wanted), known=False)]
    facts = {"state": job.state, "ran_on": job.device, "cost_nusd": job.cost_nusd, "attempt": job.attempt}
    if digest := job.result.get("weight_hash"):
        return [Step("job", job.kind, job.finished_at, str(digest), job.pk, facts=facts)]
    return [Step("job", job.kind, job.finished_at, id=job.pk, facts=facts)]


def _gates(version: ModelVersion) -> list[Step]:
    rows = GateReport.objects.filter(version=version).select_related("golden").order_by("at")
    return [
        Step(
            "gates", ", ".join(f"{r['gate']} {r['verdict']}" for r in report.results), report.at,
            report.golden.digest if report.golden else "", str(report.pk),
            facts={"golden": report.golden.version if report.golden else None, "job": report.job_id, "ran_on": report.device},
        )
        for report in rows
    ]  # fmt: skip


def _canaries(version: ModelVersion) -> list[Step]:
    return [
        Step(
            "canary",
            f"{row.percent} %, {row.state}",
            row.started_at,
            id=str(row.pk),
            facts={"reason": row.reason},
        )
        for row in Canary.objects.filter(version=version)
    ]


def _events(version: ModelVersion) -> list[Step]:
    rows = AuditEvent.objects.filter(target=f"version:{version.pk}", action__in=ACTIONS).order_by("sequence")
    return [
        Step(
            "event", ACTIONS[event.action], event.at, event.hash, str(event.sequence),
            facts={"by": event.actor} | {
                name: event.detail[name] for name in ("force_reason", "reason", "by_itself", "replaced") if event.detail.get(name)
            },
        )
        for event in rows
    ]  # fmt: skip
