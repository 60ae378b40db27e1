"""Alerts when a budget gets close to its limit."""

from __future__ import annotations

import redis
from django.utils.translation import gettext as _

from costs.alerts import raise_alert
from costs.budgets.causes import cause_of
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
        added = (
            room.limit_nusd - budget.limit_nusd
        )  # a period that was topped up is warned of its new limit as well
        for name, share in (("warning", budget.warn_pct), ("limit", 100)):
            if not room.limit_nusd or room.used_pct < share:
                continue
            key = f"budget:{budget.pk}:{int(room.start.timestamp())}:{name}" + (f":{added}" if added else "")
            if Alert.objects.filter(unique_key=key).exists():
                continue  # before its cause is looked up: this runs every few seconds
            alert = raise_alert(
                organisation_id=budget.organisation_id,
                kind=f"budget_{name}",
                lob=budget.lob.slug if budget.lob else "",
                subject=budget.scope,
                message=_message(budget, room, share),
                cause=cause_of(limit, room.start),
                unique_key=key,
            )
            if alert is not None:
                raised.append(alert)
    return raised


def _message(budget: Budget, room: Headroom, share: int) -> str:
    words = {
        "budget": budget.scope, "period": budget.period, "share": share, "spent": format_usd(room.spent_nusd),
        "limit": format_usd(room.limit_nusd), "action": budget.action,
    }  # fmt: skip
    if budget.covers == "labels":
        text = _(
            "The %(period)s budget of labels on %(budget)s has passed %(share)s %%: $%(spent)s of $%(limit)s is spent; "
            "at the limit it will %(action)s."
        )
    else:
        text = _(
            "The %(period)s budget on %(budget)s has passed %(share)s %%: $%(spent)s of $%(limit)s is spent; "
            "at the limit it will %(action)s."
        )
    return text % words
