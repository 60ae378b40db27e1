"""REST of money: nodes, prices, budgets, ledger, alerts, reports."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django.http import Http404
from django.utils.dateparse import parse_date, parse_datetime
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import mixins, serializers
from rest_framework.response import Response

from costs import reports
from costs.api.serializers import (
    AlertSerializer,
    BudgetSerializer,
    LedgerSerializer,
    NodeSerializer,
    PriceSerializer,
    lob_of_scope,
)
from costs.models import Alert, Budget, LedgerEntry, Node, Price
from switchyard.core.clock import now
from switchyard.core.money import format_usd
from switchyard.tenancy.api.base import ReadViewSet, TenantViewSet
from switchyard.tenancy.api.views import ConfigViewSet

REPORTS = {
    "spend": reports.spend,
    "accuracy": reports.accuracy,
    "cost-per-correct": reports.cost_per_correct,
    "counterfactual": reports.counterfactual,
    "node-bill": reports.node_bill,
    "share": reports.share,
    "trial-balance": reports.trial_balance,
}


class OrganisationRows:
    """Rows of the organisation as a whole: no line of business owns them, everybody in it may read them."""

    def get_queryset(self) -> Any:
        return self.queryset._chain().filter(organisation_id=self.scope.organisation_id)  # type: ignore[attr-defined]

    def extra(self) -> dict[str, Any]:
        self.require_whole_organisation()  # type: ignore[attr-defined]
        return {"organisation_id": self.scope.organisation_id}  # type: ignore[attr-defined]


class NodeViewSet(OrganisationRows, ConfigViewSet):
    queryset = Node.objects.all()
    serializer_class = NodeSerializer
    lookup_names = ("name",)
    write_roles = ("finance", "operator")
    page_order = ("name", "pk")
    kind = "node"


class PriceViewSet(OrganisationRows, ConfigViewSet):
    """Dated sheets. A new one closes the open one before it; what was in force is never edited."""

    queryset = Price.objects.all()
    serializer_class = PriceSerializer
    write_roles = ("finance",)
    http_method_names = ["get", "post", "head", "options"]
    page_order = ("deployment", "-valid_from")
    kind = "price"

    def perform_create(self, serializer: Any) -> None:
        values = serializer.validated_data
        Price.objects.filter(
            organisation_id=self.scope.organisation_id, deployment=values["deployment"], valid_to__isnull=True,
            valid_from__lt=values["valid_from"],
        ).update(valid_to=values["valid_from"])  # fmt: skip
        super().perform_create(serializer)


class BudgetViewSet(ConfigViewSet):
    queryset = Budget.objects.select_related("lob")
    serializer_class = BudgetSerializer
    lookup_names = ("scope",)
    write_roles = ("finance",)
    page_order = ("scope", "pk")
    kind = "budget"

    def perform_create(self, serializer: Any) -> None:
        lob = lob_of_scope(self.scope, serializer.validated_data["scope"])
        serializer.validated_data.update(lob=lob, organisation_id=self.scope.organisation_id)
        super().perform_create(serializer)


class LedgerViewSet(ReadViewSet):
    """Append-only transfers, newest first; `?lob=` and `?request_id=` narrow."""

    queryset = LedgerEntry.objects.all()
    serializer_class = LedgerSerializer
    read_roles = ("finance", "viewer", "operator")
    page_order = ("-id",)

    def get_queryset(self) -> Any:
        rows = super().get_queryset()
        for name in ("lob", "request_id"):
            value = (
                self.request.query_params.get(name) if not getattr(self, "swagger_fake_view", False) else None
            )
            if value:
                rows = rows.filter(**{name: value})
        return rows


class AlertViewSet(mixins.ListModelMixin, TenantViewSet):
    queryset = Alert.objects.all()
    serializer_class = AlertSerializer
    page_order = ("-at", "-pk")


def parse_time(name: str, raw: str | None, default: datetime) -> datetime:
    """A date or an ISO time of the query string; without zone it is UTC."""
    if not raw:
        return default
    raw = raw.replace(" ", "+")  # a plus sign that travelled unescaped
    try:
        found = parse_datetime(raw)
        if found is None and (day := parse_date(raw)) is not None:
            found = datetime(day.year, day.month, day.day)
    except ValueError:
        found = None
    if found is None:
        raise serializers.ValidationError({name: f"{raw!r} is not a date or an ISO time."})
    return found if found.tzinfo else found.replace(tzinfo=UTC)


class ReportViewSet(TenantViewSet):
    """`reports/<name>?from&to&group&lob&tz`: rows with a key each, totals beside."""

    queryset = LedgerEntry.objects.none()
    serializer_class = serializers.Serializer

    def list(self, request: Any) -> Response:
        return Response({"results": [{"name": name} for name in REPORTS], "next": None})

    @extend_schema(
        parameters=[
            OpenApiParameter("id", OpenApiTypes.STR, OpenApiParameter.PATH, enum=sorted(REPORTS)),
            *(OpenApiParameter(n, OpenApiTypes.STR) for n in ("from", "to", "group", "lob", "tz")),
        ],
        responses={200: OpenApiTypes.OBJECT},
    )
    def retrieve(self, request: Any, pk: str = "") -> Response:
        if pk not in REPORTS:
            raise Http404
        query = request.query_params
        end = parse_time("to", query.get("to"), now())
        start = parse_time("from", query.get("from"), end - timedelta(days=30))
        lob = query.get("lob") or None
        if lob:
            self.require_lob(lob)
        try:
            report = REPORTS[pk](
                scope=self.scope,
                start=start,
                end=end,
                group=query.get("group") or "lob",
                lob=lob,
                tz=query.get("tz") or "UTC",
            )
        except ValueError as error:
            raise serializers.ValidationError({"group": str(error)}) from None
        return Response(as_json(report))


def as_json(report: reports.Report) -> dict[str, Any]:
    """Nano-dollars become decimal strings under the same name with `_usd`."""
    totals = _dollars(report.totals)
    body = {
        "name": report.name,
        "as_of": report.as_of,
        "rows": [_dollars(r) for r in report.rows],
        "totals": totals,
    }
    if "cost_usd" in totals:
        body["total_usd"] = totals["cost_usd"]
    return body


def _dollars(row: dict[str, Any]) -> dict[str, Any]:
    """`cost_nusd` → `cost_usd`, `nusd_per_correct` → `usd_per_correct`; the ends of an interval follow it."""
    out: dict[str, Any] = {}
    priced = "nusd_per_correct" in row
    for name, value in row.items():
        money = "nusd" in name or (priced and name in ("low", "high"))
        if money and value is not None:
            out[name.replace("nusd", "usd")] = format_usd(round(value))
        else:
            out[name.replace("nusd", "usd")] = value
    return out
