"""When a version is watched: from its publishing to its end. What is looked at is routing.rollout.watch."""

from __future__ import annotations

from django.db.models import QuerySet

from routing.models import Feedback, Policy, RolloutWatch, WhatIf
from routing.rollout.guards import Limits
from switchyard.core.clock import now


def begin(policy: Policy, previous: Policy | None) -> RolloutWatch:
    """Watch this publishing; one with another share that was watched before ends."""
    end(Policy.objects.filter(pk=policy.pk), "its share changed")
    last = Feedback.objects.filter(organisation_id=policy.organisation_id).order_by("-pk").first()
    return RolloutWatch.objects.create(
        policy=policy, previous=previous, percent=policy.percent, began_at=now(),
        feedback_cursor=last.pk if last is not None else 0, limits=_limits(policy).as_dict(),
    )  # fmt: skip


def end(policies: QuerySet[Policy], reason: str) -> None:
    running = RolloutWatch.objects.filter(
        policy__in=list(policies.values_list("pk", flat=True)), state="watching"
    )
    running.update(state="ended", reason=reason[:400], ended_at=now())


def _limits(policy: Policy) -> Limits:
    """The usual ones; a rise in cost and a loss of right answers that the what-if foretold, and somebody approved, are allowed
    up to their upper bounds."""
    told = WhatIf.objects.filter(policy=policy).exclude(report={}).first()
    totals = told.report["totals"] if told is not None else {}
    dearer = max(0.0, totals.get("cost", {}).get("high_pct") or 0.0) / 100
    wrong = max(0.0, -(totals.get("accuracy", {}).get("low") or 0.0))
    usual = Limits()
    return Limits(usual.errors, usual.latency, min(1.0, usual.accuracy + wrong), usual.cost + dearer)
