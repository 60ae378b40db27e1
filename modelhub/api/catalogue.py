"""REST of the catalogue: vendors with models and list prices, one added as a deployment, prices compared."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.response import Response

from costs.api.price_tools import PriceDiff, diff_as_json
from modelhub.catalogue.adding import add, plan, refresh_prices
from modelhub.catalogue.entries import Vendor, vendor_named, vendors
from modelhub.models import Deployment
from switchyard.tenancy.api.base import StrictForm, TenantViewSet


class VendorSerializer(serializers.Serializer):
    """models: {model, task, prices, max_input_tokens, max_output_tokens, batch_pct, abilities, source, as_of}."""

    slug = serializers.CharField()
    name = serializers.CharField()
    kind = serializers.ChoiceField(choices=["vendor", "server"])
    base_url = serializers.CharField(help_text="With {places} to fill in.")
    auth = serializers.ChoiceField(choices=["bearer", "header", "none"])
    docs = serializers.CharField()
    note = serializers.CharField()
    as_of = serializers.CharField()
    models = serializers.ListField(child=serializers.DictField())


class VendorListSerializer(serializers.Serializer):
    results = VendorSerializer(many=True)
    next = serializers.CharField(allow_null=True)


class AddForm(StrictForm):
    """Without `apply` it only says what would be made."""

    vendor = serializers.CharField(max_length=60)
    model = serializers.CharField(max_length=120)
    name = serializers.SlugField(max_length=63, required=False, default="")
    places = serializers.DictField(child=serializers.CharField(max_length=200), required=False, default=dict)
    base_url = serializers.CharField(max_length=300, required=False, default="")
    api_key = serializers.CharField(max_length=500, required=False, default="", write_only=True)
    headers = serializers.DictField(
        child=serializers.CharField(max_length=4000), required=False, default=dict, write_only=True
    )
    node = serializers.CharField(max_length=63, required=False, default="")
    apply = serializers.BooleanField(default=False)


class AddedSerializer(serializers.Serializer):
    applied = serializers.BooleanField()
    deployment = serializers.DictField(
        help_text="As it was made, or would be, with its prices and their source."
    )
    id = serializers.IntegerField(allow_null=True)


class RefreshForm(StrictForm):
    apply = serializers.BooleanField(default=False)


class CatalogueViewSet(TenantViewSet):
    """Ready-made entries with dated list prices. They belong to nobody: every member reads them."""

    queryset = Deployment.objects.none()
    write_roles = ("operator",)

    @extend_schema(responses={200: VendorListSerializer})
    def list(self, request: Any) -> Response:
        return Response({"results": [_told(vendor) for vendor in vendors()], "next": None})

    @extend_schema(responses={200: VendorSerializer})
    def retrieve(self, request: Any, pk: str = "") -> Response:
        return Response(_told(vendor_named(pk)))

    @extend_schema(request=AddForm, responses={200: AddedSerializer})
    @action(detail=False, methods=["post"])
    def add(self, request: Any) -> Response:
        """What a deployment of this entry would be, or with `apply` the deployment with its price sheet."""
        self.require_whole_organisation()
        form = AddForm(data=request.data)
        form.is_valid(raise_exception=True)
        values = dict(form.validated_data)
        asked = {name: values[name] for name in ("vendor", "model", "name", "places", "base_url")}
        wanted = plan(**asked)
        row = None
        if values["apply"]:
            row = add(
                organisation_id=self.scope.organisation_id or 0, wanted=wanted, actor=request.user,
                api_key=values["api_key"], headers=values["headers"], node=values["node"],
            )  # fmt: skip
        return Response(
            {"applied": row is not None, "deployment": wanted.as_json(), "id": row.pk if row else None}
        )

    @extend_schema(request=RefreshForm, responses={200: PriceDiff})
    @action(detail=False, methods=["post"], write_roles=("finance",))
    def prices(self, request: Any) -> Response:
        """What the catalogue's list prices would change of the sheets in force, or with `apply` the change."""
        self.require_whole_organisation()
        form = RefreshForm(data=request.data)
        form.is_valid(raise_exception=True)
        diff = refresh_prices(
            organisation_id=self.scope.organisation_id or 0,
            actor=request.user,
            apply=form.validated_data["apply"],
        )
        return Response(diff_as_json(diff))


def _told(vendor: Vendor) -> dict[str, Any]:
    models = [
        {
            "model": row.model, "task": row.task, "prices": row.prices, "max_input_tokens": row.max_input_tokens,
            "max_output_tokens": row.max_output_tokens, "batch_pct": row.batch_pct, "abilities": list(row.abilities),
            "source": row.source, "as_of": row.as_of,
        }
        for row in vendor.models
    ]  # fmt: skip
    return {
        "slug": vendor.slug, "name": vendor.name, "kind": vendor.kind, "base_url": vendor.base_url, "auth": vendor.auth,
        "docs": vendor.docs, "note": vendor.note, "as_of": vendor.as_of, "models": models,
    }  # fmt: skip
