"""The books: append, reverse, balance. One row is one transfer, so every row balances by itself."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db.models import Q, QuerySet, Sum
from django.db.models.functions import Coalesce

from costs import label_hours
from costs.books import fiscal
from costs.models import AccountHour, Alert, LedgerEntry

EXPENSE = "expense:lob:"
UNATTRIBUTED = "expense:unattributed"  # the organisation's own: what no line of business can be named for


def expense_account(lob: str) -> str:
    return f"{EXPENSE}{lob}" if lob else UNATTRIBUTED


def credit_account(side: str, deployment: str, node: str) -> str:
    """Whom an attempt is owed to: a vendor, or the node that did the work."""
    return f"payable:{deployment}" if side == "external" else f"absorbed:{node or deployment}"


def append(
    *,
    event_id: str,
    organisation_id: int,
    debit: str,
    credit: str,
    amount_nusd: int,
    at: datetime,
    memo: str = "",
    **names: Any,
) -> LedgerEntry:
    """One transfer; the same `event_id` again gives the row that is there. ValueError unless the amount is positive and
    the accounts differ. A time in a closed period is booked now, with a memo and an alert."""
    if amount_nusd <= 0 or debit == credit:
        raise ValueError(f"{event_id}: a transfer takes a positive amount and two accounts.")
    known = LedgerEntry.objects.filter(event_id=event_id).first()
    if known is not None:
        return known
    at, late = fiscal.first_open_moment(organisation_id, at)
    if late:
        memo = f"{late}: {memo}" if memo else late
        alert = fiscal.late_alert(organisation_id, late, event_id)
        Alert.objects.bulk_create([alert], ignore_conflicts=True)
    values = {
        "organisation_id": organisation_id, "debit": debit, "credit": credit, "amount_nusd": amount_nusd, "at": at,
        "memo": memo[:200], **names,
    }  # fmt: skip
    entry, created = LedgerEntry.objects.get_or_create(event_id=event_id, defaults=values)
    if created:
        label_hours.add([entry])
    return entry


def reverse(entry: LedgerEntry, *, memo: str) -> LedgerEntry:
    """The opposite transfer, dated as the first was told of (`at`) and recorded now. Twice gives the same reversal."""
    return append(
        event_id=f"reversal:{entry.event_id}",
        organisation_id=entry.organisation_id,
        debit=entry.credit,
        credit=entry.debit,
        amount_nusd=entry.amount_nusd,
        at=entry.at,
        lob=entry.lob,
        application=entry.application,
        key_id=entry.key_id,
        workload=entry.workload,
        purpose=entry.purpose,
        request_id=entry.request_id,
        attempt=entry.attempt,
        job_id=entry.job_id,
        price_version=entry.price_version,
        reverses=entry,
        memo=memo,
        origin=entry.origin,
    )


def balances(rows: QuerySet[LedgerEntry]) -> dict[str, tuple[int, int]]:
    """Account → (debits, credits) in nano-dollars of these transfers, sorted by account. Whole hours are read far faster
    from AccountHour (costs.books.fiscal.balances_of)."""
    sums: dict[str, list[int]] = {}
    for side, index in (("debit", 0), ("credit", 1)):
        for account, total in rows.order_by().values_list(side).annotate(total=Sum("amount_nusd")):
            sums.setdefault(account, [0, 0])[index] = total
    return {account: (both[0], both[1]) for account, both in sorted(sums.items())}


def trial_balance(organisation_id: int) -> int:
    """Debits minus credits over all accounts: zero, always."""
    found = fiscal.balances_of(AccountHour.objects.filter(organisation_id=organisation_id))
    return sum(debit - credit for debit, credit in found.values())


_CHARGED = Q(debit__startswith=EXPENSE) | Q(debit=UNATTRIBUTED)
_RETURNED = Q(credit__startswith=EXPENSE) | Q(credit=UNATTRIBUTED)
# What lines of business were charged, and what could be charged to none of them, less what was reversed.
EXPENSE_SUM = Coalesce(Sum("amount_nusd", filter=_CHARGED), 0) - Coalesce(
    Sum("amount_nusd", filter=_RETURNED), 0
)


def expense_nusd(rows: QuerySet[LedgerEntry]) -> int:
    """EXPENSE_SUM of these transfers."""
    return rows.aggregate(spent=EXPENSE_SUM)["spent"]
