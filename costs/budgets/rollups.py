"""The hourly roll-ups that belong to a budget. A key has none of its own: its application's stand for its pattern."""

from __future__ import annotations

from datetime import datetime

from django.db.models import QuerySet

from costs.contracts import BudgetLimit
from costs.models import SpendHour
from switchyard.tenancy.models import ApiKey


def spend_of(limit: BudgetLimit, start: datetime, end: datetime) -> QuerySet[SpendHour]:
    """Hours that begin in [start, end); the replayed history was nobody's spending."""
    rows = SpendHour.objects.filter(organisation_id=limit.organisation_id, start__gte=start, start__lt=end)
    rows = rows.exclude(origin="demonstration").order_by()
    kind, _, name = limit.scope.partition(":")
    if kind == "lob":
        return rows.filter(lob=name)
    if kind == "key":
        key = ApiKey.objects.filter(pk=name).select_related("application").first()
        kind, name = "application", key.application.slug if key else ""
    if kind == "application":
        return rows.filter(application=name, **({"lob": limit.lob} if limit.lob else {}))
    return rows
