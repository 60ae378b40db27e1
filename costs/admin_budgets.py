"""Admin of budgets in dollars, of what was added to their periods, of alerts and of where they go."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _
from simple_history.admin import SimpleHistoryAdmin

from costs.alerts import resolve
from costs.budgets.forms import BudgetForm
from costs.budgets.rules import lob_of_scope
from costs.models import Alert, AlertTarget, Budget, BudgetExtra
from switchyard.core.money import format_usd
from switchyard.tenancy.admin_base import ConfigAdmin, ScopedReadOnlyAdmin, admin_scope


@admin.register(Budget)
class BudgetAdmin(ConfigAdmin, SimpleHistoryAdmin):
    form = BudgetForm
    list_display = ["scope", "covers", "period", "limit", "action", "warn_pct", "rollover", "timezone"]
    list_filter = ["period", "action", "covers"]
    exclude = ["lob"]

    @admin.display(description=_("limit, USD"))
    def limit(self, budget: Budget) -> str:
        return format_usd(budget.limit_nusd)

    def get_form(self, request: Any, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change, **kwargs)
        scope = admin_scope(request.user)

        class Checked(form):  # type: ignore[misc,valid-type]
            def clean_scope(self) -> str:
                try:
                    self.instance.lob = lob_of_scope(scope, self.cleaned_data["scope"])
                except ValueError as error:
                    raise ValidationError(str(error)) from None
                return self.cleaned_data["scope"]

        return Checked


@admin.register(BudgetExtra)
class BudgetExtraAdmin(ScopedReadOnlyAdmin):
    list_display = ["budget", "kind", "period_start", "usd", "state", "requested_by", "decided_by"]
    list_filter = ["kind", "state"]
    ordering = ["-at"]

    @admin.display(description="USD")
    def usd(self, extra: BudgetExtra) -> str:
        return format_usd(extra.amount_nusd)


@admin.register(Alert)
class AlertAdmin(ScopedReadOnlyAdmin):
    list_display = ["at", "kind", "lob", "subject", "message", "cause", "resolved_at"]
    list_filter = ["kind", "lob"]
    actions = ["resolve"]

    @admin.action(description=_("Mark as resolved"), permissions=["view"])
    def resolve(self, request: Any, queryset: Any) -> None:
        for alert in queryset:
            resolve(alert=alert, user=request.user)
        self.message_user(request, _("Marked as resolved."), level=messages.SUCCESS)


@admin.register(AlertTarget)
class AlertTargetAdmin(ScopedReadOnlyAdmin):
    """Made on the page of alerts, where a webhook's secret is shown once."""

    list_display = ["kind", "address", "lob", "kinds", "active", "created_at"]
    list_filter = ["kind", "active"]
