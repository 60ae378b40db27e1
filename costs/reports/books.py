"""The books by account."""

from __future__ import annotations

from datetime import datetime

from costs.books.fiscal import balances_of
from costs.models import AccountHour
from costs.reports.base import Report, groups_of, zone_of
from costs.rollups import as_of, hour_of
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
    groups_of(group), zone_of(tz)  # the rows are always accounts; what is wrong is refused all the same
    hours = AccountHour.objects.for_tenant(scope).filter(start__gte=hour_of(start), start__lt=end)
    if lob:
        hours = hours.filter(lob=lob)
    out = [
        {"key": account, "debit_nusd": d, "credit_nusd": c} for account, (d, c) in balances_of(hours).items()
    ]
    totals = {n: sum(row[n] for row in out) for n in ("debit_nusd", "credit_nusd")}
    return Report("trial-balance", as_of(), out, totals)
