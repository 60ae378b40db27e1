"""REST of dated price sheets."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.response import Response

from costs.api.base import KnownQuery, OrganisationRows
from costs.api.price_fields import TERM_FIELDS, TermsForm
from costs.api.price_tools import (
    PriceDiff,
    PriceImport,
    Reprice,
    RepricePreview,
    diff_as_json,
    preview,
    preview_as_json,
)
from costs.models import Price
from costs.sheets import deployments
from costs.sheets.dated import create_price, end_price, take_back
from costs.sheets.imports import diff_prices, import_prices
from switchyard.tenancy.api.base import StrictForm, StrictSerializer, filters, narrowed_by, request_scope
from switchyard.tenancy.api.views import ConfigViewSet
from switchyard.tenancy.models import ROLES


class PriceSerializer(TermsForm, StrictSerializer):
    class Meta:
        model = Price
        fields = ["id", "deployment", *TERM_FIELDS, "source", "created_at"]
        read_only_fields = ["id", "created_at"]

    def get_fields(self) -> dict[str, Any]:
        """`from` is a word of Python's, so these two can't be attributes."""
        fields = super().get_fields()
        fields["from"] = serializers.DateTimeField(source="valid_from")
        fields["to"] = serializers.DateTimeField(source="valid_to", required=False, allow_null=True)
        return fields

    def validate_deployment(self, name: str) -> str:
        """Prices know deployments by name alone; a sheet for a name that nobody has prices nothing."""
        if not deployments.exists(request_scope(self.context["request"]).organisation_id, name):
            raise serializers.ValidationError(f"There is no deployment {name!r}.")
        return name

    def create(self, values: dict[str, Any]) -> Price:
        return create_price(actor=self.context["request"].user, **values)


class PriceChange(StrictForm):
    """PATCH: when an open sheet ends. What was in force is never edited."""

    to = serializers.DateTimeField()


class PriceViewSet(KnownQuery, OrganisationRows, ConfigViewSet):
    """Dated sheets. A new one closes the open one before it; what was in force is never edited."""

    queryset = Price.objects.all()
    serializer_class = PriceSerializer
    write_roles = ("finance",)
    takes = {"list": ("deployment",)}
    page_order = ("deployment", "-valid_from")
    kind = "price"

    def get_queryset(self) -> Any:
        """Of deployments that the asker may see: a neighbour's own vendor is none of their business."""
        names = None if self.drawing else deployments.visible(self.scope)
        rows = super().get_queryset()
        return rows if names is None else rows.filter(deployment__in=names)

    def filter_queryset(self, queryset: Any) -> Any:
        return narrowed_by(queryset, self.request, self.takes["list"]) if self.action == "list" else queryset

    @extend_schema(parameters=filters(*takes["list"]))
    def list(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        return super().list(request, *args, **kwargs)

    @extend_schema(request=PriceImport, responses={200: PriceDiff})
    @action(detail=False, methods=["post"], url_path="import")
    def load(self, request: Any) -> Response:
        """What a price file would change, or with `apply` the change itself, whole or not at all."""
        form = PriceImport(data=request.data)
        form.is_valid(raise_exception=True)
        asked = form.asked() | self.extra()
        applying = form.validated_data["apply"]
        diff = import_prices(actor=request.user, **asked) if applying else diff_prices(**asked)
        return Response(diff_as_json(diff))

    @extend_schema(request=Reprice, responses={200: RepricePreview})
    @action(detail=False, methods=["post"], write_roles=tuple(ROLES))
    def reprice(self, request: Any) -> Response:
        """What past calls would have cost by another sheet. Changes nothing, so whoever may read may ask."""
        form = Reprice(data=request.data)
        form.is_valid(raise_exception=True)
        if form.validated_data.get("lob"):
            self.require_lob(form.validated_data["lob"])
        return Response(preview_as_json(preview(scope=self.scope, values=form.validated_data)))

    def perform_create(self, serializer: Any) -> None:
        serializer.save(**self.extra())

    @extend_schema(request=PriceChange)
    @transaction.atomic
    def partial_update(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        row, form = self.get_object(), PriceChange(data=request.data)
        self.require_whole_organisation()
        form.is_valid(raise_exception=True)
        end_price(price=row, end=form.validated_data["to"])
        self._note("changed", row)
        return Response(self.get_serializer(row).data)

    @transaction.atomic
    def perform_destroy(self, row: Price) -> None:
        self.require_whole_organisation()
        self._note("deleted", row)
        take_back(price=row)
