"""REST of bias: live monitors, and the signed evidence of an audit."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.response import Response

from modelhub.models import BiasAudit
from modelhub.services import evidence
from routing.models import BiasMonitor
from routing.selectors.bias import SMALLEST_CELL, shown
from routing.services.bias_evidence import evidence_of
from switchyard.tenancy.api.base import ReadViewSet, TenantViewSet, filters, narrowed_by


class BiasMonitorSerializer(serializers.ModelSerializer):
    """Rates and counts of fewer than twenty are null."""

    class Meta:
        model = BiasMonitor
        fields = [
            "id", "lob", "workload", "deployment", "model", "signal", "axis", "n", "rate", "rate_rest", "e_value", "looks",
            "began_at", "seen_at", "alarmed_at", "changed_at",
        ]  # fmt: skip

    def to_representation(self, instance: BiasMonitor) -> dict[str, Any]:
        told = super().to_representation(instance)
        told["n"] = shown(instance.n)
        if instance.n < SMALLEST_CELL:
            told["rate"] = told["rate_rest"] = None
        elif instance.n_rest < SMALLEST_CELL:
            told["rate_rest"] = None
        return told


class BiasMonitorViewSet(ReadViewSet):
    """Live evidence by line of business, model version, signal and kind of group that a text names."""

    queryset = BiasMonitor.objects.all()
    serializer_class = BiasMonitorSerializer
    page_order = ("lob", "workload", "pk")
    FILTERS = {"lob": "lob", "workload": "workload", "signal": "signal", "axis": "axis"}

    @extend_schema(parameters=filters(*FILTERS))
    def list(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        return super().list(request, *args, **kwargs)

    def filter_queryset(self, queryset: Any) -> Any:
        return narrowed_by(queryset, self.request, self.FILTERS) if self.action == "list" else queryset


class PackSerializer(serializers.Serializer):
    """What every pack says first; the rest is described in docs/howto/bias.md."""

    kind = serializers.CharField()
    audit = serializers.IntegerField()
    verdict = serializers.CharField()
    signature = serializers.DictField(child=serializers.CharField())


class BiasEvidenceViewSet(TenantViewSet):
    """GET bias-evidence/{audit}: the signed pack; `?as=html` for reading."""

    queryset = BiasAudit.objects.select_related("workload__lob")
    serializer_class = PackSerializer

    @extend_schema(
        parameters=[OpenApiParameter("as", OpenApiTypes.STR, enum=["json", "html"])], responses=PackSerializer
    )
    def retrieve(self, request: Any, pk: str = "") -> Any:
        body = evidence_of(self.get_object(), self.scope)
        if request.query_params.get("as") == "html":
            return HttpResponse(evidence.as_html(body), content_type="text/html; charset=utf-8")
        return Response(body)
