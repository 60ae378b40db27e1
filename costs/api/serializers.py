"""Shapes of nodes, prices, budgets, ledger rows and alerts."""

from __future__ import annotations

import zoneinfo
from decimal import Decimal
from typing import Any

from django.apps import apps
from rest_framework import serializers

from costs.api.fields import UsdField
from costs.models import Alert, Budget, LedgerEntry, Node, Price
from costs.prices import create_price
from switchyard.tenancy.api.base import StrictForm, StrictSerializer, request_scope
from switchyard.tenancy.models import ApiKey, Application, LineOfBusiness, slug_validator

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


class BudgetSerializer(StrictSerializer):
    limit_usd = UsdField(source="limit_nusd")

    class Meta:
        model = Budget
        fields = [
            "id",
            "scope",
            "limit_usd",
            "period",
            "timezone",
            "action",
            "on_outage",
            "warn_pct",
            "created_at",
        ]
        read_only_fields = ["id", "created_at"]
        fixed = ["scope"]

    def validate_timezone(self, name: str) -> str:
        if name not in zoneinfo.available_timezones():
            raise serializers.ValidationError("Not a time zone of the IANA database, such as Europe/Berlin.")
        return name

    def validate_scope(self, scope: str) -> str:
        lob_of_scope(request_scope(self.context["request"]), scope)
        return scope


def lob_of_scope(scope: Any, name: str) -> LineOfBusiness | None:
    """The line of business a budget's scope belongs to; None for the organisation. Raises ValidationError."""
    kind, _, value = name.partition(":")
    if name == "organisation":
        if scope.lob_ids is not None:
            raise serializers.ValidationError(
                "The organisation's budget takes a role in all lines of business."
            )
        return None
    if kind == "lob":
        row: Any = LineOfBusiness.objects.for_tenant(scope).filter(slug=value).first()
        found = row
    elif kind == "application":
        row = Application.objects.for_tenant(scope).filter(slug=value).select_related("lob").first()
        found = row and row.lob
    elif kind == "key":
        row = ApiKey.objects.for_tenant(scope).filter(pk=value).select_related("application__lob").first()
        found = row and row.application.lob
    else:
        raise serializers.ValidationError(
            "Expected organisation, lob:<slug>, application:<slug> or key:<id>."
        )
    if row is None:
        raise serializers.ValidationError(f"There is no {kind} {value!r}.")
    return found


class LedgerSerializer(serializers.ModelSerializer):
    amount_usd = UsdField(source="amount_nusd", read_only=True)

    class Meta:
        model = LedgerEntry
        fields = [
            "id", "event_id", "at", "recorded_at", "debit", "credit", "amount_usd", "lob", "request_id", "attempt",
            "job_id", "memo", "price_version", "reverses", "origin",
        ]  # fmt: skip


class ReportRow(serializers.Serializer):
    """A row of a report: its key, and the figures of that report by name."""

    key = serializers.CharField()


class ReportSerializer(serializers.Serializer):
    name = serializers.CharField()
    as_of = serializers.DateTimeField()
    rows = serializers.ListField(child=ReportRow())
    totals = serializers.DictField()
    total_usd = serializers.CharField(required=False)


class ReportNameSerializer(serializers.Serializer):
    name = serializers.CharField()


class AlertSerializer(serializers.ModelSerializer):
    class Meta:
        model = Alert
        fields = ["id", "at", "kind", "lob", "subject", "message", "resolved_at"]
