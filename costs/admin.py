"""Admin of money: nodes, prices in dollars per million tokens, budgets in dollars; the books to read."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _
from simple_history.admin import SimpleHistoryAdmin

from costs import admin_budgets  # noqa: F401
from costs.models import Attempt, LedgerEntry, Node, NodeInterval, Price
from costs.prices import create_price, overlapping
from costs.pricing import Unpriced
from costs.selectors import hourly_nusd
from switchyard.core.clock import now
from switchyard.core.errors import ValidationFailed
from switchyard.core.money import format_usd
from switchyard.tenancy.admin_base import (
    ConfigAdmin,
    ScopedReadOnlyAdmin,
    UsdField,
    admin_scope,
    organisation_of,
)

AMOUNTS = (
    "input_nusd_per_munit",
    "cached_input_nusd_per_munit",
    "output_nusd_per_munit",
    "reasoning_nusd_per_munit",
    "call_nusd_per_munit",
)


@admin.register(Node)
class NodeAdmin(ConfigAdmin, SimpleHistoryAdmin):
    list_display = ["name", "hourly", "planned_utilisation", "source"]

    @admin.display(description=_("USD an hour, all in"))
    def hourly(self, node: Node) -> str:
        try:
            return format_usd(hourly_nusd(node))
        except Unpriced:
            return "no cost: gets no traffic"


class PriceForm(forms.ModelForm):
    """Dollars per million tokens (calls: per million calls)."""

    input_nusd_per_munit = UsdField(label=_("Input, USD per million tokens"))
    output_nusd_per_munit = UsdField(label=_("Output, USD per million tokens"))
    cached_input_nusd_per_munit = UsdField(label=_("Cached input, USD per million tokens"), required=False)
    reasoning_nusd_per_munit = UsdField(label=_("Reasoning, USD per million tokens"), required=False)
    call_nusd_per_munit = UsdField(label=_("Calls, USD per million calls"), initial=0)
    minimum_nusd = UsdField(label=_("Least cost of a request, USD"), initial=0)

    class Meta:
        model = Price
        fields = ["deployment", "valid_from", "valid_to", *AMOUNTS, "minimum_nusd", "source"]


@admin.register(Price)
class PriceAdmin(ConfigAdmin):
    """Dated versions: what was in force is never edited, a new sheet closes the one before it."""

    form = PriceForm
    list_display = ["deployment", "valid_from", "valid_to", "input_usd", "output_usd", "source", "version"]
    list_filter = ["deployment"]

    @admin.display(description=_("input, USD per million"))
    def input_usd(self, price: Price) -> str:
        return format_usd(price.input_nusd_per_munit)

    @admin.display(description=_("output, USD per million"))
    def output_usd(self, price: Price) -> str:
        return format_usd(price.output_nusd_per_munit)

    def has_change_permission(self, request: Any, obj: Any = None) -> bool:
        return obj is None and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: Any, obj: Any = None) -> bool:
        """Only one that nobody was charged by: it begins in the future."""
        return obj is not None and obj.valid_from > now() and super().has_delete_permission(request, obj)

    def save_model(self, request: Any, obj: Price, form: Any, change: bool) -> None:
        values = {name: form.cleaned_data[name] for name in PriceForm.Meta.fields}
        try:
            price = create_price(organisation_id=organisation_of(request).pk, actor=request.user, **values)
        except ValidationFailed as error:
            raise ValidationError(error.message) from None
        obj.__dict__.update(price.__dict__)

    def get_form(self, request: Any, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """The overlap is looked for while the form can still say so."""
        form = super().get_form(request, obj, change, **kwargs)
        organisation_id = admin_scope(request.user).organisation_id

        class Checked(form):  # type: ignore[misc,valid-type]
            def clean(self) -> Any:
                values = super().clean()
                start, end = values.get("valid_from"), values.get("valid_to")
                if start and end and end <= start:
                    raise ValidationError({"valid_to": _("The price must end after it starts.")})
                clash = (
                    overlapping(organisation_id, values.get("deployment", ""), start, end)
                    if start and organisation_id
                    else None
                )
                if clash:
                    raise ValidationError(_("The dates overlap those of %(other)s.") % {"other": clash})
                return values

        return Checked


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


@admin.register(NodeInterval)
class NodeIntervalAdmin(ScopedReadOnlyAdmin):
    list_display = ["node", "start", "seconds", "bill_nusd", "used_nusd", "idle_nusd", "origin"]
    list_filter = ["node"]
    ordering = ["-start"]
