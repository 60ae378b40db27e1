"""REST of what was learned: versions of fits, and a cascade's threshold on offer."""

from __future__ import annotations

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.response import Response

from routing.learning.models import RoutingFit
from routing.services.learned import learn, retire
from routing.services.learned_cascade import GOALS, cascade_threshold
from switchyard.tenancy.api.base import (
    EmptySerializer,
    ReadViewSet,
    ScopedSlugField,
    StrictForm,
    TenantViewSet,
    filters,
    find,
    narrowed_by,
)
from switchyard.tenancy.models import Workload

WRITERS = ("policy_author", "policy_approver", "model_engineer")


class RoutingFitSerializer(serializers.ModelSerializer):
    """What it reached and against what; the numbers themselves are of use to the gateway only."""

    class Meta:
        model = RoutingFit
        fields = [
            "id",
            "lob",
            "workload",
            "kind",
            "deployment",
            "model",
            "version",
            "state",
            "report",
            "n",
            "at",
        ]


class LearnSerializer(StrictForm):
    workload = ScopedSlugField(slug_field="name", queryset=Workload.objects.select_related("lob"))


class TaughtSerializer(serializers.Serializer):
    fits = RoutingFitSerializer(many=True)
    reasons = serializers.DictField(child=serializers.CharField())


class RoutingFitViewSet(ReadViewSet):
    """POST {"workload"} learns from its judged answers now; `{id}/retire` takes a fit out of use."""

    queryset = RoutingFit.objects.all()
    serializer_class = RoutingFitSerializer
    write_roles = WRITERS
    page_order = ("-at", "-pk")
    FILTERS = ("lob", "workload", "kind", "deployment", "state")

    def filter_queryset(self, queryset: Any) -> Any:
        return narrowed_by(queryset, self.request, self.FILTERS) if self.action == "list" else queryset

    @extend_schema(parameters=filters(*FILTERS))
    def list(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        return super().list(request, *args, **kwargs)

    @extend_schema(request=LearnSerializer, responses={201: TaughtSerializer})
    def create(self, request: Any) -> Response:
        """What was written, and why the rest wasn't. A fit that isn't better is kept and not used."""
        form = LearnSerializer(data=request.data, context=self.get_serializer_context())
        form.is_valid(raise_exception=True)
        taught = learn(workload=form.validated_data["workload"], user=request.user)
        fits = RoutingFitSerializer(taught.fits, many=True).data
        return Response({"fits": fits, "reasons": taught.reasons}, status=201)

    @extend_schema(request=EmptySerializer, responses={200: RoutingFitSerializer})
    @action(detail=True, methods=["post"])
    def retire(self, request: Any, pk: str = "") -> Response:
        return Response(self.get_serializer(retire(fit=self.get_object(), user=request.user)).data)


class CascadeSerializer(serializers.Serializer):
    """The threshold for a target, with what each threshold gets and costs."""

    workload = serializers.CharField()
    small = serializers.CharField()
    big = serializers.CharField()
    goal = serializers.ChoiceField(choices=GOALS)
    target = serializers.FloatField()
    n = serializers.IntegerField()
    threshold = serializers.FloatField(allow_null=True)
    route = serializers.CharField()
    chosen = serializers.DictField(child=serializers.FloatField(), allow_null=True)
    curve = serializers.ListField(child=serializers.DictField(child=serializers.FloatField()))
    on_unseen_rows = serializers.DictField()
    cost_nusd = serializers.DictField(child=serializers.FloatField(), allow_null=True)
    verdict = serializers.ChoiceField(choices=["pass", "fail", "not_enough_data"])


class CascadeNameSerializer(serializers.Serializer):
    """A workload that a threshold can be asked for."""

    workload = serializers.CharField()


class CascadeViewSet(TenantViewSet):
    """GET cascade-thresholds/{workload}?small=&big=&goal=accuracy|cost&target=."""

    queryset = Workload.objects.select_related("lob", "organisation")
    serializer_class = CascadeSerializer
    lookup_names = ("name",)
    page_order = ("name", "pk")

    @extend_schema(responses={200: CascadeNameSerializer(many=True)})
    def list(self, request: Any) -> Response:
        """Classification workloads: the only ones whose answers tell how sure they are."""
        rows = self.paginate_queryset(self.get_queryset().filter(task="classification"))
        return self.get_paginated_response([{"workload": row.name} for row in rows])

    @extend_schema(
        parameters=[
            OpenApiParameter("small", OpenApiTypes.STR, required=True), OpenApiParameter("big", OpenApiTypes.STR, required=True),
            OpenApiParameter("goal", OpenApiTypes.STR, enum=[*GOALS]), OpenApiParameter("target", OpenApiTypes.FLOAT),
        ],
        responses={200: CascadeSerializer},
    )  # fmt: skip
    def retrieve(self, request: Any, pk: str = "") -> Response:
        workload = find(self.get_queryset(), pk, self.lookup_names)
        query = request.query_params
        for name in ("small", "big"):
            if not query.get(name) or "\x00" in query[name]:
                raise serializers.ValidationError({name: "Name a deployment."})
        try:
            target = float(query["target"]) if query.get("target") else None
        except ValueError:
            raise serializers.ValidationError({"target": "A share such as 0.99."}) from None
        offer = cascade_threshold(
            workload=workload,
            small=query["small"],
            big=query["big"],
            goal=query.get("goal") or "accuracy",
            target=target,
        )
        return Response(offer.as_json())
