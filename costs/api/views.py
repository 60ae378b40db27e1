"""REST of money: nodes, prices, budgets, ledger, alerts, reports."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import transaction
from django.http import Http404
from django.utils.dateparse import parse_date, parse_datetime
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.response import Response

from costs import reports
from costs.api.serializers import (
    AlertSerializer,
    BudgetSerializer,
    LedgerSerializer,
    NodeSerializer,
    PriceChange,
    PriceSerializer,
    ReportNameSerializer,
    ReportSerializer,
    lob_of_scope,
)
from costs.models import Alert, Budget, LedgerEntry, Node, Price
from switchyard.core.clock import now
from switchyard.core.errors import Conflict
from switchyard.core.money import format_usd
from switchyard.tenancy.api.base import ReadViewSet, TenantViewSet, filters, narrowed_by
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


EARLIEST, LATEST = datetime(1970, 1, 2, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)


class OrganisationRows:
    """Rows of the organisation as a whole: no line of business owns them, everybody in it may read them."""

    def get_queryset(self) -> Any:
        return self.queryset._chain().filter(organisation_id=self.scope.organisation_id)  # type: ignore[attr-defined]

    def extra(self) -> dict[str, Any]:
        self.require_whole_organisation()  # type: ignore[attr-defined]
        return {"organisation_id": self.scope.organisation_id}  # type: ignore[attr-defined]


class NodeViewSet(OrganisationRows, ConfigViewSet):
    """Machines of the private side and what they cost. Changing one takes a role in the whole organisation."""

    queryset = Node.objects.all()
    serializer_class = NodeSerializer
    lookup_names = ("name",)
    write_roles = ("finance", "operator")
    page_order = ("name", "pk")
    kind = "node"

    def perform_update(self, serializer: Any) -> None:
        self.require_whole_organisation()
        super().perform_update(serializer)

    def perform_destroy(self, row: Node) -> None:
        self.require_whole_organisation()
        super().perform_destroy(row)


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


class LedgerViewSet(ReadViewSet):
    """Append-only transfers, newest first; `?lob=` and `?request_id=` narrow."""

    queryset = LedgerEntry.objects.all()
    serializer_class = LedgerSerializer
    read_roles = ("finance", "viewer", "operator")
    page_order = ("-id",)

    def filter_queryset(self, queryset: Any) -> Any:
        narrow = self.action == "list"
        return narrowed_by(queryset, self.request, ("lob", "request_id")) if narrow else queryset

    @extend_schema(parameters=filters("lob", "request_id"))
    def list(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        return super().list(request, *args, **kwargs)


class AlertViewSet(ReadViewSet):
    """What money or routing wants a person to see, newest first."""

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
    found = found if found.tzinfo else found.replace(tzinfo=UTC)
    if not EARLIEST <= found <= LATEST:  # beyond them, a time zone's difference has no date
        raise serializers.ValidationError({name: f"{raw!r} lies outside of the years 1970 to 9000."})
    return found


class ReportViewSet(TenantViewSet):
    """`reports/<name>?from&to&group&lob&tz`: rows with a key each, totals beside."""

    queryset = LedgerEntry.objects.none()
    serializer_class = ReportNameSerializer

    def list(self, request: Any) -> Response:
        return Response({"results": [{"name": name} for name in REPORTS], "next": None})

    @extend_schema(
        parameters=[
            OpenApiParameter("id", OpenApiTypes.STR, OpenApiParameter.PATH, enum=sorted(REPORTS)),
            *(OpenApiParameter(n, OpenApiTypes.STR) for n in ("from", "to", "group", "lob", "tz")),
        ],
        responses={200: ReportSerializer},
    )
    def retrieve(self, request: Any, pk: str = "") -> Response:
        if pk not in REPORTS:
            raise Http404
        query = request.query_params
        end = parse_time("to", query.get("to"), now())
        start = parse_time("from", query.get("from"), end - timedelta(days=30))
        if start > end:
            raise serializers.ValidationError({"from": "The period ends before it begins."})
        lob = query.get("lob") or None
        if lob:
            self.require_lob(lob)
        try:
            report = REPORTS[pk](
                scope=self.scope,
                start=start,
                end=end,
                group=query.get("group") or ("workload" if pk == "counterfactual" else "lob"),
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
