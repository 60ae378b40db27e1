"""REST of experiments: start one, read its figures, cancel it."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.response import Response

from modelhub.models import Dataset, Experiment, ExperimentArm
from modelhub.services.experiment_actions import cancel_experiment, retry_experiment
from modelhub.services.experiments import options_for, start_experiment
from switchyard.tenancy.api.base import (
    EmptySerializer,
    ReadViewSet,
    ScopedSlugField,
    StrictForm,
    filters,
    narrowed_by,
)
from switchyard.tenancy.models import Workload


class ArmSerializer(serializers.ModelSerializer):
    deployment = serializers.SlugRelatedField(slug_field="name", read_only=True)
    version = serializers.IntegerField(source="version_id", read_only=True, allow_null=True)

    class Meta:
        model = ExperimentArm
        fields = ["place", "method", "deployment", "version", "job_id", "error", "figures"]


class ExperimentSerializer(serializers.ModelSerializer):
    workload = serializers.SlugRelatedField(slug_field="name", read_only=True)
    dataset = serializers.CharField(source="dataset_id", read_only=True, allow_null=True)
    golden = serializers.IntegerField(source="golden_id", read_only=True, allow_null=True)
    state = serializers.CharField(read_only=True, help_text="training, measuring, done, failed or cancelled")
    arms = ArmSerializer(many=True, read_only=True)

    class Meta:
        model = Experiment
        fields = [
            "id", "name", "workload", "dataset", "golden", "state", "job_id", "result", "error", "created_by", "created_at",
            "finished_at", "arms",
        ]  # fmt: skip


class StartExperiment(StrictForm):
    workload = ScopedSlugField(slug_field="name", queryset=Workload.objects.all())
    dataset = ScopedSlugField(
        slug_field="id", queryset=Dataset.objects.all(), required=False, allow_null=True, default=None
    )
    arms = serializers.ListField(
        child=serializers.CharField(max_length=80),
        min_length=2,
        max_length=8,
        help_text='Such as "head:private-sparse".',
    )
    name = serializers.CharField(max_length=200, required=False, allow_blank=True, default="")


class OptionSerializer(serializers.Serializer):
    key = serializers.CharField()
    method = serializers.CharField()
    deployment = serializers.CharField()
    side = serializers.CharField()
    trains = serializers.BooleanField()


class OptionListSerializer(serializers.Serializer):
    results = OptionSerializer(many=True)
    next = serializers.CharField(allow_null=True)


class ExperimentViewSet(ReadViewSet):
    """Several ways to answer a workload on the same golden rows, side by side; two deployments compared is one, too."""

    queryset = Experiment.objects.select_related("workload__lob").prefetch_related("arms__deployment")
    serializer_class = ExperimentSerializer
    write_roles = ("model_engineer",)
    page_order = ("-created_at", "pk")

    @extend_schema(parameters=filters("workload", "state"))
    def list(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        return super().list(request, *args, **kwargs)

    def filter_queryset(self, queryset: Any) -> Any:
        names = {"workload": "workload__name", "state": "state"}
        return narrowed_by(queryset, self.request, names) if self.action == "list" else queryset

    @extend_schema(request=StartExperiment, responses={201: ExperimentSerializer})
    def create(self, request: Any) -> Response:
        form = StartExperiment(data=request.data, context=self.get_serializer_context())
        form.is_valid(raise_exception=True)
        experiment = start_experiment(user=request.user, **form.validated_data)
        return Response(self.get_serializer(experiment).data, status=201)

    @extend_schema(request=EmptySerializer)
    @action(detail=True, methods=["post"])
    def cancel(self, request: Any, pk: str = "") -> Response:
        row = cancel_experiment(experiment=self.get_object(), user=request.user)
        return Response(self.get_serializer(row).data)

    @extend_schema(request=EmptySerializer)
    @action(detail=True, methods=["post"])
    def retry(self, request: Any, pk: str = "") -> Response:
        """Jobs that didn't succeed run again, then all ways are measured: what was trained is kept."""
        row = retry_experiment(experiment=self.get_object(), user=request.user)
        return Response(self.get_serializer(row).data)

    @extend_schema(parameters=filters("workload"), responses={200: OptionListSerializer})
    @action(detail=False, methods=["get"])
    def options(self, request: Any) -> Response:
        """`?workload=`: the ways that can be tried for it."""
        form = _Named(data=request.query_params, context=self.get_serializer_context())
        form.is_valid(raise_exception=True)
        found = options_for(form.validated_data["workload"])
        return Response({"results": OptionSerializer(found, many=True).data, "next": None})


class _Named(StrictForm):
    workload = ScopedSlugField(slug_field="name", queryset=Workload.objects.all())
