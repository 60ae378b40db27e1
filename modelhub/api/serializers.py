"""Shapes of deployments, model versions, data sets, evaluations and audits."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from costs.models import Node
from modelhub.models import BiasAudit, Dataset, Deployment, Evaluation, ModelVersion
from switchyard.tenancy.api.base import ScopedSlugField, StrictSerializer, request_scope
from switchyard.tenancy.models import LineOfBusiness, Workload


class NodeField(serializers.SlugRelatedField):
    """A node of the asker's organisation, by name."""

    def get_queryset(self) -> Any:
        request = self.context.get("request")
        return Node.objects.filter(
            organisation_id=request_scope(request).organisation_id if request else None
        )


class PricesSerializer(serializers.Serializer):
    """A first sheet, entered with a deployment; later ones go through /prices."""

    input_usd_per_mtok = serializers.DecimalField(
        max_digits=14, decimal_places=9, min_value=0, source="input"
    )
    output_usd_per_mtok = serializers.DecimalField(
        max_digits=14, decimal_places=9, min_value=0, source="output"
    )


class DeploymentSerializer(StrictSerializer):
    prices = PricesSerializer(write_only=True, required=False)
    api_key = serializers.CharField(write_only=True, required=False, allow_blank=True, max_length=500)
    tasks = serializers.ListField(child=serializers.ChoiceField(Workload.TASKS), allow_empty=False)
    lobs = ScopedSlugField(
        slug_field="slug", queryset=LineOfBusiness.objects.all(), many=True, required=False
    )
    node = NodeField(slug_field="name", queryset=Node.objects.all(), required=False, allow_null=True)

    class Meta:
        model = Deployment
        fields = [
            "id", "name", "side", "base_url", "api_key", "model", "tasks", "heads", "region", "lobs", "node",
            "max_output_tokens", "max_concurrency", "enabled", "note", "prices", "created_at",
        ]  # fmt: skip
        read_only_fields = ["id", "created_at"]


class VersionSerializer(serializers.ModelSerializer):
    deployment = serializers.SlugRelatedField(slug_field="name", read_only=True)
    workload = serializers.SlugRelatedField(slug_field="name", read_only=True)

    class Meta:
        model = ModelVersion
        fields = [
            "id", "deployment", "workload", "version", "upstream_model", "stage", "digest", "lineage", "metrics",
            "created_at", "promoted_at",
        ]  # fmt: skip


class DatasetSerializer(serializers.ModelSerializer):
    lob = serializers.SlugRelatedField(slug_field="slug", read_only=True)
    workload = serializers.SlugRelatedField(slug_field="name", read_only=True)

    class Meta:
        model = Dataset
        fields = ["id", "name", "lob", "workload", "digest", "rows", "labels", "report", "created_at"]


class EvaluationSerializer(serializers.ModelSerializer):
    deployment = serializers.SlugRelatedField(slug_field="name", read_only=True)
    workload = serializers.SlugRelatedField(slug_field="name", read_only=True)

    class Meta:
        model = Evaluation
        fields = [
            "id", "workload", "deployment", "version", "job_id", "at", "split", "metric", "value", "low", "high", "n",
            "correct", "correct_low", "correct_high", "p50_ms", "verdict", "detail", "device",
        ]  # fmt: skip


class AuditSerializer(serializers.ModelSerializer):
    workload = serializers.SlugRelatedField(slug_field="name", read_only=True)

    class Meta:
        model = BiasAudit
        fields = ["id", "workload", "teacher", "student", "job_id", "at", "verdict", "report", "device"]
