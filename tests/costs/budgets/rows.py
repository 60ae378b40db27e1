"""Budgets and spending of one line of business, `legal`, for tests."""

from __future__ import annotations

import itertools
from datetime import datetime
from typing import Any

from costs import label_hours
from costs.models import Budget, LedgerEntry

_numbers = itertools.count(1)


def make_row(lob: Any, scope: str = "lob:legal", **changes: Any) -> Budget:
    values = {"limit_nusd": 10_000, "period": "day", "organisation": lob.organisation, "lob": lob} | changes
    return Budget.objects.create(scope=scope, **values)


def book(lob: Any, nusd: int, at: datetime, **changes: Any) -> LedgerEntry:
    """A charge in the ledger, without an attempt behind it."""
    values = {
        "event_id": f"book:{next(_numbers)}", "organisation_id": lob.organisation_id, "at": at,
        "debit": f"expense:lob:{lob.slug}", "credit": "payable:ext-mini", "amount_nusd": nusd, "lob": lob.slug,
    }  # fmt: skip
    entry = LedgerEntry.objects.create(**values | changes)
    label_hours.add([entry])
    return entry
