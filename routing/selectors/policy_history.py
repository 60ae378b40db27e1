"""What happened to a scope's versions: who did what, when and why; every watched rollout with its evidence; shadows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Sum

from routing.models import Policy, RolloutWatch, ShadowTally
from routing.rollout.guards import METRICS
from switchyard.audit.models import AuditEvent
from switchyard.tenancy.querysets import Scope

MOST, MOST_WATCHES = 500, 50
_SAID_APART = ("version", "hash", "approval")


@dataclass(frozen=True, slots=True)
class Entry:
    """`detail`: what the action said besides its version, such as {"percent": 10} or {"from_version": 4}."""

    at: datetime
    actor: str
    action: str  # without "policy."
    policy: str  # its id
    version: int | None
    detail: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        return {
            "at": self.at.isoformat(), "actor": self.actor, "action": self.action, "policy": self.policy,
            "version": self.version, "detail": self.detail,
        }  # fmt: skip


def history(organisation_id: int, lob_slug: str, *, limit: int = MOST) -> list[Entry]:
    """Newest first. `lob_slug`: "" for the organisation's documents."""
    rows = AuditEvent.objects.filter(
        organisation_id=organisation_id,
        lob=lob_slug,
        action__startswith="policy.",
        target__startswith="policy:",
    )
    return [
        Entry(
            row.at, row.actor, row.action.removeprefix("policy."), row.target.removeprefix("policy:"),
            row.detail.get("version"),
            {name: value for name, value in row.detail.items() if name not in _SAID_APART and value not in ("", None)},
        )
        for row in rows.order_by("-sequence")[:limit]
    ]  # fmt: skip


def watches(policies: Sequence[Policy], scope: Scope) -> list[tuple[RolloutWatch, list[dict[str, Any]]]]:
    """Rollouts that were watched, newest first: still watching, ended well, or taken back by a sequential test; each with
    its tests' figures (routing.rollout.watch.told). Those of the organisation's document concern everybody's requests."""
    rows = RolloutWatch.objects.filter(policy__in=policies).select_related("policy", "previous")
    return [
        (row, _figures(row) if scope.lob_slugs is None or row.policy.lob_id is not None else []) for row in rows[:MOST_WATCHES]
    ]  # fmt: skip


def _figures(watch: RolloutWatch) -> list[dict[str, Any]]:
    """As they were when it was looked at last (routing.rollout.guards.Guards.as_dict)."""
    figures = watch.tests.get("figures", {})
    return [{"metric": name, **figures[name]} for name in METRICS if figures.get(name, {}).get("n")]


def shadow_results(policies: Sequence[Policy], scope: Scope) -> list[dict[str, Any]]:
    """By version and by where a request went and would have gone: requests, crossings, worst cases in nano-dollars."""
    rows = ShadowTally.objects.filter(policy__in=policies)
    if scope.lob_slugs is not None:
        rows = rows.filter(lob__in=scope.lob_slugs)
    return list(
        rows.values("policy_id", "policy__version", "workload", "live", "shadow")
        .annotate(
            total=Sum("requests"), crossed=Sum("crossings"), live_nusd=Sum("live_worst_nusd"),
            shadow_nusd=Sum("shadow_worst_nusd"),
        )
        .order_by("-policy__version", "-total")[:100]
    )  # fmt: skip
