"""REST of nodes: what machines cost in dated versions, their hours, restatements."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.response import Response

from costs.api.base import KnownQuery, OrganisationRows, parse_time
from costs.api.fields import UsdField
from costs.models import Node, NodeCost, NodeInterval, Restatement
from costs.nodes.changes import CARRYING_FIELDS, change_carrying, change_cost, create_node
from costs.nodes.restate import restate
from costs.nodes.versions import COST_FIELDS
from switchyard.core.clock import now
from switchyard.core.errors import Conflict
from switchyard.core.money import format_usd
from switchyard.tenancy.api.base import StrictForm, StrictSerializer, filters, request_scope
from switchyard.tenancy.api.views import ConfigViewSet
from switchyard.tenancy.models import slug_validator

AMOUNTS = (
    "usd_per_hour", "commitment_usd_per_hour", "commitment_upfront_usd", "capex_usd", "salvage_usd", "usd_per_kwh",
    "rack_usd_per_month", "people_usd_per_month", "operations_usd_per_month",
)  # fmt: skip
LIMITS: dict[str, dict[str, Any]] = {
    **{name: {"min_value": Decimal(0)} for name in AMOUNTS},
    "pue": {"min_value": Decimal(1)},
    "life_months": {"min_value": 1, "max_value": 1200},
    "commitment_months": {"min_value": 1, "max_value": 1200},
    "watts": {"max_value": 10_000_000},
    "planned_utilisation": {"min_value": Decimal("0.001"), "max_value": Decimal(1)},
}
# What a machine costs is everybody's to know; how it is bought and who pays for the rest is the organisation's.
OF_EVERYBODY = (
    "id", "name", "usd_per_hour", "capex_usd", "life_months", "watts", "pue", "usd_per_kwh", "operations_usd_per_month",
    "planned_utilisation", "source", "created_at",
)  # fmt: skip


class NodeSerializer(StrictSerializer):
    valid_from = serializers.DateTimeField(write_only=True, required=False)
    reason = serializers.CharField(write_only=True, required=False, max_length=300)

    class Meta:
        model = Node
        fields = ["id", "name", *CARRYING_FIELDS, *COST_FIELDS, "created_at", "valid_from", "reason"]
        read_only_fields = ["id", "created_at"]
        fixed = ["name"]
        extra_kwargs = LIMITS | {"name": {"validators": [slug_validator]}}

    def to_representation(self, node: Node) -> dict[str, Any]:
        shown = super().to_representation(node)
        request = self.context.get("request")
        if request is not None and request_scope(request).lob_ids is not None:
            return {name: shown[name] for name in OF_EVERYBODY}
        return shown

    def create(self, values: dict[str, Any]) -> Node:
        values.pop("reason", None)
        return create_node(actor=self.context["request"].user, **values)

    def update(self, node: Node, values: dict[str, Any]) -> Node:
        actor = self.context["request"].user
        start, reason = values.pop("valid_from", None), values.pop("reason", "")
        carrying = {name: values[name] for name in CARRYING_FIELDS if name in values}
        costs = {name: values[name] for name in COST_FIELDS if name in values}
        if start and not costs:
            raise serializers.ValidationError(
                {"valid_from": "It dates a change of cost: say what costs what."}
            )
        change_carrying(node=node, actor=actor, **carrying)
        if costs:
            change_cost(node=node, values=costs, valid_from=start, reason=reason, actor=actor)
        return node


class NodeCostSerializer(serializers.ModelSerializer):
    version = serializers.CharField(read_only=True)

    class Meta:
        model = NodeCost
        fields = ["version", "valid_from", "valid_to", *COST_FIELDS, "reason", "created_at", "created_by"]
        read_only_fields = fields


class CostChange(StrictSerializer):
    """A new version: what isn't named stays as it was at that time. `preview` changes nothing and says what would move."""

    reason = serializers.CharField(max_length=300)
    preview = serializers.BooleanField(default=False)

    class Meta:
        model = NodeCost
        fields = ["valid_from", *COST_FIELDS, "reason", "preview"]
        extra_kwargs = LIMITS | {"valid_from": {"required": False}}


class Shares(serializers.DictField):
    """Name → dollars; the row holds nano-dollars."""

    def to_representation(self, value: dict[str, int]) -> dict[str, str]:
        return {name: format_usd(nusd) for name, nusd in value.items()}


class RestatementSerializer(serializers.ModelSerializer):
    before_usd = UsdField(source="before_nusd", min_value=None)
    after_usd = UsdField(source="after_nusd", min_value=None)
    moved_usd = Shares(source="moved")

    class Meta:
        model = Restatement
        fields = [
            "id", "node", "start", "end", "hours", "old_version", "new_version", "before_usd", "after_usd", "moved_usd",
            "reason", "at", "by",
        ]  # fmt: skip


class ChangeSerializer(serializers.Serializer):
    """The version (null when nothing differs) and what it moved (null when it begins now or later)."""

    version = NodeCostSerializer(allow_null=True)
    restatement = RestatementSerializer(allow_null=True)


class IntervalSerializer(serializers.ModelSerializer):
    bill_usd = UsdField(source="bill_nusd")
    used_usd = UsdField(source="used_nusd")
    idle_usd = UsdField(source="idle_nusd")
    shares_usd = Shares(source="shares")
    idle_shares_usd = Shares(source="idle_shares")
    accelerator_s = serializers.SerializerMethodField()

    class Meta:
        model = NodeInterval
        fields = [
            "start", "seconds", "revision", "current", "cost_version", "bill_usd", "used_usd", "idle_usd", "shares_usd",
            "idle_shares_usd", "accelerator_s", "reason", "closed_at", "origin",
        ]  # fmt: skip

    def get_accelerator_s(self, row: NodeInterval) -> float:
        return row.accelerator_ns / 1e9


class RestateForm(StrictForm):
    reason = serializers.CharField(max_length=300)
    preview = serializers.BooleanField(default=False)

    def get_fields(self) -> dict[str, Any]:
        """`from` is a word of Python's, so these two can't be attributes."""
        fields = super().get_fields()
        fields["from"] = serializers.DateTimeField()
        fields["to"] = serializers.DateTimeField()
        return fields


class NodeViewSet(KnownQuery, OrganisationRows, ConfigViewSet):
    """Machines of the private side and what they cost. Changing one takes a role in the whole organisation; a change of
    cost is a new dated version (`valid_from`, `reason`), and one that begins in the past bills its hours again."""

    queryset = Node.objects.all()
    serializer_class = NodeSerializer
    lookup_names = ("name",)
    write_roles = ("finance", "operator")
    takes = {"intervals": ("from", "to", "revisions")}
    page_order = ("name", "pk")
    kind = "node"

    def perform_create(self, serializer: Any) -> None:
        self._save(serializer, **self.extra())  # the service audits it

    def perform_update(self, serializer: Any) -> None:
        self.require_whole_organisation()
        self._save(serializer)

    def perform_destroy(self, row: Node) -> None:
        self.require_whole_organisation()
        if NodeInterval.objects.filter(organisation_id=row.organisation_id, node=row.name).exists():
            raise Conflict(
                "Hours of this node were billed, so it is kept; one that is gone costs 0 from that day on.",
                code="node_in_history",
            )
        super().perform_destroy(row)

    def _node(self) -> Node:
        node: Node = self.get_object()
        self.require_whole_organisation()
        return node

    def _checked(self, form: Any) -> dict[str, Any]:
        serializer = form(data=self.request.data, context=self.get_serializer_context())
        serializer.is_valid(raise_exception=True)
        return dict(serializer.validated_data)

    def _listed(self, rows: Any, serializer: Any, order: tuple[str, ...]) -> Response:
        self.page_order = order
        page = self.paginate_queryset(rows)
        return self.get_paginated_response(serializer(page, many=True).data)

    @extend_schema(responses={200: NodeCostSerializer(many=True)})
    @action(detail=True, methods=["get"])
    def costs(self, request: Any, pk: str = "") -> Response:
        """Every dated version as it was written, newest first; a later one wins over what it covers."""
        return self._listed(self._node().costs.all(), NodeCostSerializer, ("-created_at", "-pk"))

    @extend_schema(request=CostChange, responses={200: ChangeSerializer, 201: ChangeSerializer})
    @costs.mapping.post
    def change(self, request: Any, pk: str = "") -> Response:
        """A new version; 200 with what would move when `preview` is said."""
        node, values = self._node(), self._checked(CostChange)
        preview = values.pop("preview")
        done = change_cost(
            node=node, valid_from=values.pop("valid_from", None), reason=values.pop("reason"), actor=request.user,
            dry_run=preview, values=values,
        )  # fmt: skip
        return Response(ChangeSerializer(done).data, status=200 if preview else 201)

    @extend_schema(
        parameters=filters(*takes["intervals"]),
        responses={200: IntervalSerializer(many=True)},
    )
    @action(detail=True, methods=["get"], pagination_class=ConfigViewSet.pagination_class)
    def intervals(self, request: Any, pk: str = "") -> Response:
        """Closed hours, newest first; those in force, or with `revisions=all` what they were before as well."""
        node, query = self._node(), request.query_params
        end = parse_time("to", query.get("to"), now())
        start = parse_time("from", query.get("from"), end - timedelta(days=30))
        rows = NodeInterval.objects.filter(
            organisation_id=node.organisation_id, node=node.name, start__gte=start, start__lt=end
        )
        if query.get("revisions") != "all":
            rows = rows.filter(current=True)
        return self._listed(rows, IntervalSerializer, ("-start", "-revision"))

    @extend_schema(responses={200: RestatementSerializer(many=True)})
    @action(detail=True, methods=["get"])
    def restatements(self, request: Any, pk: str = "") -> Response:
        """What was billed again, newest first: both versions, before and after, what moved."""
        node = self._node()
        rows = Restatement.objects.filter(organisation_id=node.organisation_id, node=node.name)
        return self._listed(rows, RestatementSerializer, ("-at", "-pk"))

    @extend_schema(request=RestateForm, responses={200: RestatementSerializer})
    @action(detail=True, methods=["post"])
    def restate(self, request: Any, pk: str = "") -> Response:
        """Bill the closed hours of a period again under the versions that are known now; `preview` changes nothing."""
        node, values = self._node(), self._checked(RestateForm)
        row = restate(
            node=node, start=values["from"], end=values["to"], reason=values["reason"], actor=request.user,
            dry_run=values["preview"],
        )  # fmt: skip
        return Response(RestatementSerializer(row).data)
