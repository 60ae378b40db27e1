"""REST of exchange rates."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.response import Response

from costs.api.base import KnownQuery, OrganisationRows
from costs.api.fields import UsdField
from costs.models import ExchangeRate
from costs.sheets.currencies import create_rate, delete_rate
from switchyard.tenancy.api.base import ReadViewSet, StrictSerializer, filters, narrowed_by


class ExchangeRateSerializer(StrictSerializer):
    currency = serializers.CharField(max_length=3)
    usd_per_unit = UsdField(source="nusd_per_unit")

    class Meta:
        model = ExchangeRate
        fields = ["id", "currency", "usd_per_unit", "source", "created_at"]
        read_only_fields = ["id", "created_at"]

    def get_fields(self) -> dict[str, Any]:
        fields = super().get_fields()
        fields["from"] = serializers.DateTimeField(source="valid_from", required=False)
        return fields


class ExchangeRateViewSet(KnownQuery, OrganisationRows, ReadViewSet):
    """What a unit of a currency is worth in dollars, from a date on until the next rate. One that was in force is kept."""

    queryset = ExchangeRate.objects.all()
    serializer_class = ExchangeRateSerializer
    write_roles = ("finance",)
    takes = {"list": ("currency",)}
    page_order = ("currency", "-valid_from")

    def filter_queryset(self, queryset: Any) -> Any:
        return narrowed_by(queryset, self.request, self.takes["list"]) if self.action == "list" else queryset

    @extend_schema(parameters=filters(*takes["list"]))
    def list(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        return super().list(request, *args, **kwargs)

    def create(self, request: Any) -> Response:
        form = self.get_serializer(data=request.data)
        form.is_valid(raise_exception=True)
        row = create_rate(actor=request.user, **form.validated_data, **self.extra())
        return Response(self.get_serializer(row).data, status=201)

    def destroy(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        row = self.get_object()
        self.require_whole_organisation()
        delete_rate(row=row, actor=request.user)
        return Response(status=204)
