"""Alerts when a budget gets close to its limit."""

from __future__ import annotations

import redis

from costs.budgets.headroom import Headroom, headroom
from costs.models import Alert, Budget
from costs.selectors import limits_of
from switchyard.core.money import format_usd


def check_thresholds(connection: redis.Redis | None = None) -> list[Alert]:
    """Raise the alerts that are due: one when a budget passes its warning share, one at its limit, each once a period."""
    raised = []
    budgets = list(Budget.objects.select_related("lob"))
    for budget, limit in zip(budgets, limits_of(budgets), strict=True):
        room = headroom(limit, connection)
        for name, share in (("warning", budget.warn_pct), ("limit", 100)):
            if not room.limit_nusd or room.used_pct < share:
                continue
            alert, created = Alert.objects.get_or_create(
                unique_key=f"budget:{budget.pk}:{int(room.start.timestamp())}:{name}",
                defaults={
                    "organisation_id": budget.organisation_id,
                    "kind": f"budget_{name}",
                    "lob": budget.lob.slug if budget.lob else "",
                    "subject": budget.scope,
                    "message": _message(budget, room, share),
                },
            )
            if created:
                raised.append(alert)
    return raised


def _message(budget: Budget, room: Headroom, share: int) -> str:
    return (
        f"The {budget.period} budget on {budget.scope} has passed {share} %: ${format_usd(room.spent_nusd)} of "
        f"${format_usd(room.limit_nusd)} is spent; at the limit it will {budget.action}."
    )
