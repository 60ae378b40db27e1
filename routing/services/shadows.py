"""Shadow versions: asked beside the live one on real requests, and what they would have done differently."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import transaction

from routing.models import DecisionRecord, Policy, ShadowMark, ShadowTally
from routing.policy.said import _
from routing.services.policies import lock, tell, validate
from switchyard.core.clock import now
from switchyard.core.errors import Conflict
from switchyard.core.money import format_usd
from switchyard.tenancy.models import User
from switchyard.tenancy.services import bump_config

MOST_SAMPLES = 5


@transaction.atomic
def start_shadow(*, policy: Policy, user: User | None) -> Policy:
    """Ask a version beside the live one, on a sample of real requests; nobody is called by what it says.

    One shadow a scope: another that was there goes back to `validated`. Raises ValidationFailed when the version no longer
    holds, Conflict when it is live or was.
    """
    lock(policy.organisation)
    policy.refresh_from_db()
    if policy.state == "shadow":
        return policy
    if policy.state not in ("draft", "validated"):
        raise Conflict(
            _("This version is %(state)s; only one that was never live can be a shadow.")
            % {"state": policy.state},
            code="illegal_state",
        )
    validate(policy=policy, user=user)
    shadows = Policy.objects.filter(organisation=policy.organisation, state="shadow")
    if not shadows.exists():  # what was decided before this has nothing to count
        last = DecisionRecord.objects.filter(organisation_id=policy.organisation_id).order_by("-pk").first()
        ShadowMark.objects.update_or_create(
            organisation_id=policy.organisation_id,
            defaults={"decision_id": last.pk if last is not None else ""},
        )
    for other in shadows.filter(lob=policy.lob):
        _leave_shadow(other, user)
    policy.state = "shadow"
    policy.save(update_fields=["state"])
    tell(policy, "shadow_started", user)
    bump_config()
    return policy


@transaction.atomic
def stop_shadow(*, policy: Policy, user: User | None) -> Policy:
    """Back to `validated`; what was tallied stays. Raises Conflict when it is no shadow."""
    lock(policy.organisation)
    policy.refresh_from_db()
    if policy.state != "shadow":
        raise Conflict(
            _("This version is %(state)s, no shadow.") % {"state": policy.state}, code="illegal_state"
        )
    _leave_shadow(policy, user)
    bump_config()
    return policy


def _leave_shadow(policy: Policy, user: User | None) -> None:
    policy.state = "validated"
    policy.save(update_fields=["state"])
    tell(policy, "shadow_stopped", user)


def report(policy: Policy, *, days: int = 30) -> dict[str, Any]:
    """What the sampled requests of the last days say:

    {"sampled", "agree" (share that goes to the same deployment first, null without any), "crossings", "worst_change_usd" (of
    worst cases, as admission reserves them), "sides": {"live": {"private", "external", "refused"}, "shadow": {…}}, "from",
    "to" (days), "moves": [{"lob", "workload", "from", "to", "from_side", "to_side", "requests", "crossings", "change_usd",
    "sample_ids"}], the most requests first}
    """
    rows = ShadowTally.objects.filter(policy=policy, day__gte=(now() - timedelta(days=days)).date())
    merged: dict[tuple[str, ...], dict[str, Any]] = {}
    sides = {name: {"private": 0, "external": 0, "refused": 0} for name in ("live", "shadow")}
    for row in rows.order_by("day"):
        sides["live"][row.live_side or "refused"] += row.requests
        sides["shadow"][row.shadow_side or "refused"] += row.requests
        key = (row.lob, row.workload, row.live, row.shadow, row.live_side, row.shadow_side)
        told = merged.setdefault(key, {"requests": 0, "crossings": 0, "nusd": 0, "sample_ids": []})
        told["requests"] += row.requests
        told["crossings"] += row.crossings
        told["nusd"] += row.shadow_worst_nusd - row.live_worst_nusd
        told["sample_ids"] = (told["sample_ids"] + row.samples)[-MOST_SAMPLES:]
    sampled = sum(told["requests"] for told in merged.values())
    same = sum(told["requests"] for key, told in merged.items() if key[2] == key[3])
    found = sorted(merged.items(), key=lambda item: -item[1]["requests"])
    days_seen = [row.day.isoformat() for row in rows]
    return {
        "sampled": sampled, "agree": round(same / sampled, 4) if sampled else None,
        "crossings": sum(told["crossings"] for told in merged.values()),
        "worst_change_usd": format_usd(sum(told["nusd"] for told in merged.values())), "sides": sides,
        "from": min(days_seen, default=None), "to": max(days_seen, default=None),
        "moves": [_move(key, told) for key, told in found if key[2] != key[3]],
    }  # fmt: skip


def _move(key: tuple[str, ...], told: dict[str, Any]) -> dict[str, Any]:
    lob, workload, live, shadow, live_side, shadow_side = key
    return {
        "lob": lob, "workload": workload, "from": live, "to": shadow, "from_side": live_side, "to_side": shadow_side,
        "requests": told["requests"], "crossings": told["crossings"], "change_usd": format_usd(told["nusd"]),
        "sample_ids": told["sample_ids"],
    }  # fmt: skip
