"""Top-ups: money added to one period of a budget, asked for by one person and approved by another."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from costs.models import Budget, BudgetExtra
from costs.periods import period_bounds
from switchyard.audit.services import record
from switchyard.core.clock import now
from switchyard.core.errors import Conflict, ValidationFailed
from switchyard.core.money import format_usd
from switchyard.tenancy.models import User
from switchyard.tenancy.services import bump_config

LARGEST_NUSD = 10**18  # a thousand million dollars: with the limit beside it still far inside 64 bits


@transaction.atomic
def request_top_up(
    *, budget: Budget, user: User, amount_nusd: int, reason: str, period: str = "current"
) -> BudgetExtra:
    """Ask for money in the budget's `current` or `next` period. Raises ValidationFailed."""
    if not 0 < amount_nusd <= LARGEST_NUSD:
        raise ValidationFailed(
            f"A top-up is more than nothing and at most ${format_usd(LARGEST_NUSD)}.", param="amount_usd"
        )
    if not reason.strip():
        raise ValidationFailed("Say what the money is for: whoever approves it reads it.", param="reason")
    extra = BudgetExtra.objects.create(
        budget=budget,
        period_start=_start(budget, period),
        kind="top_up",
        amount_nusd=amount_nusd,
        reason=reason.strip()[:300],
        requested_by=user,
        at=now(),
    )
    _note(extra, user, "requested")
    return extra


def _start(budget: Budget, period: str) -> datetime:
    start, end = period_bounds(budget.period, budget.timezone, now())
    if period == "current":
        return start
    if period != "next":
        raise ValidationFailed(f"{period!r} is neither current nor next.", param="period")
    if end is None:
        raise ValidationFailed(
            "A budget without an end has no next period: top up the current one.", param="period"
        )
    return end


def approve_top_up(*, extra: BudgetExtra, user: User) -> BudgetExtra:
    """The money is there: admission has it in every process within 2 s. Raises Conflict for one's own request, for what
    is decided already, and when the period is over."""
    _, end = period_bounds(extra.budget.period, extra.budget.timezone, extra.period_start)
    if end is not None and end <= now():
        raise Conflict("The period this was asked for is over: ask for the present one.", code="period_over")
    return _decide(extra, user, "approved")


def refuse_top_up(*, extra: BudgetExtra, user: User) -> BudgetExtra:
    """Raises Conflict for one's own request and for what is decided already."""
    return _decide(extra, user, "refused")


@transaction.atomic
def _decide(extra: BudgetExtra, user: User, state: str) -> BudgetExtra:
    if extra.kind != "top_up":
        raise Conflict("What was carried over is nobody's to decide.", code="not_a_top_up")
    if extra.requested_by_id is None:
        raise Conflict(
            "Who asked for this has no account any more: let somebody ask again.", code="approval_required"
        )
    if extra.requested_by_id == user.pk:
        raise Conflict(
            "A top-up is decided by somebody other than who asked for it.", code="approval_required"
        )
    # The state is asked again by the write itself: of two who decide at once, one is told.
    waiting = BudgetExtra.objects.filter(pk=extra.pk, state="requested")
    if not waiting.update(state=state, decided_by=user, decided_at=now()):
        extra.refresh_from_db()
        raise Conflict(f"This top-up is {extra.state} already.", code="already_decided")
    extra.refresh_from_db()
    _note(extra, user, state)
    if state == "approved":
        bump_config()
    return extra


def _note(extra: BudgetExtra, user: User, state: str) -> None:
    budget = extra.budget
    record(
        actor=user, action=f"budget.top_up_{state}", target=f"budget:{budget}", lob=budget.lob.slug if budget.lob else "",
        organisation_id=budget.organisation_id, detail={
            "top_up": extra.pk, "amount_usd": format_usd(extra.amount_nusd), "reason": extra.reason,
            "period_start": extra.period_start, "requested_by": extra.requested_by.username if extra.requested_by else None,
        },
    )  # fmt: skip
