"""One look at every version that was published: on, or back by itself. Safe to run twice, and beside a person who acts.

A look reads what was decided since the last one, feeds the guards, and takes the version back when one of them is sure. The
rollback names the version it means: whoever published or rolled back meanwhile is not undone.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from costs.alerts import raise_alert
from routing.models import Policy, RolloutWatch
from routing.rollout import outcomes as reading
from routing.rollout.guards import METRICS, Guards, Limits
from routing.selectors import policies as read
from routing.services.policies import rollback
from switchyard.audit.services import record
from switchyard.core.clock import now
from switchyard.core.errors import Conflict

log = logging.getLogger(__name__)
WATCHED = timedelta(days=30)


def watch_all() -> dict[str, int]:
    """One look at each; gives how many are in each state after it. A look that fails is logged and made again."""
    states: dict[str, int] = {}
    for pk in RolloutWatch.objects.filter(state="watching").values_list("pk", flat=True):
        try:
            state = look(pk).state
        except Exception:
            log.exception("the rollout watch %s could not look", pk)
            state = "watching"
        states[state] = states.get(state, 0) + 1
    return states


def look(pk: int) -> RolloutWatch:
    """Read, judge, and take the version back when a guard is sure."""
    with transaction.atomic():
        rows = RolloutWatch.objects.select_for_update(of=("self",)).select_related(
            "policy__lob", "previous__lob"
        )
        watch = rows.get(pk=pk)
        if watch.state != "watching":
            return watch
        if watch.policy.state != "live":
            return _end(watch, "ended", "it is no longer live")
        guards = _read(watch)
        watch.looked_at = now()
        watch.save(update_fields=["tests", "baseline", "cursor", "feedback_cursor", "looked_at"])
    metric = guards.refuted()
    if metric:
        return _take_back(watch, metric, guards)
    if watch.began_at + WATCHED < now():
        return _end(watch, "ended", "watched for 30 days without harm")
    return watch


def guards_of(watch: RolloutWatch) -> Guards:
    _scales, usual = reading.from_baseline(watch.baseline)
    limits = Limits(**watch.limits) if watch.limits else Limits()
    return Guards.from_dict(watch.tests, limits=limits, usual=usual, alone=watch.percent >= 100)


def _read(watch: RolloutWatch) -> Guards:
    policy = watch.policy
    lob, label = policy.lob.slug if policy.lob else None, read.label_of(policy)
    if not watch.baseline:
        before = read.label_of(watch.previous) if watch.previous is not None else None
        scales, usual = reading.before(policy.organisation_id, lob, watch.began_at, before)
        watch.baseline = reading.as_baseline(scales, usual)
    scales, _usual = reading.from_baseline(watch.baseline)
    guards = guards_of(watch)
    rows, watch.cursor = reading.new_rows(policy.organisation_id, lob, watch.cursor, watch.began_at)
    guards.see(reading.outcomes(rows, label, scales))
    told, watch.feedback_cursor = reading.judged(
        policy.organisation_id, lob, watch.feedback_cursor, watch.began_at, label
    )
    guards.see(told)
    watch.tests = guards.as_dict()
    return guards


def _take_back(watch: RolloutWatch, metric: str, guards: Guards) -> RolloutWatch:
    """Back to the version before, with an alert; where there is none the alert alone, and it stays."""
    policy, figure = watch.policy, guards.figures()[metric]
    reason = _("%(what)s: %(new)s against %(old)s, over %(n)d requests (evidence %(e).3g to 1).") % {
        "what": _WORDS[metric](), "new": _said(metric, figure["new"]), "old": _said(metric, figure["old"]), "n": figure["n"],
        "e": min(figure["evidence"], 1e9),
    }  # fmt: skip
    label = read.label_of(policy)
    try:
        rollback(organisation=policy.organisation, lob=policy.lob, user=None, reason=reason, only=policy.pk)
    except Conflict as error:
        if error.code == "live_changed":
            return _end(watch, "ended", "another version is live")
        told = _("%(name)s does worse, and there is no version to go back to. %(why)s")
        _tell(policy, "policy_worse", told % {"name": label, "why": reason}, watch, metric)
        return _end(watch, "ended", reason)
    ended = _end(watch, "rolled_back", reason)
    told = _("The policy %(name)s was taken back by itself. %(why)s") % {"name": label, "why": reason}
    _tell(policy, "policy_rolled_back", told, watch, metric)
    record(
        actor=None, action="policy.guard_fired", target=f"policy:{policy.pk}", lob=policy.lob.slug if policy.lob else "",
        organisation_id=policy.organisation_id,
        detail={"version": policy.version, "metric": metric, "percent": watch.percent, **figure},
    )  # fmt: skip
    return ended


def _end(watch: RolloutWatch, state: str, reason: str) -> RolloutWatch:
    """The rollback itself ends the watch as replaced; what took it back is the truer word."""
    RolloutWatch.objects.filter(pk=watch.pk).update(state=state, reason=reason[:400], ended_at=now())
    watch.refresh_from_db()
    return watch


def _tell(policy: Policy, kind: str, message: str, watch: RolloutWatch, metric: str) -> None:
    raise_alert(
        organisation_id=policy.organisation_id, kind=kind, lob=policy.lob.slug if policy.lob else "",
        subject=read.label_of(policy), message=message, unique_key=f"{kind}:{watch.pk}", cause=metric,
    )  # fmt: skip


_WORDS: dict[str, Any] = {
    "errors": lambda: _("refused and failed requests"),
    "latency": lambda: _("slow answers"),
    "accuracy": lambda: _("wrong answers by feedback"),
    "objective": lambda: _("wrong answers under an accuracy objective"),
    "cost": lambda: _("cost of a request, in usual ones"),
}


def _said(metric: str, value: float | None) -> str:
    if value is None:
        return _("what was usual")
    return f"{value:.2f}" if metric == "cost" else f"{100 * value:.1f} %"


def told(policy: Policy) -> dict[str, Any] | None:
    """The newest watch of a version for pages and REST; None when it was never published:

    {"state": "watching" | "rolled_back" | "ended", "percent", "since", "looked_at", "ended_at", "reason", "previous": label or
    null, "alone": held against the version before rather than beside the rest, "metrics": [{"metric", "n", "new", "old",
    "evidence", "needed"}]}: shares, and for cost usual requests; `evidence` of `needed` takes it back.
    """
    watch = RolloutWatch.objects.filter(policy=policy).select_related("previous__lob").first()
    if watch is None:
        return None
    figures = guards_of(watch).figures()
    return {
        "state": watch.state, "percent": watch.percent, "since": watch.began_at.isoformat(),
        "looked_at": watch.looked_at.isoformat() if watch.looked_at else None,
        "ended_at": watch.ended_at.isoformat() if watch.ended_at else None, "reason": watch.reason,
        "previous": read.label_of(watch.previous) if watch.previous is not None else None, "alone": watch.percent >= 100,
        "metrics": [{"metric": name, **figures[name], "needed": len(METRICS) / 0.05} for name in METRICS],
    }  # fmt: skip
