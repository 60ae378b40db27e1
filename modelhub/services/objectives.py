"""Accuracy objectives: when a deployment burns a workload's error budget, its traffic moves away, and comes back by a trial.

Two windows, as for any error budget: a short one that sees a break at once, a long one that sees a slow leak. Accuracy budgets
are wide (8 % where 92 % is promised), so a rate of 14 times the budget, as availability uses it, can't occur: the short window
burns at twice the budget, the long one at a fifth above it, each by Wilson's lower bound, so that few rows never burn.

burning → (rested, or another version went live) → probing on a tenth of the traffic → recovered, or burning for twice as long
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Sum
from django.utils.translation import gettext as _

from costs.alerts import raise_alert
from costs.models import SpendHour
from modelhub.ml.fairness.intervals import wilson
from modelhub.models import AccuracyBurn, AccuracyObjective, Deployment, ModelVersion
from switchyard.audit.services import record
from switchyard.core.clock import now
from switchyard.core.errors import InvalidRequest
from switchyard.tenancy.models import User, Workload
from switchyard.tenancy.services import bump_config

FAST, SLOW = timedelta(hours=1), timedelta(hours=24)
FAST_BURN, SLOW_BURN = 2.0, 1.2
PROBE_PERCENT = 10
LEAST_PROBED = 30
LEAST_JUDGED = 20  # fewer burn nothing, however wrong they were
REST = timedelta(hours=1)  # before the first trial; doubled with each that burns again
LONGEST_REST = timedelta(days=2)


@dataclass(frozen=True, slots=True)
class Judged:
    """Answers with feedback in a window, and which model most of the wrong ones came from."""

    n: int
    wrong: int
    worst_model: str
    worst_wrong: int
    worst_n: int

    @property
    def accuracy(self) -> float:
        return 1 - self.wrong / self.n if self.n else 1.0


@transaction.atomic
def set_objective(
    *, workload: Workload, target: float, user: User | None, window_days: int = 28
) -> AccuracyObjective:
    """Raises InvalidRequest for a target that promises nothing or everything."""
    if not 0.01 <= target <= 0.9999:
        raise InvalidRequest(_("The target lies between 0.01 and 0.9999."), param="target")
    if not 1 <= window_days <= 366:
        raise InvalidRequest(_("The window has from 1 to 366 days."), param="window_days")
    values = {"target": target, "window_days": window_days, "created_by": getattr(user, "username", "")}
    row, _new = AccuracyObjective.objects.update_or_create(workload=workload, defaults=values)
    _note(row, "objective.set", user, target=target, window_days=window_days)
    bump_config()
    return row


@transaction.atomic
def drop_objective(*, objective: AccuracyObjective, user: User | None) -> None:
    """Nothing rests because of it any more."""
    _note(objective, "objective.removed", user, target=objective.target)
    objective.delete()
    bump_config()


def _note(objective: AccuracyObjective, action: str, user: User | None, **detail: Any) -> None:
    lob = objective.workload.lob
    record(
        actor=user, action=action, target=f"workload:{objective.workload.name}", lob=lob.slug,
        organisation_id=lob.organisation_id, detail=detail,
    )  # fmt: skip


def watch_objectives() -> int:
    """One look at every objective; gives how many deployments rest after it."""
    for objective in AccuracyObjective.objects.select_related("workload__lob"):
        look_at(objective)
    return AccuracyBurn.objects.exclude(state="recovered").count()


def look_at(objective: AccuracyObjective) -> None:
    """Move away what burns, try what has rested, take back what has recovered."""
    for deployment in _judged_deployments(objective):
        with transaction.atomic():
            open_burns = AccuracyBurn.objects.select_for_update().exclude(state="recovered")
            burn = open_burns.filter(objective=objective, deployment=deployment).first()
            if burn is None:
                _maybe_burn(objective, deployment)
            elif burn.state == "burning":
                _maybe_probe(objective, burn)
            else:
                _judge_probe(objective, burn)


def _judged_deployments(objective: AccuracyObjective) -> Iterable[Deployment]:
    names = set(_rows(objective, now() - SLOW).filter(judged__gt=0).values_list("deployment", flat=True))
    names |= set(
        AccuracyBurn.objects.filter(objective=objective)
        .exclude(state="recovered")
        .values_list("deployment__name", flat=True)
    )
    return Deployment.objects.filter(organisation_id=objective.workload.organisation_id, name__in=names)


def _rows(objective: AccuracyObjective, since: datetime) -> Any:
    start = since.replace(minute=0, second=0, microsecond=0)
    return SpendHour.objects.filter(
        organisation_id=objective.workload.organisation_id, workload=objective.workload.name, start__gte=start,
        purpose="answer",
    ).exclude(origin="demonstration")  # fmt: skip


def judged_since(objective: AccuracyObjective, deployment: Deployment, since: datetime) -> Judged:
    """Whole hours from the one that `since` lies in."""
    rows = _rows(objective, since).filter(deployment=deployment.name)
    by_model = [
        (row["n"] or 0, (row["n"] or 0) - (row["right"] or 0), row["model"])
        for row in rows.values("model").annotate(n=Sum("judged"), right=Sum("correct")).order_by("model")
    ]
    worst = max(by_model, key=lambda row: row[1], default=(0, 0, ""))
    return Judged(sum(r[0] for r in by_model), sum(r[1] for r in by_model), worst[2], worst[1], worst[0])


def burn_rate(judged: Judged, target: float) -> float:
    """How many times as fast as allowed the budget is spent, at least (95 %); 0 with too few rows to say."""
    return wilson(judged.wrong, judged.n).low / (1 - target) if judged.n >= LEAST_JUDGED else 0.0


def _maybe_burn(objective: AccuracyObjective, deployment: Deployment) -> None:
    # What was judged before it came back, or before its live version did, is no longer its own.
    ended = (
        AccuracyBurn.objects.filter(objective=objective, deployment=deployment).order_by("-ended_at").first()
    )
    live = ModelVersion.objects.filter(
        deployment=deployment, workload=objective.workload, stage="live"
    ).first()
    floor = max(
        filter(None, (ended.ended_at if ended else None, live.promoted_at if live else None)), default=None
    )
    for window, most, name in ((FAST, FAST_BURN, _("the last hours")), (SLOW, SLOW_BURN, _("the last day"))):
        since = now() - window
        judged = judged_since(objective, deployment, max(since, _next_hour(floor)) if floor else since)
        if burn_rate(judged, objective.target) >= most:
            _burn(objective, deployment, judged, name)
            return


def _next_hour(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)


def _burn(objective: AccuracyObjective, deployment: Deployment, judged: Judged, window: str) -> None:
    told = {
        "name": deployment.name, "workload": objective.workload.name, "wrong": judged.wrong, "n": judged.n, "window": window,
        "target": 100 * objective.target, "model": judged.worst_model, "w": judged.worst_wrong, "m": judged.worst_n,
    }  # fmt: skip
    cause = _("%(model)s: %(w)d of %(m)d judged answers wrong") % told
    burn = AccuracyBurn.objects.create(
        objective=objective, deployment=deployment, accuracy=judged.accuracy, judged=judged.n, cause=cause[:300],
    )  # fmt: skip
    words = _("%(name)s burns the error budget of %(workload)s: %(wrong)d of %(n)d judged answers of %(window)s were wrong, "
              "where %(target).1f %% right is the objective. Its traffic moves to the others that its policy names.")  # fmt: skip
    raise_alert(
        organisation_id=objective.workload.organisation_id, kind="accuracy_burn", lob=objective.workload.lob.slug,
        subject=f"{objective.workload.name} on {deployment.name}", message=words % told,
        unique_key=f"accuracy_burn:{burn.pk}", cause=cause,
    )  # fmt: skip
    _note(
        objective,
        "objective.burning",
        None,
        deployment=deployment.name,
        judged=judged.n,
        wrong=judged.wrong,
        cause=cause,
    )
    bump_config()


def _maybe_probe(objective: AccuracyObjective, burn: AccuracyBurn) -> None:
    rest = min(LONGEST_REST, REST * 2**burn.returns)
    replaced = ModelVersion.objects.filter(
        deployment=burn.deployment, workload=objective.workload, stage="live", promoted_at__gt=burn.changed_at
    ).exists()
    if not replaced and now() - burn.changed_at < rest:
        return
    _change(objective, burn, "probing", PROBE_PERCENT)


def _judge_probe(objective: AccuracyObjective, burn: AccuracyBurn) -> None:
    judged = judged_since(objective, burn.deployment, _next_hour(burn.changed_at))
    if burn_rate(judged, objective.target) >= SLOW_BURN:
        burn.returns += 1
        burn.accuracy, burn.judged = judged.accuracy, judged.n
        _change(objective, burn, "burning", 0)
    elif judged.n >= LEAST_PROBED and judged.accuracy >= objective.target:
        burn.ended_at = now()
        burn.accuracy, burn.judged = judged.accuracy, judged.n
        _change(objective, burn, "recovered", 100)


def _change(objective: AccuracyObjective, burn: AccuracyBurn, state: str, share: int) -> None:
    burn.state, burn.share, burn.changed_at = state, share, now()
    burn.save()
    _note(
        objective,
        f"objective.{state}",
        None,
        deployment=burn.deployment.name,
        share=share,
        returns=burn.returns,
    )
    bump_config()


def budget_left(objective: AccuracyObjective) -> tuple[float | None, int]:
    """(share of the window's error budget that is left, judged answers); None before anything was judged."""
    rows = _rows(objective, now() - timedelta(days=objective.window_days)).aggregate(
        n=Sum("judged"), right=Sum("correct")
    )
    n, right = rows["n"] or 0, rows["right"] or 0
    return (1 - (n - right) / (n * (1 - objective.target)) if n else None), n
