"""REST of budgets."""

from __future__ import annotations

import zoneinfo
from typing import Any

from rest_framework import serializers

from costs.api.fields import UsdField
from costs.models import Budget
from switchyard.tenancy.api.base import StrictSerializer, request_scope
from switchyard.tenancy.api.views import ConfigViewSet
from switchyard.tenancy.models import ApiKey, Application, LineOfBusiness


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


class BudgetViewSet(ConfigViewSet):
    """Budgets, by the scope they bind: a line of business, an application, a key, the organisation."""

    queryset = Budget.objects.select_related("lob")
    serializer_class = BudgetSerializer
    lookup_names = ("scope",)
    write_roles = ("finance",)
    page_order = ("scope", "pk")
    kind, names_it = "budget", "scope"

    def perform_create(self, serializer: Any) -> None:
        lob = lob_of_scope(self.scope, serializer.validated_data["scope"])
        serializer.validated_data.update(lob=lob, organisation_id=self.scope.organisation_id)
        super().perform_create(serializer)
