"""A sheet's amounts at the edge: the same names in /prices and inside of a deployment."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from costs.api.fields import UsdField
from costs.sheets.currencies import USD
from switchyard.tenancy.api.base import StrictForm

PPM_PER_PERCENT = 10_000
NUSD_PER_MILLION_SECONDS = 10**15  # of one dollar a second


@extend_schema_field({"type": "string", "format": "decimal", "example": "0.000725"})
class PerSecondField(serializers.DecimalField):
    """US dollars a second, up to twelve places; the row holds nano-dollars per million seconds."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_digits=18, decimal_places=12, **{"min_value": Decimal(0)} | kwargs)

    def to_internal_value(self, data: Any) -> int:
        return int(
            super().to_internal_value(str(data) if isinstance(data, float) else data)
            * NUSD_PER_MILLION_SECONDS
        )

    def to_representation(self, value: int) -> str:
        return f"{Decimal(value) / NUSD_PER_MILLION_SECONDS:f}"


@extend_schema_field({"type": "string", "format": "decimal", "example": "50"})
class ShareField(serializers.DecimalField):
    """Percent with up to four places; the row holds parts per million."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_digits=7, decimal_places=4, **{"min_value": Decimal(0)} | kwargs)

    def to_internal_value(self, data: Any) -> int:
        percent = super().to_internal_value(str(data) if isinstance(data, float) else data)
        if percent > 100:  # a max_value would be held against the parts per million
            raise serializers.ValidationError("At most 100 percent of the price.")
        return int(percent * PPM_PER_PERCENT)

    def to_representation(self, value: int) -> str:
        return f"{(Decimal(value) / PPM_PER_PERCENT).normalize():f}"


class TierForm(StrictForm):
    """Prices of calls with more input than the bound; what it leaves out stays the sheet's."""

    above_tokens_in = serializers.IntegerField(min_value=1, max_value=100_000_000)
    input_usd_per_mtok = UsdField(source="input_nusd_per_munit", required=False)
    cached_input_usd_per_mtok = UsdField(source="cached_input_nusd_per_munit", required=False)
    cache_write_usd_per_mtok = UsdField(source="cache_write_nusd_per_munit", required=False)
    output_usd_per_mtok = UsdField(source="output_nusd_per_munit", required=False)
    reasoning_usd_per_mtok = UsdField(source="reasoning_nusd_per_munit", required=False)


TERM_FIELDS = (
    "currency", "input_usd_per_mtok", "cached_input_usd_per_mtok", "cache_write_usd_per_mtok", "output_usd_per_mtok",
    "reasoning_usd_per_mtok", "audio_input_usd_per_mtok", "audio_output_usd_per_mtok", "usd_per_msearch", "usd_per_mcall",
    "usd_per_second", "training_usd_per_mtok", "minimum_usd", "batch_pct", "tiers",
)  # fmt: skip


class TermsForm(StrictForm):
    """Amounts of a sheet, in its currency. A class without a price of its own pays as what it is part of."""

    currency = serializers.RegexField(r"^[A-Z]{3}$", default=USD, help_text="ISO 4217; amounts are in it.")
    input_usd_per_mtok = UsdField(source="input_nusd_per_munit", required=False)
    cached_input_usd_per_mtok = UsdField(
        source="cached_input_nusd_per_munit", required=False, allow_null=True
    )
    cache_write_usd_per_mtok = UsdField(source="cache_write_nusd_per_munit", required=False, allow_null=True)
    output_usd_per_mtok = UsdField(source="output_nusd_per_munit", required=False)
    reasoning_usd_per_mtok = UsdField(source="reasoning_nusd_per_munit", required=False, allow_null=True)
    audio_input_usd_per_mtok = UsdField(source="audio_input_nusd_per_munit", required=False, allow_null=True)
    audio_output_usd_per_mtok = UsdField(
        source="audio_output_nusd_per_munit", required=False, allow_null=True
    )
    usd_per_msearch = UsdField(
        source="search_nusd_per_munit", required=False, allow_null=True,
        help_text="Per million searches that the vendor runs; null = none are asked for there.",
    )  # fmt: skip
    usd_per_mcall = UsdField(source="call_nusd_per_munit", required=False)
    usd_per_second = PerSecondField(source="second_nusd_per_munit", required=False)
    training_usd_per_mtok = UsdField(source="training_nusd_per_munit", required=False, allow_null=True)
    minimum_usd = UsdField(source="minimum_nusd", required=False)
    batch_pct = ShareField(source="batch_ppm", required=False, allow_null=True)
    tiers = TierForm(many=True, required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """A price that was forgotten is not a price of zero."""
        named = {name for name in ("input", "output") if f"{name}_nusd_per_munit" in attrs}
        other = any(
            attrs.get(name) for name in ("call_nusd_per_munit", "second_nusd_per_munit", "minimum_nusd")
        )
        if not named and other:
            return attrs
        missing = {"input", "output"} - named
        if missing:
            raise serializers.ValidationError(
                {f"{n}_usd_per_mtok": "This field is required." for n in sorted(missing)}
            )
        return attrs
