"""REST of exports: FOCUS rows as a streamed CSV, statements as JSON or CSV."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.http import Http404, HttpResponse, StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.response import Response

from costs.api.base import KnownQuery, parse_time
from costs.books.fiscal import month_end, month_start, parse_month
from costs.exports.charges import Line
from costs.exports.focus import Export, focus_csv
from costs.exports.focus_columns import VERSIONS
from costs.exports.statement_csv import statement_csv
from costs.exports.statements import BASES, Statement, statement
from costs.models import LedgerEntry
from switchyard.core.clock import now
from switchyard.core.money import format_usd
from switchyard.core.sending import streamed
from switchyard.tenancy.api.base import TenantViewSet

LONGEST = timedelta(days=400)
TEXT = OpenApiTypes.STR
CSV = OpenApiResponse(OpenApiTypes.BINARY, description="text/csv, streamed")


class StatementLineSerializer(serializers.Serializer):
    section = serializers.CharField()
    what = serializers.CharField()
    application = serializers.CharField()
    workload = serializers.CharField()
    model = serializers.CharField()
    side = serializers.CharField()
    purpose = serializers.CharField()
    quantity = serializers.CharField(allow_null=True)
    unit = serializers.CharField()
    unit_price_usd = serializers.CharField(allow_null=True)
    amount_usd = serializers.CharField()
    note = serializers.CharField()


class StatementSerializer(serializers.Serializer):
    lob = serializers.CharField()
    month = serializers.CharField()
    basis = serializers.ChoiceField(BASES)
    opening_usd = serializers.CharField()
    lines = StatementLineSerializer(many=True)
    total_usd = serializers.CharField()
    closing_usd = serializers.CharField()


class ExportViewSet(KnownQuery, TenantViewSet):
    """`exports/focus` and `exports/statement`: of what the asker may see, and nothing else."""

    queryset = LedgerEntry.objects.none()
    serializer_class = StatementSerializer
    pagination_class = None  # type: ignore[assignment]
    takes = {"focus": ("from", "to", "lob", "version"), "statement": ("lob", "month", "basis", "as")}

    @extend_schema(responses={200: OpenApiTypes.OBJECT})
    def list(self, request: Any) -> Response:
        return Response({"results": [{"name": "focus"}, {"name": "statement"}], "next": None})

    @extend_schema(
        parameters=[*(OpenApiParameter(n, TEXT) for n in ("from", "to", "lob")),
                    OpenApiParameter("version", TEXT, enum=VERSIONS)],
        responses={(200, "text/csv"): CSV},
    )  # fmt: skip
    @action(detail=False, methods=["get"], url_path="focus")
    def focus(self, request: Any) -> StreamingHttpResponse:
        """Whole days (UTC); `version` is 1.2 or 1.4."""
        query = request.query_params
        end = parse_time("to", query.get("to"), now())
        start = parse_time("from", query.get("from"), month_start(min(end, now())))
        if start > end or end - start > LONGEST:
            raise serializers.ValidationError({"from": "The period ends after it begins, within 400 days."})
        version = query.get("version") or VERSIONS[0]
        if version not in VERSIONS:
            raise serializers.ValidationError({"version": f"One of {', '.join(VERSIONS)}."})
        export = Export(self.scope, start, end, self._lob(query), version)
        response = StreamingHttpResponse(
            streamed(focus_csv(export), request), content_type="text/csv; charset=utf-8"
        )
        response["Content-Disposition"] = f'attachment; filename="focus-{version}.csv"'
        return response

    @extend_schema(
        parameters=[OpenApiParameter("lob", TEXT, required=True), OpenApiParameter("month", TEXT),
                    OpenApiParameter("basis", TEXT, enum=BASES), OpenApiParameter("as", TEXT, enum=["json", "csv"])],
        responses={200: StatementSerializer},
    )  # fmt: skip
    @action(detail=False, methods=["get"], url_path="statement")
    def statement(self, request: Any) -> Response | HttpResponse:
        """A month (YYYY-MM, this one when left out) of a line of business; `?as=csv` gives the file."""
        query = request.query_params
        lob, basis = self._lob(query), query.get("basis") or BASES[0]
        if lob is None:
            raise serializers.ValidationError({"lob": "Name the line of business."})
        if basis not in BASES:
            raise serializers.ValidationError({"basis": f"One of {', '.join(BASES)}."})
        try:
            month = parse_month(query["month"]) if query.get("month") else month_start(now())
            month_end(month)
        except (ValueError, OverflowError) as error:
            raise serializers.ValidationError({"month": str(error)}) from None
        organisation_id = self.scope.organisation_id
        if organisation_id is None:
            raise Http404
        made = statement(organisation_id=organisation_id, lob=lob, month=month, basis=basis)
        if query.get("as") == "csv":
            return HttpResponse(statement_csv(made), content_type="text/csv; charset=utf-8")
        return Response(as_json(made))

    def _lob(self, query: Any) -> str | None:
        lob = query.get("lob") or None
        if lob is not None:
            self.require_lob(lob)
        return lob


def as_json(made: Statement) -> dict[str, Any]:
    return {
        "lob": made.lob, "month": f"{made.start:%Y-%m}", "basis": made.basis, "opening_usd": format_usd(made.opening_nusd),
        "lines": [_line(line) for line in made.lines], "total_usd": format_usd(made.total_nusd),
        "closing_usd": format_usd(made.closing_nusd),
    }  # fmt: skip


def _line(line: Line) -> dict[str, Any]:
    price, quantity = line.unit_price_usd, line.quantity
    names = ("section", "what", "application", "workload", "model", "side", "purpose", "unit", "note")
    return {name: getattr(line, name) for name in names} | {
        "quantity": None if quantity is None else f"{quantity.normalize():f}",
        "unit_price_usd": None if price is None else f"{price.normalize():f}", "amount_usd": format_usd(line.amount_nusd),
    }  # fmt: skip
