"""Admin of bills held against the books: to read, by finance of the whole organisation."""

from __future__ import annotations

from typing import Any

from django.contrib import admin

from costs.models import BillCheck
from costs.reconciliation.service import checks_of
from switchyard.core.money import format_usd
from switchyard.tenancy.admin_base import ScopedReadOnlyAdmin, admin_scope


@admin.register(BillCheck)
class BillCheckAdmin(ScopedReadOnlyAdmin):
    list_display = ["made_at", "kind", "name", "start", "end", "gap", "left", "corrections", "made_by"]
    list_filter = ["kind", "name"]

    def get_queryset(self, request: Any) -> Any:
        return checks_of(admin_scope(request.user))

    @admin.display(description="gap, USD")
    def gap(self, check: BillCheck) -> str:
        return format_usd(check.gap_nusd)

    @admin.display(description="left, USD")
    def left(self, check: BillCheck) -> str:
        return format_usd(check.left_nusd)
