"""REST of batches: how far each is, what it cost, what was refused and why, the files that came out; and cancelling one."""

from __future__ import annotations

from typing import Any

from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.response import Response

from modelhub.batch_work import FILES, READERS, BatchRow
from switchyard.core.money import format_usd
from switchyard.core.sending import streamed
from switchyard.gateway.batches.book import Book, row_of
from switchyard.gateway.models import Batch
from switchyard.tenancy.api.base import EmptySerializer, ReadViewSet, filters, narrowed_by

LINES = OpenApiResponse(OpenApiTypes.BINARY, description="application/jsonl, streamed")


class GatewayBatchSerializer(serializers.ModelSerializer):
    """`errors`: why it failed as a whole; single lines are under `line-errors`. `files`: which of output and error there are."""

    lob = serializers.SlugRelatedField(slug_field="slug", read_only=True)
    progress = serializers.SerializerMethodField()
    cost_usd = serializers.SerializerMethodField()
    held_usd = serializers.SerializerMethodField()
    files = serializers.SerializerMethodField()
    ended_at = serializers.SerializerMethodField()

    class Meta:
        model = Batch
        fields = [
            "id", "lob", "application", "endpoint", "status", "total", "completed", "failed", "progress", "cost_usd", "held_usd",
            "errors", "files", "job", "created_at", "expires_at", "ended_at",
        ]  # fmt: skip

    @extend_schema_field({"type": "number", "minimum": 0, "maximum": 1})
    def get_progress(self, batch: Batch) -> float:
        return self._row(batch).done

    @extend_schema_field({"type": "string", "format": "decimal"})
    def get_cost_usd(self, batch: Batch) -> str:
        return format_usd(batch.cost_nusd)

    @extend_schema_field({"type": "string", "format": "decimal"})
    def get_held_usd(self, batch: Batch) -> str:
        return format_usd(self._row(batch).held_nusd)

    @extend_schema_field({"type": "array", "items": {"type": "string", "enum": list(FILES)}})
    def get_files(self, batch: Batch) -> list[str]:
        return list(self._row(batch).files)

    @extend_schema_field({"type": ["string", "null"], "format": "date-time"})
    def get_ended_at(self, batch: Batch) -> Any:
        return self._row(batch).ended_at

    def _row(self, batch: Batch) -> BatchRow:
        return row_of(batch)


class LineErrorSerializer(serializers.Serializer):
    custom_id = serializers.CharField()
    status = serializers.IntegerField(allow_null=True, help_text="HTTP; null: nobody asked the line.")
    code = serializers.CharField()
    message = serializers.CharField()


class LineErrorsSerializer(serializers.Serializer):
    results = LineErrorSerializer(many=True)
    next = serializers.CharField(allow_null=True)


class BatchViewSet(ReadViewSet):
    """Batches of /v1 of the lines of business that the asker may see. What their lines say takes a role there."""

    queryset = Batch.objects.select_related("lob", "job")
    serializer_class = GatewayBatchSerializer
    write_roles = READERS
    read_roles: tuple[str, ...] | None = None
    page_order = ("-created_at", "pk")
    FILTERS = {"lob": "lob__slug", "status": "status"}
    keeper = Book()

    @extend_schema(parameters=filters(*FILTERS))
    def list(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        return super().list(request, *args, **kwargs)

    def filter_queryset(self, queryset: Any) -> Any:
        return narrowed_by(queryset, self.request, self.FILTERS) if self.action == "list" else queryset

    @extend_schema(request=EmptySerializer, responses={200: GatewayBatchSerializer})
    @action(detail=True, methods=["post"])
    def cancel(self, request: Any, pk: str = "") -> Response:
        """One that waits ends at once, one that runs within seconds; what was answered stays, and is paid for."""
        self.keeper.cancel(self.scope, pk, request.user)
        return Response(self.get_serializer(self.get_object()).data)

    @extend_schema(responses={200: LineErrorsSerializer})
    @action(detail=True, methods=["get"], url_path="line-errors", read_roles=READERS)
    def line_errors(self, request: Any, pk: str = "") -> Response:
        """The first 200 lines that were refused, while it runs too."""
        found = self.keeper.line_errors(self.scope, pk)
        return Response({"results": LineErrorSerializer(found, many=True).data, "next": None})

    @extend_schema(
        parameters=[OpenApiParameter("which", str, enum=FILES)],
        responses={(200, "application/jsonl"): LINES},
    )
    @action(detail=True, methods=["get"], read_roles=READERS)
    def results(self, request: Any, pk: str = "") -> StreamingHttpResponse:
        """The file of answers (`which=output`, the default) or of refused lines (`error`); the audit log says who read it."""
        which = request.query_params.get("which") or "output"
        if which not in FILES:
            raise serializers.ValidationError({"which": f"One of {', '.join(FILES)}."})
        pieces = self.keeper.pieces(self.scope, pk, which, request.user)
        response = StreamingHttpResponse(
            streamed(pieces, request), content_type="application/jsonl; charset=utf-8"
        )
        response["Content-Disposition"] = f'attachment; filename="{pk}_{which}.jsonl"'
        response["X-Content-Type-Options"] = "nosniff"
        return response
