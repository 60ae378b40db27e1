"""REST of nodes."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from rest_framework import serializers

from costs.api.base import OrganisationRows
from costs.models import Node
from switchyard.tenancy.api.base import StrictSerializer
from switchyard.tenancy.api.views import ConfigViewSet
from switchyard.tenancy.models import slug_validator

AMOUNTS = ("usd_per_hour", "capex_usd", "usd_per_kwh", "operations_usd_per_month")


class NodeSerializer(StrictSerializer):
    class Meta:
        model = Node
        fields = [
            "id", "name", "usd_per_hour", "capex_usd", "life_months", "watts", "pue", "usd_per_kwh",
            "operations_usd_per_month", "planned_utilisation", "source", "created_at",
        ]  # fmt: skip
        read_only_fields = ["id", "created_at"]
        fixed = ["name"]
        extra_kwargs = {
            **{name: {"min_value": Decimal(0)} for name in AMOUNTS},
            "name": {"validators": [slug_validator]},
            "pue": {"min_value": Decimal(1)},
            "life_months": {"min_value": 1},
            "planned_utilisation": {"min_value": Decimal("0.001"), "max_value": Decimal(1)},
        }  # fmt: skip

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        def value(name: str) -> Any:
            return attrs.get(name, getattr(self.instance, name, None))

        if value("usd_per_hour") is None and (value("capex_usd") is None or not value("life_months")):
            raise serializers.ValidationError(
                {"usd_per_hour": "Say what the node costs: usd_per_hour, or capex_usd with life_months."}
            )
        return attrs


class NodeViewSet(OrganisationRows, ConfigViewSet):
    """Machines of the private side and what they cost. Changing one takes a role in the whole organisation."""

    queryset = Node.objects.all()
    serializer_class = NodeSerializer
    lookup_names = ("name",)
    write_roles = ("finance", "operator")
    page_order = ("name", "pk")
    kind = "node"

    def perform_update(self, serializer: Any) -> None:
        self.require_whole_organisation()
        super().perform_update(serializer)

    def perform_destroy(self, row: Node) -> None:
        self.require_whole_organisation()
        super().perform_destroy(row)
