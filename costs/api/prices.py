"""REST of dated price sheets."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.db import transaction
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.response import Response

from costs.api.base import OrganisationRows
from costs.api.fields import UsdField
from costs.models import Price
from costs.prices import create_price
from switchyard.core.clock import now
from switchyard.core.errors import Conflict
from switchyard.tenancy.api.base import StrictForm, StrictSerializer, filters, narrowed_by, request_scope
from switchyard.tenancy.api.views import ConfigViewSet


class PriceSerializer(StrictSerializer):
    input_usd_per_mtok = UsdField(source="input_nusd_per_munit")
    cached_input_usd_per_mtok = UsdField(
        source="cached_input_nusd_per_munit", required=False, allow_null=True
    )
    output_usd_per_mtok = UsdField(source="output_nusd_per_munit")
    reasoning_usd_per_mtok = UsdField(source="reasoning_nusd_per_munit", required=False, allow_null=True)
    usd_per_mcall = UsdField(source="call_nusd_per_munit", required=False)
    minimum_usd = UsdField(source="minimum_nusd", required=False)

    class Meta:
        model = Price
        fields = [
            "id", "deployment", "input_usd_per_mtok", "cached_input_usd_per_mtok", "output_usd_per_mtok",
            "reasoning_usd_per_mtok", "usd_per_mcall", "minimum_usd", "source", "created_at",
        ]  # fmt: skip
        read_only_fields = ["id", "created_at"]

    def get_fields(self) -> dict[str, Any]:
        """`from` is a word of Python's, so these two can't be attributes."""
        fields = super().get_fields()
        fields["from"] = serializers.DateTimeField(source="valid_from")
        fields["to"] = serializers.DateTimeField(source="valid_to", required=False, allow_null=True)
        return fields

    def validate_deployment(self, name: str) -> str:
        """Prices know deployments by name alone; a sheet for a name that nobody has prices nothing."""
        deployments = apps.get_model("modelhub", "Deployment").objects
        scope = request_scope(self.context["request"])
        if not deployments.filter(organisation_id=scope.organisation_id, name=name).exists():
            raise serializers.ValidationError(f"There is no deployment {name!r}.")
        return name

    def create(self, values: dict[str, Any]) -> Price:
        return create_price(actor=self.context["request"].user, **values)


class PriceChange(StrictForm):
    """PATCH: when an open sheet ends. What was in force is never edited."""

    to = serializers.DateTimeField()


class PriceViewSet(OrganisationRows, ConfigViewSet):
    """Dated sheets. A new one closes the open one before it; what was in force is never edited."""

    queryset = Price.objects.all()
    serializer_class = PriceSerializer
    write_roles = ("finance",)
    page_order = ("deployment", "-valid_from")
    kind = "price"

    def filter_queryset(self, queryset: Any) -> Any:
        return narrowed_by(queryset, self.request, ("deployment",)) if self.action == "list" else queryset

    @extend_schema(parameters=filters("deployment"))
    def list(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        return super().list(request, *args, **kwargs)

    def perform_create(self, serializer: Any) -> None:
        serializer.save(**self.extra())

    @extend_schema(request=PriceChange)
    @transaction.atomic
    def partial_update(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        row, form = self.get_object(), PriceChange(data=request.data)
        self.require_whole_organisation()
        form.is_valid(raise_exception=True)
        end = form.validated_data["to"]
        if row.valid_to is not None and row.valid_to <= now():
            raise Conflict("This sheet is history: it was in force and has ended.", code="price_in_history")
        if end <= max(row.valid_from, now()):
            raise serializers.ValidationError({"to": "The end lies in the future, and after `from`."})
        if row.valid_to is not None and end > row.valid_to:
            raise serializers.ValidationError(
                {"to": "Another sheet may follow: the end can only come earlier."}
            )
        row.valid_to = end
        row.save(update_fields=["valid_to"])
        self._note("changed", row)
        return Response(self.get_serializer(row).data)

    def perform_destroy(self, row: Price) -> None:
        self.require_whole_organisation()
        if row.valid_from <= now():
            raise Conflict("A sheet that was in force is kept; end it with `to`.", code="price_in_history")
        super().perform_destroy(row)
