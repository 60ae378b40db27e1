"""Money at the edge: decimal strings of dollars outside, integer nano-dollars inside."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from switchyard.core.money import format_usd, usd_to_nusd


@extend_schema_field({"type": "string", "format": "decimal", "example": "0.40"})
class UsdField(serializers.DecimalField):
    """US dollars with up to nine places; the row holds nano-dollars. Bounds are dollars, by default from 0 on."""

    def __init__(
        self, *, min_value: Decimal | None = Decimal(0), max_value: Decimal | None = None, **kwargs: Any
    ) -> None:
        super().__init__(max_digits=18, decimal_places=9, **kwargs)
        self.low, self.high = min_value, max_value  # DRF's own would be asked of the nano-dollars

    def to_internal_value(self, data: Any) -> int:
        """A JSON number is taken by its shortest text, so 0.4 means 0.4."""
        usd = super().to_internal_value(str(data) if isinstance(data, float) else data)
        if self.low is not None and usd < self.low:
            self.fail("min_value", min_value=self.low)
        if self.high is not None and usd > self.high:
            self.fail("max_value", max_value=self.high)
        return usd_to_nusd(usd)

    def to_representation(self, value: int) -> str:
        return format_usd(value)
