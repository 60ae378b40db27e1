"""What was spent of a budget: the ledger's rows, and the stream's events that aren't in the ledger yet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import replace
from datetime import datetime
from typing import Any

import orjson
import redis
from django.db.models import Q, QuerySet, Sum

from costs import label_hours
from costs.contracts import BudgetLimit
from costs.fresh import STREAM, bodies_of
from costs.ledger import EXPENSE, EXPENSE_SUM, UNATTRIBUTED, expense_nusd
from costs.models import AccountHour, LedgerEntry
from costs.rollups import HOUR, hour_of
from switchyard.core.bulk import grouped_by_hash

PENDING_MAX = 50_000


def entries_of(limit: BudgetLimit, start: datetime, end: datetime | None) -> QuerySet[LedgerEntry]:
    """The ledger rows that count against a budget. The replayed history was nobody's spending."""
    rows = LedgerEntry.objects.filter(organisation_id=limit.organisation_id, at__gte=start)
    rows = rows.exclude(origin="demonstration")
    if end is not None:
        rows = rows.filter(at__lt=end)
    if limit.covers == "labels":
        rows = rows.filter(
            purpose__in=label_hours.PURPOSES, attempt__isnull=True
        )  # the index `ledger_labels` finds them
    kind, _, name = limit.scope.partition(":")
    if kind == "lob":
        return rows.filter(lob=name)
    if kind == "application":
        return rows.filter(application=name, **({"lob": limit.lob} if limit.lob else {}))
    if kind == "key":
        return rows.filter(key_id=name)
    return rows


def spent_in_ledger(limit: BudgetLimit, start: datetime, end: datetime | None) -> int:
    """What the ledger says was spent of a budget. The organisation's and a line of business's are read from the balances by
    hour, which the database keeps: the rows of a month can be millions."""
    kind, _, name = limit.scope.partition(":")
    if kind in ("organisation", "lob"):
        return _by_hours(limit, name if kind == "lob" else None, start, end)
    return expense_nusd(entries_of(limit, start, end))


def _by_hours(limit: BudgetLimit, lob: str | None, start: datetime, end: datetime | None) -> int:
    """Whole hours from their balances, what a period's ends cut off from its rows, less what was replayed."""
    first = hour_of(start) if hour_of(start) == start else hour_of(start) + HOUR
    last = hour_of(end) if end is not None else None
    if last is not None and last <= first:
        return expense_nusd(entries_of(limit, start, end))
    if limit.covers == "labels":
        total = label_hours.hours_of(limit, first, last).aggregate(nusd=Sum("amount_nusd"))["nusd"] or 0
    else:
        total = _all_by_hours(limit, lob, first, last)
    if start < first:
        total += expense_nusd(entries_of(limit, start, first))
    if last is not None and end is not None and last < end:
        total += expense_nusd(entries_of(limit, last, end))
    return total


def _all_by_hours(limit: BudgetLimit, lob: str | None, first: datetime, last: datetime | None) -> int:
    hours = AccountHour.objects.filter(organisation_id=limit.organisation_id, start__gte=first)
    replayed = LedgerEntry.objects.filter(
        organisation_id=limit.organisation_id, origin="demonstration", at__gte=first
    )
    if last is not None:
        hours, replayed = hours.filter(start__lt=last), replayed.filter(at__lt=last)
    if lob is not None:
        hours, replayed = hours.filter(lob=lob), replayed.filter(lob=lob)
    expenses = hours.filter(Q(account__startswith=EXPENSE) | Q(account=UNATTRIBUTED))
    sums = expenses.aggregate(charged=Sum("debit_nusd"), returned=Sum("credit_nusd"))
    return (sums["charged"] or 0) - (sums["returned"] or 0) - expense_nusd(replayed)


class LedgerSums:
    """Sums of one look at the ledger, for many budgets: those of applications and keys of one period share one scan."""

    def __init__(self) -> None:
        self._names: dict[tuple[Any, ...], list[dict[str, Any]]] = {}

    def spent(self, limit: BudgetLimit, start: datetime, end: datetime | None) -> int:
        kind, _, name = limit.scope.partition(":")
        if limit.covers != "all" or kind not in ("application", "key"):
            return spent_in_ledger(limit, start, end)
        column = "application" if kind == "application" else "key_id"
        return sum(
            row["spent"]
            for row in self._by_name(limit, start, end)
            if row[column] == name and (kind == "key" or limit.lob in ("", row["lob"]))
        )

    def _by_name(self, limit: BudgetLimit, start: datetime, end: datetime | None) -> list[dict[str, Any]]:
        key = (limit.organisation_id, start, end)
        if key not in self._names:
            everything = replace(limit, scope="organisation", lob="")
            with grouped_by_hash():
                rows = entries_of(everything, start, end).order_by().values("lob", "application", "key_id")
                self._names[key] = list(rows.annotate(spent=EXPENSE_SUM))
        return self._names[key]


def _counts(limit: BudgetLimit, event: Mapping[str, Any]) -> bool:
    if event.get("organisation_id") != limit.organisation_id or event.get("origin") == "demonstration":
        return False
    if limit.covers == "labels" and event.get("purpose") not in label_hours.PURPOSES:
        return False
    kind, _, name = limit.scope.partition(":")
    if kind == "lob":
        return event.get("lob") == name
    if kind == "application":
        return event.get("application") == name and limit.lob in ("", event.get("lob"))
    return kind == "organisation" or event.get("key_id") == name


def pending_events(connection: redis.Redis) -> list[dict[str, Any]]:
    """Usage events of the stream that aren't committed to the ledger yet (consumers delete what they committed)."""
    return usage_events(connection.xrange(STREAM, count=PENDING_MAX))


def usage_events(entries: Any) -> list[dict[str, Any]]:
    """The stream's entries that cost something, decoded."""
    events = [orjson.loads(body) for _, fields in entries or () for body in bodies_of(fields)]
    return [e for e in events if e.get("kind") == "usage" and e.get("cost_nusd")]


def booked_of(events: Iterable[Mapping[str, Any]]) -> set[str]:
    """Those of the events' requests that are in the ledger."""
    ids = [event["request_id"] for event in events]
    booked: set[str] = set()
    for first in range(0, len(ids), 500):
        rows = LedgerEntry.objects.filter(request_id__in=ids[first : first + 500])
        booked.update(rows.values_list("request_id", flat=True))
    return booked


def spent_nusd(
    limit: BudgetLimit,
    start: datetime,
    end: datetime | None,
    pending: Sequence[Mapping[str, Any]],
    *,
    sums: LedgerSums | None = None,
    booked: Set[str] | None = None,
) -> int:
    """Ledger plus what is on its way to it, each request once. Read `pending` before the ledger, and `booked`, where many
    budgets share it, before `sums`: what is booked between the two then counts twice until the next look, never not at all.
    """
    start_ns = start.timestamp() * 1e9
    end_ns = end.timestamp() * 1e9 if end else float("inf")
    mine = [e for e in pending if start_ns <= e["at_ns"] < end_ns and _counts(limit, e)]
    total = (sums.spent if sums is not None else spent_in_ledger)(limit, start, end)
    if mine:
        known = booked_of(mine) if booked is None else booked
        total += sum(e["cost_nusd"] for e in mine if e["request_id"] not in known)
    return total
