"""The hourly roll-ups that belong to a budget. A key has none of its own: its application's stand for its pattern."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from django.db.models import QuerySet, Sum

from costs.contracts import BudgetLimit
from costs.models import SpendHour
from switchyard.tenancy.models import ApiKey


def spend_of(limit: BudgetLimit, start: datetime, end: datetime) -> QuerySet[SpendHour]:
    """Hours that begin in [start, end); the replayed history was nobody's spending."""
    rows = _live(start, end).filter(organisation_id=limit.organisation_id)
    kind, _, name = limit.scope.partition(":")
    if kind == "lob":
        return rows.filter(lob=name)
    if kind == "key":
        kind, name = "application", _applications([limit]).get(name, "")
    if kind == "application":
        return rows.filter(application=name, **({"lob": limit.lob} if limit.lob else {}))
    return rows


def hours_of(limits: Sequence[BudgetLimit], start: datetime, end: datetime) -> dict[int, dict[datetime, int]]:
    """Budget → hour → nano-dollars, where any were spent: one look at the roll-ups for all budgets together."""
    found: dict[int, dict[datetime, int]] = {limit.id: {} for limit in limits}
    rows = _live(start, end).filter(organisation_id__in={limit.organisation_id for limit in limits})
    names = ("organisation_id", "lob", "application", "start")
    if all(limit.scope.startswith(("organisation", "lob:")) for limit in limits):
        names = ("organisation_id", "lob", "start")  # fewer rows
    applications = _applications(limits)
    by_names: dict[tuple[object, ...], list[tuple[datetime, int]]] = {}
    sums = rows.values_list(*names).annotate(nusd=Sum("cost_nusd")).filter(nusd__gt=0)
    for *key, start, nusd in sums:
        by_names.setdefault(tuple(key), []).append((start, nusd))
    for limit in limits:
        hours, wanted = found[limit.id], _names(limit, applications)
        for values, spent in by_names.items():
            held = dict(zip(names, values, strict=False))
            if all(held[name] == value for name, value in wanted):
                for start, nusd in spent:
                    hours[start] = hours.get(start, 0) + nusd
    return found


def _names(limit: BudgetLimit, applications: dict[str, str]) -> list[tuple[str, object]]:
    """What a roll-up row must hold to count in the budget."""
    wanted: list[tuple[str, object]] = [("organisation_id", limit.organisation_id)]
    kind, _, name = limit.scope.partition(":")
    if kind == "key":
        kind, name = "application", applications.get(name, "")
    if kind in ("lob", "application"):
        wanted.append((kind, name))
    if kind == "application" and limit.lob:
        wanted.append(("lob", limit.lob))
    return wanted


def _live(start: datetime, end: datetime) -> QuerySet[SpendHour]:
    return (
        SpendHour.objects.filter(start__gte=start, start__lt=end).exclude(origin="demonstration").order_by()
    )


def _applications(limits: Sequence[BudgetLimit]) -> dict[str, str]:
    """Key → its application, of the keys that have a budget."""
    keys = [limit.scope.partition(":")[2] for limit in limits if limit.scope.startswith("key:")]
    if not keys:
        return {}
    return dict(ApiKey.objects.filter(pk__in=keys).values_list("pk", "application__slug"))
