"""Money at the edge: decimal strings of dollars outside, integer nano-dollars inside."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from switchyard.core.money import format_usd, usd_to_nusd


@extend_schema_field({"type": "string", "format": "decimal", "example": "0.40"})
class UsdField(serializers.DecimalField):
    """US dollars with up to nine places; the row holds nano-dollars."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_digits=18, decimal_places=9, **{"min_value": Decimal(0)} | kwargs)

    def to_internal_value(self, data: Any) -> int:
        """A JSON number is taken by its shortest text, so 0.4 means 0.4."""
        return usd_to_nusd(super().to_internal_value(str(data) if isinstance(data, float) else data))

    def to_representation(self, value: int) -> str:
        return format_usd(value)
