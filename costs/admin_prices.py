"""Admin of price sheets and exchange rates, in dollars per million tokens."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from costs.models import ExchangeRate, Price
from costs.sheets.amounts import AMOUNTS, check_source, check_terms
from costs.sheets.currencies import NoExchangeRate, check_currency, check_rate, create_rate, rate_in_force
from costs.sheets.dated import check_dates, create_price, take_back
from switchyard.core.clock import now
from switchyard.core.errors import ValidationFailed
from switchyard.core.money import format_usd
from switchyard.tenancy.admin_base import ConfigAdmin, UsdField, admin_scope, organisation_of


class PriceForm(forms.ModelForm):
    """Amounts in the sheet's currency, per million tokens (calls and seconds: per million of them)."""

    input_nusd_per_munit = UsdField(label=_("Input, USD per million tokens"))
    output_nusd_per_munit = UsdField(label=_("Output, USD per million tokens"))
    cached_input_nusd_per_munit = UsdField(label=_("Cached input, USD per million tokens"), required=False)
    cache_write_nusd_per_munit = UsdField(label=_("Cache write, USD per million tokens"), required=False)
    reasoning_nusd_per_munit = UsdField(label=_("Reasoning, USD per million tokens"), required=False)
    audio_input_nusd_per_munit = UsdField(label=_("Audio input, USD per million tokens"), required=False)
    audio_output_nusd_per_munit = UsdField(label=_("Audio output, USD per million tokens"), required=False)
    search_nusd_per_munit = UsdField(label=_("Searches, USD per million searches"), required=False)
    call_nusd_per_munit = UsdField(label=_("Calls, USD per million calls"), initial=0, required=False)
    second_nusd_per_munit = UsdField(label=_("Duration, USD per million seconds"), initial=0, required=False)
    training_nusd_per_munit = UsdField(label=_("Training, USD per million trained tokens"), required=False)
    minimum_nusd = UsdField(label=_("Least cost of a request, USD"), initial=0, required=False)
    currency = forms.CharField(max_length=3, initial="USD", required=False)

    class Meta:
        model = Price
        fields = [
            "deployment",
            "valid_from",
            "valid_to",
            "currency",
            *AMOUNTS,
            "batch_ppm",
            "tiers",
            "source",
        ]

    def clean(self) -> Any:
        values = super().clean() or {}
        for name in ("call_nusd_per_munit", "second_nusd_per_munit", "minimum_nusd"):
            values[name] = values.get(name) or 0
        values["currency"] = values.get("currency") or "USD"
        values["tiers"] = values.get("tiers") or []
        return values


@admin.register(Price)
class PriceAdmin(ConfigAdmin):
    """Dated versions: what was in force is never edited, a new sheet closes the one before it."""

    form = PriceForm
    list_display = [
        "deployment",
        "valid_from",
        "valid_to",
        "currency",
        "input_usd",
        "output_usd",
        "source",
        "version",
    ]
    list_filter = ["deployment", "currency"]

    @admin.display(description=_("input per million"))
    def input_usd(self, price: Price) -> str:
        return format_usd(price.input_nusd_per_munit)

    @admin.display(description=_("output per million"))
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

    def delete_model(self, request: Any, obj: Price) -> None:
        self.told(request, obj, "deleted")
        take_back(price=obj)

    def get_form(self, request: Any, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """Dates and amounts are checked while the form can still say so."""
        form = super().get_form(request, obj, change, **kwargs)
        organisation_id = admin_scope(request.user).organisation_id

        class Checked(form):  # type: ignore[misc,valid-type]
            def clean(self) -> Any:
                values = super().clean()
                if organisation_id and not self.errors:
                    try:
                        _check(organisation_id, values)
                    except ValidationFailed as error:
                        raise ValidationError(error.message) from None
                return values

        return Checked


def _check(organisation_id: int, values: dict[str, Any]) -> None:
    """Raises ValidationFailed."""
    check_source(values["source"])
    check_currency(values["currency"])
    check_dates(organisation_id, values["deployment"], values["valid_from"], values.get("valid_to"))
    try:
        rate = rate_in_force(
            organisation_id, values["currency"], max(values["valid_from"], now())
        ).nusd_per_unit
    except NoExchangeRate:
        rate = None
    check_terms(values, nusd_per_unit=rate)


class ExchangeRateForm(forms.ModelForm):
    nusd_per_unit = UsdField(label=_("US dollars for one unit"))

    class Meta:
        model = ExchangeRate
        fields = ["currency", "valid_from", "nusd_per_unit", "source"]


@admin.register(ExchangeRate)
class ExchangeRateAdmin(ConfigAdmin):
    """Dated: a rate holds until the next one begins, and one that was in force is kept."""

    form = ExchangeRateForm
    list_display = ["currency", "valid_from", "usd_per_unit", "source"]
    list_filter = ["currency"]

    @admin.display(description=_("US dollars for one unit"))
    def usd_per_unit(self, rate: ExchangeRate) -> str:
        return format_usd(rate.nusd_per_unit)

    def has_change_permission(self, request: Any, obj: Any = None) -> bool:
        return obj is None and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: Any, obj: Any = None) -> bool:
        return obj is not None and obj.valid_from > now() and super().has_delete_permission(request, obj)

    def save_model(self, request: Any, obj: ExchangeRate, form: Any, change: bool) -> None:
        row = create_rate(
            organisation_id=organisation_of(request).pk, actor=request.user, **_rate_values(form)
        )
        obj.__dict__.update(row.__dict__)

    def get_form(self, request: Any, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change, **kwargs)
        organisation_id = admin_scope(request.user).organisation_id

        class Checked(form):  # type: ignore[misc,valid-type]
            def clean(self) -> Any:
                values = super().clean()
                if organisation_id and not self.errors:
                    try:
                        check_rate(organisation_id=organisation_id, **_rate_values(self))
                    except ValidationFailed as error:
                        raise ValidationError(error.message) from None
                return values

        return Checked


def _rate_values(form: Any) -> dict[str, Any]:
    return {name: form.cleaned_data[name] for name in ExchangeRateForm.Meta.fields}
