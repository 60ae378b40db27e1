"""REST of the activation log: `activations` are the sums as stored, `experts/<model>` is what they say."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from django.http import Http404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.response import Response

from modelhub.ml.activation.placement import vllm_settings
from modelhub.models import ExpertActivation
from modelhub.models.activation import SOURCES
from modelhub.selectors.experts import MOST_DEVICES, MOST_REPLICAS, ExpertUse, expert_use, models_logged
from switchyard.core.clock import now
from switchyard.tenancy.api.base import ReadViewSet, TenantViewSet, filters, narrowed_by


class ActivationSerializer(serializers.ModelSerializer):
    counts = serializers.SerializerMethodField(help_text="(layers, experts): tokens each expert saw.")

    class Meta:
        model = ExpertActivation
        fields = [
            "id",
            "model",
            "source",
            "lob",
            "head",
            "label",
            "day",
            "layers",
            "experts",
            "requests",
            "tokens",
            "counts",
        ]

    def get_counts(self, row: ExpertActivation) -> list[list[int]]:
        return row.counts.tolist()


class ActivationViewSet(ReadViewSet):
    """Expert counts by model, line of business, label and day."""

    queryset = ExpertActivation.objects.all()
    serializer_class = ActivationSerializer
    page_order = ("-day", "pk")
    FILTERS = {"model": "model", "lob": "lob", "head": "head", "source": "source"}

    @extend_schema(parameters=filters(*FILTERS))
    def list(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        return super().list(request, *args, **kwargs)

    def filter_queryset(self, queryset: Any) -> Any:
        return narrowed_by(queryset, self.request, self.FILTERS) if self.action == "list" else queryset


class ExpertQuery(serializers.Serializer):
    """`from` and `to` are days, both included; the last 14 when left out."""

    lob = serializers.SlugField(required=False)
    source = serializers.ChoiceField(choices=SOURCES, default="serving")
    devices = serializers.IntegerField(min_value=1, max_value=MOST_DEVICES, default=2)
    redundant = serializers.IntegerField(min_value=0, max_value=MOST_REPLICAS, default=0)

    def get_fields(self) -> dict[str, Any]:
        return super().get_fields() | {
            "from": serializers.DateField(required=False),
            "to": serializers.DateField(required=False),
        }


class ExpertsViewSet(TenantViewSet):
    """Hot and cold experts, who uses which, what to prune, and where to place them."""

    queryset = ExpertActivation.objects.all()
    serializer_class = ExpertQuery

    @extend_schema(operation_id="experts_models", responses=OpenApiTypes.OBJECT)
    def list(self, request: Any) -> Response:
        """Models of which the asker may see counts."""
        return Response({"results": [{"model": name} for name in models_logged(self.scope)], "next": None})

    @extend_schema(
        parameters=[OpenApiParameter("id", str, OpenApiParameter.PATH), ExpertQuery],
        responses=OpenApiTypes.OBJECT,
    )
    def retrieve(self, request: Any, pk: str = "") -> Response:
        query = ExpertQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        asked = query.validated_data
        if asked.get("lob"):
            self.require_lob(asked["lob"])
        end = asked.get("to") or now().date()
        start = asked.get("from") or end - timedelta(days=13)
        use = expert_use(
            scope=self.scope, model=pk, start=start, end=end, lob=asked.get("lob"), source=asked["source"]
        )
        if use is None:
            raise Http404
        try:
            return Response(summary(use, start, end, asked["devices"], asked["redundant"]))
        except ValueError as error:
            raise serializers.ValidationError({"redundant": str(error)}) from None


def summary(use: ExpertUse, start: date, end: date, devices: int, redundant: int) -> dict[str, Any]:
    """What REST and the command say of a model. Raises ValueError when the placement's slots don't divide."""
    plans = use.placement(devices, redundant)
    return {
        "model": use.model, "source": use.source, "from": start, "to": end, "requests": use.requests, "tokens": use.tokens,
        "counts": use.total.tolist(),
        "layers": [
            {"layer": one.layer, "hot": one.hot, "cold": one.cold, "imbalance": one.imbalance, "effective_experts": one.effective}
            for one in use.loads
        ],
        "lobs": [
            {"lob": lob, "hot": [[one.layer, expert] for one in loads for expert in one.hot], "counts": use.by_lob[lob].tolist()}
            for lob, loads in use.hot_by_lob().items()
        ],
        "divergence_bits": [{"first": a, "second": b, "bits": bits} for a, b, bits in use.divergences()],
        "suggestions": [
            {"kind": s.kind, "layer": s.layer, "experts": s.experts, "lost_share": s.lost_share, "reason": s.reason}
            for s in use.suggestions()
        ],
        "placement": [
            {"layer": plan.layer, "devices": plan.devices, "replicas": plan.replicas,
             "imbalance_before": plan.imbalance_before, "imbalance_after": plan.imbalance_after}
            for plan in plans
        ],
        "vllm": vllm_settings(plans),
    }  # fmt: skip
