"""The books by account."""

from __future__ import annotations

from datetime import datetime

from costs import ledger
from costs.models import LedgerEntry
from costs.reports.base import Report
from costs.rollups import as_of
from switchyard.tenancy.querysets import Scope


def trial_balance(
    *,
    scope: Scope,
    start: datetime,
    end: datetime,
    group: str = "lob",
    lob: str | None = None,
    tz: str = "UTC",
) -> Report:
    """Rows {"key": account, "debit_nusd", "credit_nusd"}; the totals are equal, always."""
    rows = LedgerEntry.objects.for_tenant(scope).filter(at__gte=start, at__lt=end)
    if lob:
        rows = rows.filter(lob=lob)
    found = ledger.balances(rows)
    out = [{"key": account, "debit_nusd": d, "credit_nusd": c} for account, (d, c) in found.items()]
    totals = {n: sum(row[n] for row in out) for n in ("debit_nusd", "credit_nusd")}
    return Report("trial-balance", as_of(), out, totals)
