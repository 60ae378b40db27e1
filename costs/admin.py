"""Admin of money: the books to read. Budgets, machines, prices and the rest have files of their own."""

from __future__ import annotations

from django.contrib import admin

from costs import (
    admin_budgets,  # noqa: F401
    admin_nodes,  # noqa: F401
    admin_plans,  # noqa: F401
    admin_prices,  # noqa: F401
    admin_reconciliation,  # noqa: F401
)
from costs.models import Attempt, LedgerEntry
from switchyard.core.money import format_usd
from switchyard.tenancy.admin_base import (
    ScopedReadOnlyAdmin,
)


@admin.register(LedgerEntry)
class LedgerEntryAdmin(ScopedReadOnlyAdmin):
    list_display = ["at", "debit", "credit", "usd", "lob", "request_id", "memo", "origin"]
    list_filter = ["lob", "origin"]
    search_fields = ["=request_id", "=event_id"]
    ordering = ["-pk"]

    @admin.display(description="USD")
    def usd(self, entry: LedgerEntry) -> str:
        return format_usd(entry.amount_nusd)


@admin.register(Attempt)
class AttemptAdmin(ScopedReadOnlyAdmin):
    list_display = [
        "at",
        "lob",
        "workload",
        "deployment",
        "side",
        "status",
        "tokens_in",
        "tokens_out",
        "usd",
        "price_version",
    ]
    list_filter = ["lob", "side", "status", "origin"]
    search_fields = ["=request_id"]
    ordering = ["-pk"]

    @admin.display(description="USD")
    def usd(self, attempt: Attempt) -> str:
        return format_usd(attempt.cost_nusd)
