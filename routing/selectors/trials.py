"""What would be decided for a request that nobody sends: live policies, or with a draft in place of one of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from costs import pricing
from costs import selectors as money
from modelhub.models import Deployment
from modelhub.selectors.quality import latest_quality, usual_accelerator_ns
from routing.contracts import Decision, DeploymentInfo, Facts
from routing.inspection.collect import entities_in
from routing.inspection.difficulty import difficulty, language
from routing.inspection.sensitivity import classify, declared
from routing.policy.engine import CompiledPolicies, Rollout, can_do
from routing.policy.facts import empty_facts
from routing.policy.rules import Document
from routing.selectors import policies
from switchyard.core.clock import now
from switchyard.tenancy.models import Workload

DEFAULT_CAP = 1024


@dataclass(frozen=True, slots=True)
class Trial:
    facts: Facts
    decision: Decision


def try_request(
    *, workload: Workload, text: str = "", sensitivity: str = "", wish: str = "", draft: Document | None = None,
    draft_is_organisations: bool = False,
) -> Trial:  # fmt: skip
    """Decide for one request of a workload. `sensitivity`: what a caller would declare; it can only raise the class.

    Raises InvalidRequest for an unknown class. Live facts (queue, budget) count as quiet.
    """
    organisation_id, lob = workload.organisation_id, workload.lob.slug
    candidates = [
        d for d in _deployments(organisation_id) if can_do(d, workload.task) and (not d.lobs or lob in d.lobs)
    ]
    facts = _facts(workload, candidates, text=text, sensitivity=sensitivity, wish=wish)
    compiled = _with_draft(policies.compiled(organisation_id), lob, draft, draft_is_organisations)
    decision = compiled.decide(
        facts, candidates, lob=lob, worst_case=_worst_cases(workload, candidates, text), sticky=""
    )
    return Trial(facts, decision)


def _with_draft(
    compiled: CompiledPolicies, lob: str, draft: Document | None, organisations: bool
) -> CompiledPolicies:
    if draft is None:
        return compiled
    if organisations:
        return replace(compiled, organisation=Rollout(draft))
    return replace(compiled, lobs={**compiled.lobs, lob: Rollout(draft)})


def _deployments(organisation_id: int) -> list[DeploymentInfo]:
    """Candidates without addresses and keys: a trial sends nothing."""
    sheets, rates = money.price_sheets(organisation_id), money.node_rates(organisation_id)
    quality, usual = latest_quality(organisation_id), usual_accelerator_ns(organisation_id)
    rows = Deployment.objects.filter(organisation_id=organisation_id, enabled=True)
    return [
        DeploymentInfo(
            name=row.name, organisation_id=organisation_id, side=row.side, base_url="", api_key="", model=row.model,  # type: ignore[arg-type]
            tasks=frozenset(row.tasks), lobs=frozenset(lob.slug for lob in row.lobs.all()), region=row.region,
            max_output_tokens=row.max_output_tokens, max_concurrency=row.max_concurrency, heads=row.heads,
            prices=sheets.get(row.name) if row.side == "external" else None,
            rate=rates.get(row.node.name) if row.side == "private" and row.node else None,
            quality={w: value for (d, w), value in quality.items() if d == row.name},
            usual_accelerator_ns={w: value for (d, w), value in usual.items() if d == row.name},
        )
        for row in rows.select_related("node").prefetch_related("lobs")
    ]  # fmt: skip


def _facts(
    workload: Workload, candidates: list[DeploymentInfo], *, text: str, sensitivity: str, wish: str
) -> Facts:
    values: dict[str, dict[str, Any]] = empty_facts()
    entities, at = entities_in(text), now()
    values["request"].update(
        model=wish or workload.name, wish=wish, tokens_in=len(text.encode()) // 4, language=language(text),
        difficulty=difficulty(text),
    )  # fmt: skip
    values["workload"].update(
        name=workload.name, task=workload.task, tier=workload.tier, sensitivity=workload.sensitivity
    )
    values["lob"].update(slug=workload.lob.slug)
    values["data"].update(
        sensitivity=classify(workload.sensitivity, declared(sensitivity), entities), entities=sorted(entities)
    )
    evaluated = [d.quality[workload.name] for d in candidates if workload.name in d.quality]
    if evaluated:
        values["quality"]["accuracy"], values["quality"]["rows"] = max(evaluated)
    values["time"].update(hour=at.hour, weekday=at.weekday())
    return Facts(values)


def _worst_cases(workload: Workload, candidates: list[DeploymentInfo], text: str) -> dict[str, int]:
    generates = workload.task in ("chat", "completion")
    return {
        d.name: pricing.worst_case(
            prices=d.prices, rate=d.rate, text_bytes=len(text.encode()),
            max_tokens=min(DEFAULT_CAP, d.max_output_tokens) if generates else 64, n=1, answers=1,
            usual_accelerator_ns=d.usual_accelerator_ns.get(workload.name),
        )
        for d in candidates
        if d.billable
    }  # fmt: skip
