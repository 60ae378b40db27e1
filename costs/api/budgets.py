"""REST of budgets and of their top-ups."""

from __future__ import annotations

import zoneinfo
from typing import Any

from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.response import Response

from costs import budgets
from costs.api.base import KnownQuery
from costs.api.fields import UsdField
from costs.budgets.rules import budget_faults, lob_of_scope
from costs.models import Budget, BudgetExtra
from switchyard.tenancy.api.base import (
    EmptySerializer,
    ReadViewSet,
    StrictForm,
    StrictSerializer,
    find,
    request_scope,
)
from switchyard.tenancy.api.views import ConfigViewSet


class BudgetSerializer(StrictSerializer):
    limit_usd = UsdField(source="limit_nusd")
    rollover_cap_usd = UsdField(source="rollover_cap_nusd", required=False, allow_null=True)

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
            "covers",
            "rollover",
            "rollover_cap_usd",
            "created_at",
        ]
        read_only_fields = ["id", "created_at"]
        fixed = ["scope", "covers"]

    def validate(self, values: dict[str, Any]) -> dict[str, Any]:
        names = ("scope", "period", "action", "covers", "rollover", "rollover_cap_nusd")
        whole = {name: values.get(name, getattr(self.instance, name, None)) for name in names}
        if faults := budget_faults(whole):
            raise serializers.ValidationError(
                {name.replace("nusd", "usd"): [fault] for name, fault in faults.items()}
            )
        return values

    def validate_timezone(self, name: str) -> str:
        if name not in zoneinfo.available_timezones():
            raise serializers.ValidationError("Not a time zone of the IANA database, such as Europe/Berlin.")
        return name

    def validate_scope(self, scope: str) -> str:
        try:
            lob_of_scope(request_scope(self.context["request"]), scope)
        except ValueError as error:
            raise serializers.ValidationError(str(error)) from None
        return scope


class TopUpSerializer(serializers.ModelSerializer):
    budget = serializers.IntegerField(source="budget_id")
    scope = serializers.CharField(source="budget.scope")
    amount_usd = UsdField(source="amount_nusd")
    requested_by = serializers.CharField(source="requested_by.username", default=None)
    decided_by = serializers.CharField(source="decided_by.username", default=None)

    class Meta:
        model = BudgetExtra
        fields = [
            "id", "budget", "scope", "period_start", "amount_usd", "state", "reason", "requested_by", "decided_by",
            "at", "decided_at",
        ]  # fmt: skip


class TopUpForm(StrictForm):
    amount_usd = UsdField(source="amount_nusd")
    reason = serializers.CharField(max_length=300)
    period = serializers.ChoiceField(["current", "next"], default="current")


class BudgetViewSet(KnownQuery, ConfigViewSet):
    """Budgets, by the scope they bind: a line of business, an application, a key, the organisation; `{id}/top-ups` are
    what was asked for in single periods."""

    queryset = Budget.objects.select_related("lob")
    serializer_class = BudgetSerializer
    lookup_names = ("scope",)
    write_roles = ("finance",)
    page_order = ("scope", "pk")
    kind, names_it = "budget", "scope"

    def get_object(self) -> Any:
        """A scope names its budget of everything; that of labels beside it is found by its id."""
        rows, value = self.get_queryset(), self.kwargs[self.lookup_field]
        try:
            return find(rows.filter(covers="all"), value, self.lookup_names)
        except Http404:
            return find(rows, value, self.lookup_names)

    def perform_create(self, serializer: Any) -> None:
        lob = lob_of_scope(self.scope, serializer.validated_data["scope"])
        serializer.validated_data.update(lob=lob, organisation_id=self.scope.organisation_id)
        super().perform_create(serializer)

    @extend_schema(methods=["GET"], responses={200: TopUpSerializer(many=True)}, filters=False)
    @extend_schema(methods=["POST"], request=TopUpForm, responses={201: TopUpSerializer})
    @action(
        detail=True,
        methods=["get", "post"],
        url_path="top-ups",
        write_roles=("finance", "operator"),
        pagination_class=None,
    )
    def top_ups(self, request: Any, pk: str = "") -> Response:
        budget = self.get_object()
        if request.method == "GET":
            rows = budget.extras.filter(kind="top_up").select_related("budget", "requested_by", "decided_by")
            return Response({"results": TopUpSerializer(rows[:100], many=True).data, "next": None})
        form = TopUpForm(data=request.data)
        form.is_valid(raise_exception=True)
        extra = budgets.request_top_up(budget=budget, user=request.user, **form.validated_data)
        return Response(TopUpSerializer(extra).data, status=201)


class TopUpViewSet(KnownQuery, ReadViewSet):
    """Top-ups of every budget the asker sees; `{id}/approve` and `{id}/refuse` take another person than who asked."""

    queryset = BudgetExtra.objects.filter(kind="top_up").select_related(
        "budget__lob", "requested_by", "decided_by"
    )
    serializer_class = TopUpSerializer
    write_roles = ("finance",)
    page_order = ("-at", "-pk")

    @extend_schema(request=EmptySerializer, responses={200: TopUpSerializer})
    @action(detail=True, methods=["post"])
    def approve(self, request: Any, pk: str = "") -> Response:
        extra = budgets.approve_top_up(extra=self.get_object(), user=request.user)
        return Response(self.get_serializer(extra).data)

    @extend_schema(request=EmptySerializer, responses={200: TopUpSerializer})
    @action(detail=True, methods=["post"])
    def refuse(self, request: Any, pk: str = "") -> Response:
        extra = budgets.refuse_top_up(extra=self.get_object(), user=request.user)
        return Response(self.get_serializer(extra).data)
