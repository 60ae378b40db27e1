"""REST of bills held against the books."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.response import Response

from costs.api.base import KnownQuery
from costs.api.fields import UsdField
from costs.models import BillCheck
from costs.reconciliation import bills
from costs.reconciliation.service import checks_of, reconcile_node, reconcile_usage
from switchyard.core.money import format_usd
from switchyard.tenancy.api.base import ReadViewSet, StrictForm, filters, narrowed_by


class FindingSerializer(serializers.Serializer):
    """One gap: where, why, how large, and whether it is corrected, a claim against the vendor, or open."""

    day = serializers.DateField()
    model = serializers.CharField()
    lob = serializers.CharField()
    cause = serializers.CharField()
    detail = serializers.CharField()
    state = serializers.ChoiceField(["corrected", "claim", "open"])
    rows = serializers.IntegerField()
    billed_usd = serializers.CharField()
    booked_usd = serializers.CharField()
    gap_usd = serializers.CharField()
    samples = serializers.ListField(child=serializers.CharField())


class BillCheckSerializer(serializers.ModelSerializer):
    billed_usd = UsdField(source="billed_nusd", read_only=True, min_value=None)
    booked_usd = UsdField(source="booked_nusd", read_only=True, min_value=None)
    gap_usd = UsdField(source="gap_nusd", read_only=True, min_value=None)
    left_usd = UsdField(source="left_nusd", read_only=True, min_value=None)
    findings = serializers.SerializerMethodField()

    class Meta:
        model = BillCheck
        fields = [
            "id", "kind", "name", "currency", "rows", "billed_usd", "booked_usd", "gap_usd", "left_usd", "findings",
            "corrections", "digest", "source", "made_at", "made_by",
        ]  # fmt: skip

    def get_fields(self) -> dict[str, Any]:
        """`from` is a word of Python's, so these two can't be attributes."""
        fields = super().get_fields()
        fields["from"] = serializers.DateTimeField(source="start", read_only=True)
        fields["to"] = serializers.DateTimeField(source="end", read_only=True)
        return fields

    @extend_schema(responses=FindingSerializer(many=True))
    def get_findings(self, check: BillCheck) -> list[dict[str, Any]]:
        return [_dollars(found) for found in check.findings]


def _dollars(found: dict[str, Any]) -> dict[str, Any]:
    shown = {n: v for n, v in found.items() if not n.endswith("_nusd") and n != "claim"}
    return shown | {f"{n}_usd": format_usd(found[f"{n}_nusd"]) for n in ("billed", "booked", "gap")}


class BillForm(StrictForm):
    """A bill's text, or `fetch: true` for a deployment whose server offers `GET /bill`."""

    kind = serializers.ChoiceField(BillCheck.KINDS, default="usage")
    deployment = serializers.CharField(required=False, max_length=63)
    node = serializers.CharField(required=False, max_length=63)
    format = serializers.ChoiceField(["auto", "json", "csv"], default="auto")
    text = serializers.CharField(required=False, trim_whitespace=False, max_length=bills.MAX_BYTES)
    fetch = serializers.BooleanField(default=False)
    currency = serializers.RegexField(
        r"^[A-Z]{3}$", required=False, help_text="Of a bill that doesn't say its own."
    )
    correct = serializers.BooleanField(
        default=False, help_text="Correct what is ours: estimates, calls nobody booked. Claims stay open."
    )

    def get_fields(self) -> dict[str, Any]:
        fields = super().get_fields()
        fields["from"] = serializers.DateTimeField()
        fields["to"] = serializers.DateTimeField()
        return fields

    def validate(self, values: dict[str, Any]) -> dict[str, Any]:
        what = "node" if values["kind"] == "node" else "deployment"
        if not values.get(what):
            raise serializers.ValidationError({what: f"Name the {what} that the bill is for."})
        if bool(values.get("text")) == values["fetch"]:
            raise serializers.ValidationError(
                {"text": "Send the bill's text, or `fetch: true`: one of the two."}
            )
        if values["kind"] == "node" and (values["fetch"] or values["correct"]):
            raise serializers.ValidationError(
                {"fetch": "A machine's invoice is sent as text, and corrects nothing."}
            )
        if not values["from"] < values["to"] <= _latest(values["from"]):
            raise serializers.ValidationError({"to": "The period ends after it begins, within 400 days."})
        return values


def _latest(start: datetime) -> datetime:
    try:
        return start + timedelta(days=400)
    except OverflowError:
        raise serializers.ValidationError({"from": "The period lies outside of the calendar."}) from None


class ReconciliationViewSet(KnownQuery, ReadViewSet):
    """Bills of vendors and machines against the books. They concern the whole organisation: its finance alone sees them."""

    queryset = BillCheck.objects.all()
    serializer_class = BillCheckSerializer
    read_roles = ("finance",)
    write_roles = ("finance",)
    takes = {"list": ("kind", "name")}
    page_order = ("-made_at", "-id")

    def get_queryset(self) -> Any:
        return checks_of(self.scope)

    def filter_queryset(self, queryset: Any) -> Any:
        return narrowed_by(queryset, self.request, self.takes["list"]) if self.action == "list" else queryset

    @extend_schema(parameters=filters(*takes["list"]))
    def list(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        return super().list(request, *args, **kwargs)

    @extend_schema(request=BillForm, responses={201: BillCheckSerializer})
    def create(self, request: Any) -> Response:
        self.require_whole_organisation()
        form = BillForm(data=request.data)
        form.is_valid(raise_exception=True)
        check = self._reconcile(form.validated_data)
        return Response(self.get_serializer(check).data, status=201)

    def _reconcile(self, asked: dict[str, Any]) -> BillCheck:
        shared = {
            "organisation_id": self.scope.organisation_id, "start": asked["from"], "end": asked["to"],
            "currency": asked.get("currency", ""), "actor": self.request.user,
        }  # fmt: skip
        if asked["kind"] == "node":
            return reconcile_node(node=asked["node"], text=asked["text"], source="uploaded by REST", **shared)
        return reconcile_usage(
            deployment=asked["deployment"], text=asked.get("text"), format=asked["format"],
            correct="all" if asked["correct"] else "none", source="" if asked["fetch"] else "uploaded by REST", **shared,
        )  # fmt: skip
