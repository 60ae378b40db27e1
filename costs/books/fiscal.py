"""Fiscal periods: months of an organisation's books (UTC), closed and reopened. The database refuses transfers dated into
a closed one; what comes late is booked at the first open moment and says so."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from django.db.models import QuerySet, Sum
from django.utils.translation import gettext as _

from costs.models import AccountHour, Alert, FiscalPeriod
from switchyard.core.clock import now

Closed = list[tuple[datetime, datetime]]


def month_start(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def month_end(start: datetime) -> datetime:
    return (start + timedelta(days=32)).replace(day=1)


def parse_month(text: str) -> datetime:
    """`2026-10` → its first moment. ValueError says what was expected."""
    try:
        return datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC)
    except ValueError:
        raise ValueError(f"{text!r} is not a month: expected one such as 2026-10.") from None


def balances_of(rows: QuerySet[AccountHour]) -> dict[str, list[int]]:
    """Account → [debits, credits] in nano-dollars of those that moved, as a closed period keeps them."""
    sums = rows.order_by().values_list("account").annotate(d=Sum("debit_nusd"), c=Sum("credit_nusd"))
    return {account: [debit, credit] for account, debit, credit in sorted(sums) if debit or credit}


def closed_spans(organisation_ids: Iterable[int]) -> dict[int, Closed]:
    """Organisation → its closed periods, [start, end)."""
    found: dict[int, Closed] = {}
    rows = FiscalPeriod.objects.filter(organisation_id__in=set(organisation_ids), state="closed").order_by()
    for organisation_id, start, end in rows.values_list("organisation_id", "start", "end"):
        found.setdefault(organisation_id, []).append((start, end))
    return found


def lateness(spans: Closed, at: datetime) -> str:
    """`late for 2026-10` when the moment lies in a closed period, else empty."""
    for start, end in spans:
        if start <= at < end:
            return f"late for {start:%Y-%m}"
    return ""


def first_open_moment(organisation_id: int, at: datetime) -> tuple[datetime, str]:
    """Where a transfer of this time is booked, and the word for its memo: its own time, or now when that is closed."""
    late = lateness(closed_spans([organisation_id]).get(organisation_id, []), at)
    return (now(), late) if late else (at, "")


def late_alert(organisation_id: int, late: str, event_id: str, lob: str = "") -> Alert:
    """One a month and day: the first of the late ones is named."""
    month = late.rpartition(" ")[2]
    return Alert(
        organisation_id=organisation_id, kind="late_event", lob=lob, subject=month,
        message=_(
            "%(event)s came after %(month)s was closed: it is booked today, with a memo. Others may have come with it."
        ) % {"event": event_id, "month": month},
        unique_key=f"late_event:{organisation_id}:{month}:{now():%Y%m%d}",
    )  # fmt: skip
