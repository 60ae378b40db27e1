"""What was spent of a budget: the ledger's rows, and the stream's events that aren't in the ledger yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
import redis
from django.db.models import QuerySet

from costs.contracts import BudgetLimit
from costs.ledger import expense_nusd
from costs.models import LedgerEntry

STREAM = "sy:usage"
PENDING_MAX = 50_000
LABEL_PURPOSES = ("label", "review", "feedback")


def entries_of(limit: BudgetLimit, start: datetime, end: datetime | None) -> QuerySet[LedgerEntry]:
    """The ledger rows that count against a budget. The replayed history was nobody's spending."""
    rows = LedgerEntry.objects.filter(organisation_id=limit.organisation_id, at__gte=start)
    rows = rows.exclude(origin="demonstration")
    if end is not None:
        rows = rows.filter(at__lt=end)
    if limit.covers == "labels":
        rows = rows.filter(
            purpose__in=LABEL_PURPOSES, attempt__isnull=True
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
    return expense_nusd(entries_of(limit, start, end))


def _counts(limit: BudgetLimit, event: Mapping[str, Any]) -> bool:
    if event.get("organisation_id") != limit.organisation_id or event.get("origin") == "demonstration":
        return False
    if limit.covers == "labels" and event.get("purpose") not in LABEL_PURPOSES:
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
    events = [orjson.loads(fields[b"d"]) for _, fields in entries or ()]
    return [e for e in events if e.get("kind") == "usage" and e.get("cost_nusd")]


def spent_nusd(
    limit: BudgetLimit, start: datetime, end: datetime | None, pending: Sequence[Mapping[str, Any]]
) -> int:
    """Ledger plus what is on its way to it, each request once. Read `pending` before the ledger."""
    start_ns = start.timestamp() * 1e9
    end_ns = end.timestamp() * 1e9 if end else float("inf")
    mine = [e for e in pending if start_ns <= e["at_ns"] < end_ns and _counts(limit, e)]
    total = spent_in_ledger(limit, start, end)
    if mine:
        ids = [e["request_id"] for e in mine]
        booked: set[str] = set()
        for first in range(0, len(ids), 500):
            rows = LedgerEntry.objects.filter(request_id__in=ids[first : first + 500])
            booked.update(rows.values_list("request_id", flat=True))
        total += sum(e["cost_nusd"] for e in mine if e["request_id"] not in booked)
    return total
