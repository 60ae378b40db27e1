"""Roll-up of labels: kept while they are booked, made anew from the ledger where somebody wants to be sure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from django.db import connection, transaction
from django.db.models import Case, Count, F, Q, QuerySet, Sum, When
from django.db.models.functions import TruncHour
from django.utils.translation import gettext as _

from costs.contracts import BudgetLimit
from costs.models import LabelHour, LedgerEntry

PURPOSES = ("label", "review", "feedback")
TRIES = 3  # labels are booked between two looks: only what stays apart is a finding
ADD = """
    INSERT INTO costs_labelhour (organisation_id, start, lob, workload, purpose, origin, lines, amount_nusd)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (organisation_id, start, lob, workload, purpose, origin) DO UPDATE
    SET lines = costs_labelhour.lines + excluded.lines, amount_nusd = costs_labelhour.amount_nusd + excluded.amount_nusd
"""
Key = tuple[int, datetime, str, str, str, str]


def is_label(entry: LedgerEntry) -> bool:
    return entry.attempt is None and entry.purpose in PURPOSES


def add(entries: Iterable[LedgerEntry]) -> None:
    """Count fresh label lines in, in the transaction that books them; a reversal takes one out again."""
    sums: dict[Key, list[int]] = defaultdict(lambda: [0, 0])
    for entry in filter(is_label, entries):
        sign = 1 if entry.reverses_id is None else -1
        key = (entry.organisation_id, _hour(entry.at), entry.lob, entry.workload, entry.purpose, entry.origin)
        sums[key][0] += sign
        sums[key][1] += sign * entry.amount_nusd
    if not sums:
        return
    moment = connection.ops.adapt_datetimefield_value
    # In a fixed order: bookings side by side take their row locks in the same one.
    rows = [(key[0], moment(key[1]), *key[2:], *counted) for key, counted in sorted(sums.items())]
    with connection.cursor() as cursor:
        cursor.executemany(ADD, rows)


@transaction.atomic
def rebuild(organisation_id: int, start: datetime | None = None, end: datetime | None = None) -> int:
    """The hours of [start, end) from the ledger itself; gives rows. For whole hours."""
    rows = _within(LabelHour.objects.filter(organisation_id=organisation_id), "start", start, end)
    rows.delete()
    made = [
        LabelHour(organisation_id=organisation_id, **row) for row in from_ledger(organisation_id, start, end)
    ]
    LabelHour.objects.bulk_create(made, batch_size=500)
    return len(made)


def from_ledger(
    organisation_id: int, start: datetime | None = None, end: datetime | None = None
) -> list[dict[str, Any]]:
    """What the roll-up must hold, read from the lines by their own index."""
    entries = LedgerEntry.objects.filter(
        organisation_id=organisation_id, attempt__isnull=True, purpose__in=PURPOSES
    )
    names = [name for name in LabelHour.NAMES if name not in ("organisation_id", "start")]
    amount = Case(When(reverses__isnull=True, then=F("amount_nusd")), default=-F("amount_nusd"))
    found = _within(entries, "at", start, end).annotate(hour=TruncHour("at", tzinfo=UTC)).order_by()
    reversals = Count("pk", filter=Q(reverses__isnull=False))
    rows = found.values("hour", *names).annotate(n=Count("pk") - 2 * reversals, nusd=Sum(amount))
    return [
        {"start": row["hour"], "lines": row["n"], "amount_nusd": row["nusd"], **{n: row[n] for n in names}}
        for row in rows
    ]


def hours_of(limit: BudgetLimit, start: datetime, end: datetime | None) -> QuerySet[LabelHour]:
    """The whole hours of a budget's labels. The replayed history was nobody's spending."""
    rows = LabelHour.objects.filter(organisation_id=limit.organisation_id).exclude(origin="demonstration")
    kind, _, name = limit.scope.partition(":")
    if kind == "lob":
        rows = rows.filter(lob=name)
    return _within(rows, "start", start, end).order_by()


def verify(organisation_id: int) -> list[str]:
    """What is wrong with the roll-up, one sentence; empty when it says what the ledger says."""
    for _try in range(TRIES):  # not `_`, which translates
        apart = _apart(organisation_id)
        if not apart:
            return []
    words = _("%(count)s hours of labels differ from their transfers: run the roll-up of labels anew.")
    return [words % {"count": apart}]


def _apart(organisation_id: int) -> int:
    names = [*LabelHour.NAMES[1:], "lines", "amount_nusd"]
    kept = {
        tuple(row) for row in LabelHour.objects.filter(organisation_id=organisation_id).values_list(*names)
    }
    told = {tuple(row[name] for name in names) for row in from_ledger(organisation_id)}
    return len([row for row in kept ^ told if row[-2:] != (0, 0)])


def _within(rows: QuerySet[Any], field: str, start: datetime | None, end: datetime | None) -> QuerySet[Any]:
    if start is not None:
        rows = rows.filter(**{f"{field}__gte": start})
    return rows if end is None else rows.filter(**{f"{field}__lt": end})


def _hour(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
