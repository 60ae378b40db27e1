"""The books: append, reverse, balance, verify. One row is one transfer, so every row balances by itself."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import Count, F, Q, QuerySet, Sum

from costs import triggers
from costs.models import Attempt, LedgerEntry
from switchyard.core.clock import now

EXPENSE = "expense:lob:"


def expense_account(lob: str) -> str:
    return f"{EXPENSE}{lob}"


def append(
    *,
    event_id: str,
    organisation_id: int,
    debit: str,
    credit: str,
    amount_nusd: int,
    at: datetime,
    **names: Any,
) -> LedgerEntry:
    """One transfer; the same `event_id` again gives the row that is there. ValueError unless the amount is positive and
    the accounts differ."""
    if amount_nusd <= 0 or debit == credit:
        raise ValueError(f"{event_id}: a transfer takes a positive amount and two accounts.")
    entry, _ = LedgerEntry.objects.get_or_create(
        event_id=event_id,
        defaults={
            "organisation_id": organisation_id,
            "debit": debit,
            "credit": credit,
            "amount_nusd": amount_nusd,
            "at": at,
            **names,
        },
    )
    return entry


def append_many(entries: Iterable[LedgerEntry]) -> None:
    """Rows of one batch; those whose event id is known are left as they are. Amounts were checked by the caller, for
    SQLite's OR IGNORE would drop a row that breaks a check in silence."""
    rows = list(entries)
    wrong = next((r for r in rows if r.amount_nusd <= 0 or r.debit == r.credit), None)
    if wrong is not None:
        raise ValueError(f"{wrong.event_id}: a transfer takes a positive amount and two accounts.")
    LedgerEntry.objects.bulk_create(rows, ignore_conflicts=True, batch_size=500)


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
        memo=memo[:200],
        origin=entry.origin,
    )


def balances(rows: QuerySet[LedgerEntry]) -> dict[str, tuple[int, int]]:
    """Account → (debits, credits) in nano-dollars, sorted by account."""
    sums: dict[str, list[int]] = {}
    for side, index in (("debit", 0), ("credit", 1)):
        for account, total in rows.order_by().values_list(side).annotate(total=Sum("amount_nusd")):
            sums.setdefault(account, [0, 0])[index] = total
    return {account: (both[0], both[1]) for account, both in sorted(sums.items())}


def trial_balance(organisation_id: int) -> int:
    """Debits minus credits over all accounts: zero, always."""
    found = balances(LedgerEntry.objects.filter(organisation_id=organisation_id))
    return sum(debit - credit for debit, credit in found.values())


def expense_nusd(rows: QuerySet[LedgerEntry]) -> int:
    """What lines of business were charged, less what was reversed."""
    totals = rows.aggregate(
        charged=Sum("amount_nusd", filter=Q(debit__startswith=EXPENSE)),
        returned=Sum("amount_nusd", filter=Q(credit__startswith=EXPENSE)),
    )
    return (totals["charged"] or 0) - (totals["returned"] or 0)


def verify_books(organisation_id: int) -> list[str]:
    """What is wrong, one sentence each; empty when the books hold."""
    rows = LedgerEntry.objects.filter(organisation_id=organisation_id)
    attempts = Attempt.objects.filter(organisation_id=organisation_id)
    findings = []
    if balance := trial_balance(organisation_id):
        findings.append(f"The trial balance is {balance} nano-dollars, not zero.")
    if bad := rows.filter(Q(amount_nusd__lte=0) | Q(debit=F("credit"))).count():
        findings.append(f"{bad} transfers have no positive amount or only one account.")
    metered = attempts.aggregate(total=Sum("cost_nusd"), n=Count("pk", filter=Q(cost_nusd__gt=0)))
    of_attempts = rows.filter(attempt__isnull=False)
    booked = of_attempts.filter(reverses__isnull=True).aggregate(total=Sum("amount_nusd"), n=Count("pk"))
    if (metered["total"] or 0, metered["n"]) != (booked["total"] or 0, booked["n"]):
        findings.append(
            f"{metered['n']} attempts cost {metered['total'] or 0} nano-dollars, "
            f"but {booked['n']} entries book {booked['total'] or 0}."
        )
    twice = rows.filter(reverses__isnull=False).values("reverses").annotate(n=Count("pk")).filter(n__gt=1)
    if twice:
        findings.append(f"{len(twice)} entries are reversed more than once.")
    if late := rows.filter(recorded_at__gt=now()).count():
        findings.append(f"{late} entries were recorded in the future.")
    if not triggers.installed(connection):
        findings.append("The triggers that keep the ledger append-only are missing: run `migrate`.")
    return findings
