"""REST of reports."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.http import Http404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.response import Response

from costs.api.base import KnownQuery, parse_time, refuse_unknown
from costs.models import LedgerEntry
from costs.reports import Report
from costs.reports.base import zone_of
from costs.reports.catalogue import CATALOGUE
from switchyard.core.clock import now
from switchyard.core.money import format_usd
from switchyard.tenancy.api.base import TenantViewSet

SHARED = ("from", "to", "group", "lob", "tz")


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


class ReportViewSet(KnownQuery, TenantViewSet):
    """`reports/<name>?from&to&group&lob&tz`: rows with a key each, totals beside."""

    queryset = LedgerEntry.objects.none()
    serializer_class = ReportNameSerializer
    takes = {"retrieve": {*SHARED, *(name for entry in CATALOGUE.values() for name in entry.parameters)}}

    def list(self, request: Any) -> Response:
        return Response({"results": [{"name": name} for name in CATALOGUE], "next": None})

    @extend_schema(
        parameters=[
            OpenApiParameter("id", OpenApiTypes.STR, OpenApiParameter.PATH, enum=sorted(CATALOGUE)),
            *(OpenApiParameter(n, OpenApiTypes.STR) for n in SHARED),
        ],
        responses={200: ReportSerializer},
    )
    def retrieve(self, request: Any, pk: str = "") -> Response:
        if pk not in CATALOGUE:
            raise Http404
        query, entry = request.query_params, CATALOGUE[pk]
        refuse_unknown(query, {*SHARED, *entry.parameters}, "report")
        end = parse_time("to", query.get("to"), now())
        start = parse_time("from", query.get("from"), end - timedelta(days=30))
        if start > end:
            raise serializers.ValidationError({"from": "The period ends before it begins."})
        lob = query.get("lob") or None
        if lob:
            self.require_lob(lob)
        tz = query.get("tz") or "UTC"
        try:
            zone_of(tz)
        except ValueError as error:
            raise serializers.ValidationError({"tz": str(error)}) from None
        try:
            own = {n: read(query[n]) for n, read in entry.parameters.items() if query.get(n)}
        except ValueError as error:
            raise serializers.ValidationError({"query": str(error)}) from None
        try:
            report = entry.function(
                scope=self.scope,
                start=start,
                end=end,
                group=query.get("group") or entry.group,
                lob=lob,
                tz=tz,
                **own,
            )
        except ValueError as error:
            raise serializers.ValidationError({"group": str(error)}) from None
        return Response(as_json(report))


def as_json(report: Report) -> dict[str, Any]:
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
    """`cost_nusd` → `cost_usd`, `nusd_per_correct` → `usd_per_correct`, down into lists and objects; the ends of an
    interval follow what they are of."""
    out: dict[str, Any] = {}
    priced = "nusd_per_correct" in row
    for name, value in row.items():
        money = "nusd" in name or (priced and name in ("low", "high"))
        out[name.replace("nusd", "usd")] = _plain(value, money)
    return out


def _plain(value: Any, money: bool) -> Any:
    if isinstance(value, dict):
        if money:
            return {key: _plain(inner, True) for key, inner in value.items()}
        return _dollars(value)
    if isinstance(value, list | tuple):
        return [_plain(inner, money) for inner in value]
    return format_usd(round(value)) if money and value is not None else value
