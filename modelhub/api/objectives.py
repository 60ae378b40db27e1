"""REST of accuracy objectives: what share of a workload's judged answers should be right, and what rests because it isn't."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers
from rest_framework.response import Response

from modelhub.models import AccuracyBurn, AccuracyObjective
from modelhub.services.objectives import budget_left, drop_objective, set_objective
from switchyard.tenancy.api.base import ReadViewSet, ScopedSlugField, StrictForm
from switchyard.tenancy.models import Workload


class BurnSerializer(serializers.ModelSerializer):
    deployment = serializers.SlugRelatedField(slug_field="name", read_only=True)
    state = serializers.CharField(read_only=True, help_text="burning, probing or recovered")

    class Meta:
        model = AccuracyBurn
        fields = [
            "deployment",
            "state",
            "share",
            "accuracy",
            "judged",
            "cause",
            "began_at",
            "changed_at",
            "ended_at",
        ]


class ObjectiveSerializer(serializers.ModelSerializer):
    workload = serializers.SlugRelatedField(slug_field="name", read_only=True)
    burns = BurnSerializer(many=True, read_only=True)
    budget_left = serializers.SerializerMethodField(
        help_text="Share of the window's error budget; null before feedback."
    )

    class Meta:
        model = AccuracyObjective
        fields = [
            "id",
            "workload",
            "target",
            "window_days",
            "created_by",
            "created_at",
            "budget_left",
            "burns",
        ]

    def get_budget_left(self, row: AccuracyObjective) -> float | None:
        return budget_left(row)[0]


class SetObjective(StrictForm):
    workload = ScopedSlugField(slug_field="name", queryset=Workload.objects.all())
    target = serializers.FloatField(min_value=0.01, max_value=0.9999)
    window_days = serializers.IntegerField(min_value=1, max_value=366, required=False, default=28)


class ObjectiveViewSet(mixins.DestroyModelMixin, ReadViewSet):
    """POST sets a workload's objective, DELETE removes it; traffic follows within seconds."""

    queryset = AccuracyObjective.objects.select_related("workload__lob").prefetch_related("burns__deployment")
    serializer_class = ObjectiveSerializer
    write_roles = ("model_engineer", "risk", "operator")
    lookup_names = ("workload__name",)

    @extend_schema(request=SetObjective, responses={201: ObjectiveSerializer})
    def create(self, request: Any) -> Response:
        form = SetObjective(data=request.data, context=self.get_serializer_context())
        form.is_valid(raise_exception=True)
        row = set_objective(user=request.user, **form.validated_data)
        return Response(self.get_serializer(row).data, status=201)

    def perform_destroy(self, row: AccuracyObjective) -> None:
        drop_objective(objective=row, user=self.request.user)
