"""Reading the ledger and its attempts a page at a time, newest first, however long they are: what is rare is looked for only
in the hours in which the roll-ups know of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from django.db.models import Q, QuerySet

from costs.models import AccountHour, Attempt, LedgerEntry, SpendHour
from switchyard.tenancy.querysets import Scope

LABELS = "payable:labels"
OF_LABELS = ("label", "review", "feedback")
HOUR = timedelta(hours=1)
MOST_HOURS = 24  # that a page looks through; the next page goes on from there
MOST_AT_ONCE = 500
Mark = tuple[datetime, int]  # time and id of the last row seen


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
    scope: Scope, asked: LedgerFilter, limit: int, before: Mark | None = None
) -> list[LedgerEntry]:
    """At most `limit` transfers by time and id, newest first, from behind `before` (the last one's time and id) on."""
    rows = asked.rows(scope).order_by("-at", "-pk")
    end = asked.end
    if before is not None:
        rows, end = _behind(rows, before), min(end, before[0] + HOUR)
    hours = _hours(scope, asked, end)
    return list(rows[:limit]) if hours is None else list(_by_hours(rows, hours, limit))


def _behind(rows: QuerySet[Any], mark: Mark) -> QuerySet[Any]:
    at, pk = mark
    return rows.filter(at__lte=at).filter(Q(at__lt=at) | Q(pk__lt=pk))


def _by_hours(
    rows: QuerySet[Any],
    hours: Iterable[datetime],
    limit: int,
    workloads: Mapping[datetime, set[str]] | None = None,
) -> Iterator[Any]:
    """`workloads`: whose rows an hour may hold, where that is known: an index leads to a workload's rows of an hour, so that
    what is rare isn't looked for among everybody's."""
    for hour in hours:
        within = rows.filter(at__gte=hour, at__lt=hour + HOUR)
        within = within.filter(workload__in=sorted(workloads[hour])) if workloads else within
        for row in within[:limit]:
            yield row
            limit -= 1
        if limit <= 0:
            return


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


@dataclass(frozen=True, slots=True)
class AttemptFilter:
    """Which attempts: of [start, end), of a line of business, and with one value of some of the roll-up's names."""

    start: datetime
    end: datetime
    lob: str = ""
    only: Mapping[str, str] = field(default_factory=dict)

    def names(self) -> dict[str, str]:
        return {**self.only, **({"lob": self.lob} if self.lob else {})}

    def rows(self, scope: Scope) -> QuerySet[Attempt]:
        rows = Attempt.objects.for_tenant(scope).filter(at__gte=self.start, at__lt=self.end, superseded=False)
        return rows.filter(**self.names()).order_by("-at", "-pk")

    def hours(self, scope: Scope) -> QuerySet[SpendHour]:
        """The roll-up's rows of the hours that this touches."""
        hours = SpendHour.objects.for_tenant(scope).filter(start__gt=self.start - HOUR, start__lt=self.end)
        return hours.filter(**self.names())


def newest_attempts(
    scope: Scope, asked: AttemptFilter, limit: int, before: Mark | None = None
) -> tuple[list[Attempt], Mark | None]:
    """At most `limit` attempts, newest first, from behind `before` on; and where the search is to go on, None at the end.

    By time alone, or by workload, an index gives them in their order. Anything else is looked for in the hours that hold some,
    a day's worth of them at most, so that a page of something rare may be short though others follow.
    """
    rows = asked.rows(scope)
    rows = rows if before is None else _behind(rows, before)
    if _in_order(scope, asked):
        found = list(rows[: limit + 1])
        return found[:limit], _mark_of(found[limit - 1]) if len(found) > limit else None
    hours = asked.hours(scope)
    if before is not None:  # no row has the id 0: of that moment nothing is left
        hours = hours.filter(start__lte=before[0]) if before[1] else hours.filter(start__lt=before[0])
    starts = list(hours.order_by("-start").values_list("start", flat=True).distinct()[: MOST_HOURS + 1])
    found = list(_by_hours(rows, starts[:MOST_HOURS], limit + 1, _workloads(hours, starts)))
    if len(found) > limit:
        return found[:limit], _mark_of(found[limit - 1])
    return found, (starts[MOST_HOURS - 1], 0) if len(starts) > MOST_HOURS else None


def _workloads(hours: QuerySet[SpendHour], starts: Sequence[datetime]) -> dict[datetime, set[str]]:
    """Hour → the workloads that the roll-up names in it."""
    found: dict[datetime, set[str]] = defaultdict(set)
    for start, workload in (
        hours.filter(start__in=starts).order_by().values_list("start", "workload").distinct()
    ):
        found[start].add(workload)
    return found


def _in_order(scope: Scope, asked: AttemptFilter) -> bool:
    """Whether an index gives just these in their order: all of them by time, or a workload's."""
    if scope.lob_slugs is not None:
        return False
    names = asked.names().keys()
    return not names or ("workload" in names <= {"workload", "lob"} and asked.hours(scope).exists())


def _mark_of(row: Attempt) -> Mark:
    return row.at, row.pk


def attempt_columns(
    scope: Scope, asked: AttemptFilter, columns: Iterable[str], limit: int
) -> list[tuple[Any, ...]]:
    """The newest ones' columns, for a file: no instances, and no bound but `limit`."""
    rows: QuerySet[Any] = asked.rows(scope).values_list(*columns)
    if _in_order(scope, asked):
        return list(rows[:limit])
    hours = asked.hours(scope)
    starts = list(hours.order_by("-start").values_list("start", flat=True).distinct())
    workloads: dict[datetime, set[str]] = {}
    for i in range(0, len(starts), MOST_AT_ONCE):  # databases take so many values at a time
        workloads |= _workloads(hours, starts[i : i + MOST_AT_ONCE])
    return list(islice(_by_hours(rows, starts, limit, workloads), limit))
