"""A small company with two lines of business and two weeks behind it, for tests of pages."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from costs.models import Alert, LedgerEntry, NodeInterval, SpendDay, SpendHour
from modelhub.models import BiasAudit, Evaluation
from routing.models import DecisionRecord, Feedback, Interception
from switchyard.audit.services import record
from switchyard.core.clock import now
from switchyard.jobs.models import Job, JobEvent
from tests import factories as make

TRACE = [
    {"rule": "core business", "matched": False, "reason": 'workload.tier == "core"'},
    {"rule": "edge at the lowest cost", "matched": True, "reason": 'workload.tier == "edge"'},
]
LOB_POLICY = """\
rules:
  - name: edge goes out
    when: workload.tier == "edge" && data.sensitivity < confidential
    route: {prefer: [ext-mini], fallback: [private-sparse]}
  - name: the rest stays
    when: "true"
    route: {prefer: [private-sparse]}
"""


@dataclass
class Company:
    organisation: Any
    lobs: dict[str, Any]
    workloads: dict[str, Any]
    deployments: dict[str, Any]
    policies: dict[str, Any]
    jobs: dict[str, Any]
    versions: dict[str, Any]


def make_company(days: int = 14) -> Company:
    organisation = make.make_organisation()
    lobs = {slug: make.make_lob(organisation, slug) for slug in ("customer-service", "legal")}
    workloads = {
        "customer-service": make.make_workload(
            lobs["customer-service"], "support-intent", data_set="Banking77"
        ),
        "legal": make.make_workload(
            lobs["legal"], "contract-clauses", tier="core", sensitivity="confidential"
        ),
    }
    deployments = {
        "private-sparse": make.make_deployment(organisation, "private-sparse", "private"),
        "ext-mini": make.make_deployment(organisation, "ext-mini"),
    }
    for lob in lobs.values():
        make.make_budget(organisation, f"lob:{lob.slug}", "250")
    make.make_budget(organisation, "organisation", "1000")
    policies = {
        "organisation": make.make_policy(organisation),
        "customer-service": make.make_policy(organisation, LOB_POLICY, lobs["customer-service"]),
    }
    company = Company(organisation, lobs, workloads, deployments, policies, {}, {})
    for slug in lobs:
        _seed_lob(company, slug, days)
    for hour in range(24):
        NodeInterval.objects.create(
            organisation_id=organisation.pk,
            node="node-1",
            start=_hour(hour + 1),
            bill_nusd=100_000_000,
            used_nusd=30_000_000 + hour,
            idle_nusd=70_000_000 - hour,
            accelerator_ns=3600 * 300_000_000,
        )
    return company


def _hour(ago: int) -> Any:
    return now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=ago)


def _seed_lob(company: Company, slug: str, days: int) -> None:
    _seed_models(company, slug)
    for day in range(days):
        for side in ("private", "external") if slug == "customer-service" else ("private",):
            _seed_day(company, slug, day, side)
    for number in range(60):
        _seed_decision(company, slug, number)
    _seed_rest(company, slug)


def _seed_models(company: Company, slug: str) -> None:
    workload = company.workloads[slug]
    for name, deployment in company.deployments.items():
        make.make_version(deployment, workload, metrics={"metric": "accuracy", "value": 0.9})
        Evaluation.objects.create(
            workload=workload,
            deployment=deployment,
            version="1",
            metric="accuracy",
            value=0.91,
            low=0.89,
            high=0.93,
            n=1487,
            correct=1353,
            verdict="pass" if name == "ext-mini" else "not_enough_data",
            detail={"tfidf": {"value": 0.88, "low": 0.86, "high": 0.9, "n": 1487}, "macro_f1": 0.83},
        )
    company.versions[slug] = make.make_version(
        company.deployments["private-sparse"],
        workload,
        "candidate",
        version=f"ft-{slug[:4]}",
        metrics={"after": {"value": 0.95, "low": 0.93, "high": 0.97, "n": 200}},
    )


def _seed_day(company: Company, slug: str, day: int, side: str) -> None:
    cost, requests = (90_000 if side == "external" else 40_000) + 900 * day, 120 + 3 * day
    known = slug == "customer-service"
    values = {
        "organisation_id": company.organisation.pk,
        "lob": slug,
        "application": f"{slug}-app",
        "workload": company.workloads[slug].name,
        "deployment": "ext-mini" if side == "external" else "private-sparse",
        "model": "txt-edge" if side == "external" else "txt-base",
        "side": side,
        "origin": "demonstration" if day > 2 else "live",
        "requests": requests,
        "answers": requests,
        "tokens_in": requests * 20,
        "tokens_out": requests,
        "cost_nusd": cost,
        "answered_cost_nusd": cost,
        "other_side_cost_nusd": cost * 2 if known else 0,
        "other_side_known": requests if known else 0,
        "other_side_own_cost_nusd": cost if known else 0,
        "judged": requests,
        "correct": int(requests * 0.92),
    }
    start = _hour(24 * day + 1)
    SpendHour.objects.create(start=start, **values)
    SpendDay.objects.create(start=start.replace(hour=0), **values)


def _seed_decision(company: Company, slug: str, number: int) -> None:
    at, key = now() - timedelta(minutes=7 * number), f"dec_{slug}_{number:04d}"
    external = slug == "customer-service" and number % 3 == 0
    deployment, side = ("ext-mini", "external") if external else ("private-sparse", "private")
    detail = {
        "facts": {
            "workload": {"name": company.workloads[slug].name, "tier": "edge"},
            "data": {"entities": ["email"]},
        },
        "trace": TRACE,
        "rule": "edge at the lowest cost",
        "guard": {"verdict": "pass", "mode": "observe", "score": 0.1, "threshold": 0.7},
        "candidates": [
            {
                "deployment": "private-sparse",
                "side": "private",
                "eligible": True,
                "reasons": [],
                "cost_nusd": 700,
            },
            {
                "deployment": "ext-mini",
                "side": "external",
                "eligible": external,
                "cost_nusd": 900,
                "reasons": [] if external else ["invariant: restricted data stays home"],
            },
        ],
        "attempts": [
            {
                "attempt": 0,
                "deployment": deployment,
                "side": side,
                "model": "txt",
                "status": "ok",
                "error": "",
                "at_ns": int(at.timestamp() * 1e9),
                "duration_ms": 4.2,
                "tokens_in": 12,
                "tokens_out": 1,
                "accelerator_ns": 800_000,
                "usage_source": "reported",
                "price_version": "price:1",
                "cost_nusd": 640,
            }
        ],
        "prices": {"input_nusd_per_munit": 50_000_000},
        "confidence": 0.93,
    }
    DecisionRecord.objects.create(
        id=key,
        request_id=f"req_{slug}_{number:04d}",
        organisation_id=company.organisation.pk,
        at=at,
        lob=slug,
        application=f"{slug}-app",
        workload=company.workloads[slug].name,
        endpoint="classifications",
        sensitivity=company.workloads[slug].sensitivity,
        side=side,
        deployment=deployment,
        model="txt",
        policy_version=f"org@1+{slug}@1",
        policy_hash="0" * 12,
        cost_nusd=640,
        other_side_cost_nusd=900 if external else None,
        latency_ms=5.1,
        overhead_ms=0.7,
        answers=1,
        detail=detail,
        origin="demonstration" if number > 30 else "live",
    )
    LedgerEntry.objects.create(
        event_id=f"evt_{key}",
        organisation_id=company.organisation.pk,
        at=at,
        debit=f"expense:{slug}",
        credit="private:node-1",
        amount_nusd=640,
        lob=slug,
        request_id=f"req_{slug}_{number:04d}",
        memo=f"answer for {slug}",
    )


def _seed_rest(company: Company, slug: str) -> None:
    pk, workload = company.organisation.pk, company.workloads[slug]
    Feedback.objects.create(
        decision_id=f"dec_{slug}_0000",
        organisation_id=pk,
        lob=slug,
        workload=workload.name,
        deployment="private-sparse",
        side="private",
        at=now(),
        correct=True,
    )
    Interception.objects.create(
        decision_id=f"dec_{slug}_0001",
        organisation_id=pk,
        lob=slug,
        workload=workload.name,
        at=now(),
        kind="risk",
        score=0.81,
        threshold=0.68,
        mode="observe",
        withheld=False,
        spans=[[0, 12]],
    )
    Alert.objects.create(
        organisation_id=pk,
        kind="budget_warning",
        lob=slug,
        subject=f"lob:{slug}",
        message=f"80 % of {slug} is spent.",
        unique_key=f"alert-{slug}",
    )
    BiasAudit.objects.create(
        workload=workload,
        teacher="private-sparse",
        student="ext-mini",
        verdict="pass",
        report={"n": 400},
        device=f"cpu {slug}",
    )
    record(actor=None, action="lob.created", target=f"lob:{slug}", lob=slug, organisation_id=pk)
    job = Job.objects.create(
        id=f"job_{slug}",
        organisation=company.organisation,
        lob=company.lobs[slug],
        kind="fine_tune",
        state="succeeded",
        progress=1.0,
        message="done",
        device="CPU",
        params={"workload": workload.name, "deployment": "private-sparse"},
        result={
            "before": {"value": 0.91, "low": 0.88, "high": 0.94, "n": 200},
            "after": {"value": 0.95, "low": 0.93, "high": 0.97, "n": 200},
            "paired_difference": {"value": 0.04, "low": 0.01, "high": 0.07},
            "candidate": company.versions[slug].pk,
        },
    )
    for epoch in range(1, 5):
        JobEvent.objects.create(
            job=job,
            message=f"epoch {epoch}",
            data={"epoch": epoch, "loss": 1 / epoch, "accuracy": 0.9 + epoch / 100},
        )
    company.jobs[slug] = job
