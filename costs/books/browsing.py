"""Reading the ledger a page at a time, newest first, however long it is: a rare account or purpose is looked for only in
the hours in which it moved."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Q, QuerySet

from costs.models import AccountHour, LedgerEntry, SpendHour
from switchyard.tenancy.querysets import Scope

LABELS = "payable:labels"
OF_LABELS = ("label", "review", "feedback")
HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class LedgerFilter:
    """Which transfers: of [start, end), and of a line of business, an account on either side, a purpose."""

    start: datetime
    end: datetime
    lob: str = ""
    account: str = ""
    purpose: str = ""

    def rows(self, scope: Scope) -> QuerySet[LedgerEntry]:
        rows = LedgerEntry.objects.for_tenant(scope).filter(at__gte=self.start, at__lt=self.end)
        if self.lob:
            rows = rows.filter(lob=self.lob)
        if self.account:
            rows = rows.filter(Q(debit=self.account) | Q(credit=self.account))
        return rows.filter(purpose=self.purpose) if self.purpose else rows


def newest_entries(
    scope: Scope, asked: LedgerFilter, limit: int, before: tuple[datetime, int] | None = None
) -> list[LedgerEntry]:
    """At most `limit` transfers by time and id, newest first, from behind `before` (the last one's time and id) on."""
    rows = asked.rows(scope).order_by("-at", "-pk")
    end = asked.end
    if before is not None:
        at, pk = before
        rows = rows.filter(at__lte=at).filter(Q(at__lt=at) | Q(pk__lt=pk))
        end = min(end, at + HOUR)
    hours = _hours(scope, asked, end)
    if hours is None:
        return list(rows[:limit])
    found: list[LedgerEntry] = []
    for hour in hours:
        found += rows.filter(at__gte=hour, at__lt=hour + HOUR)[: limit - len(found)]
        if len(found) >= limit:
            break
    return found


def _hours(scope: Scope, asked: LedgerFilter, end: datetime) -> Iterator[datetime] | None:
    """Hours with rows that may match, newest first; None when any hour may."""
    kept: QuerySet[AccountHour] | QuerySet[SpendHour]
    if asked.account:
        kept = AccountHour.objects.for_tenant(scope).filter(account=asked.account)
    elif asked.purpose in OF_LABELS:
        kept = AccountHour.objects.for_tenant(scope).filter(account=LABELS)
    elif asked.purpose:
        kept = SpendHour.objects.for_tenant(scope).filter(purpose=asked.purpose)
    else:
        return None
    kept = kept.filter(start__gt=asked.start - HOUR, start__lt=end)
    if asked.lob:
        kept = kept.filter(lob=asked.lob)
    return iter(kept.order_by("-start").values_list("start", flat=True).distinct())
