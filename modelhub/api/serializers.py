"""Shapes of deployments, model versions, data sets, evaluations and audits."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from costs.api.price_fields import TermsForm
from costs.models import Node
from modelhub.models import BiasAudit, Dataset, Deployment, Evaluation, ModelVersion
from modelhub.services.upstream_headers import checked_headers
from switchyard.core.addresses import check_url
from switchyard.core.conf import conf
from switchyard.core.errors import InvalidRequest
from switchyard.tenancy.api.base import ScopedSlugField, StrictForm, StrictSerializer, request_scope
from switchyard.tenancy.models import LineOfBusiness, Workload


class NodeField(serializers.SlugRelatedField):
    """A node of the asker's organisation, by name."""

    def get_queryset(self) -> Any:
        request = self.context.get("request")
        return Node.objects.filter(
            organisation_id=request_scope(request).organisation_id if request else None
        )


class PricesSerializer(TermsForm):
    """A sheet that is in force from now on, entered with a deployment; dated ones go through /prices."""

    source = serializers.CharField(max_length=300, required=False)


class DeploymentSerializer(StrictSerializer):
    """`prices` reads as the sheet in force, or null: then an external deployment gets no traffic."""

    prices = PricesSerializer(required=False, allow_null=True)
    api_key = serializers.CharField(write_only=True, required=False, allow_blank=True, max_length=500)
    headers = serializers.DictField(
        child=serializers.CharField(max_length=4000), write_only=True, required=False,
        help_text="Beside the key, or in its place: kept encrypted, never read. {} takes them away.",
    )  # fmt: skip
    header_names = serializers.SerializerMethodField(help_text="Names of the headers that are kept.")
    capabilities = serializers.JSONField(
        read_only=True, help_text="What the last probe found, with warnings."
    )
    tasks = serializers.ListField(child=serializers.ChoiceField(Workload.TASKS), allow_empty=False)
    lobs = ScopedSlugField(
        slug_field="slug", queryset=LineOfBusiness.objects.all(), many=True, required=False
    )
    node = NodeField(slug_field="name", queryset=Node.objects.all(), required=False, allow_null=True)

    class Meta:
        model = Deployment
        fields = [
            "id", "name", "side", "base_url", "api_key", "headers", "header_names", "model", "tasks", "heads", "region",
            "lobs", "node", "max_output_tokens", "max_concurrency", "enabled", "note", "prices", "capabilities",
            "created_at",
        ]  # fmt: skip
        read_only_fields = ["id", "capabilities", "created_at"]
        fixed = ["name", "side"]
        extra_kwargs = {
            "max_output_tokens": {"min_value": 1, "max_value": 1_000_000},
            "max_concurrency": {"min_value": 1, "max_value": 100_000},
        }

    def validate_base_url(self, url: str) -> str:
        try:
            check_url(url, conf("UPSTREAM_CIDRS"))
        except ValueError as error:
            raise serializers.ValidationError(str(error)) from None
        return url.rstrip("/")

    def validate_headers(self, headers: dict[str, str]) -> dict[str, str]:
        try:
            return checked_headers(headers)
        except InvalidRequest as error:
            raise serializers.ValidationError(error.message) from None

    def get_header_names(self, row: Deployment) -> list[str]:
        return sorted(row.headers)

    def validate_lobs(self, lobs: list[LineOfBusiness]) -> list[LineOfBusiness]:
        if not lobs and request_scope(self.context["request"]).lob_ids is not None:
            raise serializers.ValidationError("Name lines of business: your own role is limited to some.")
        return lobs

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        side = attrs.get("side") or getattr(self.instance, "side", "")
        if side == "private" and attrs.get("prices"):
            raise serializers.ValidationError({"prices": "A private deployment is priced by its node."})
        if self.instance is None and "lobs" not in attrs:
            self.validate_lobs([])
        return attrs

    def to_representation(self, row: Deployment) -> dict[str, Any]:
        """Of the lines of business only those that the asker may know of."""
        row.prices = self.context["sheets"].of(row.name) if row.side == "external" else None  # type: ignore[attr-defined]
        out = super().to_representation(row)
        scope = request_scope(self.context["request"])
        return out | {"lobs": [slug for slug in out["lobs"] if scope.allows_lob(slug)]}


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
        fields = [
            "id", "name", "lob", "workload", "format", "digest", "rows", "labels", "sensitivity", "report", "created_at",
            "expires_at",
        ]  # fmt: skip


class EvaluationSerializer(serializers.ModelSerializer):
    deployment = serializers.SlugRelatedField(slug_field="name", read_only=True)
    workload = serializers.SlugRelatedField(slug_field="name", read_only=True)

    class Meta:
        model = Evaluation
        fields = [
            "id", "workload", "deployment", "version", "job_id", "at", "split", "metric", "value", "low", "high", "n",
            "correct", "correct_low", "correct_high", "p50_ms", "verdict", "detail", "device",
        ]  # fmt: skip

    def to_representation(self, instance: Evaluation) -> dict[str, Any]:
        """Without the sheet of single answers: thousands of bytes that only cascades read."""
        told = super().to_representation(instance)
        told["detail"] = {name: value for name, value in told["detail"].items() if name != "answers"}
        return told


class AuditSerializer(serializers.ModelSerializer):
    workload = serializers.SlugRelatedField(slug_field="name", read_only=True)

    class Meta:
        model = BiasAudit
        fields = ["id", "workload", "teacher", "student", "job_id", "at", "verdict", "report", "device"]


class UploadSerializer(StrictForm):
    workload = ScopedSlugField(slug_field="name", queryset=Workload.objects.all())
    file = serializers.FileField(allow_empty_file=True)
    name = serializers.CharField(max_length=200, required=False)


class ReasonSerializer(StrictForm):
    reason = serializers.CharField(max_length=300, required=False, allow_blank=True, default="")


class StartEvaluation(StrictForm):
    workload = ScopedSlugField(slug_field="name", queryset=Workload.objects.all())
    deployment = ScopedSlugField(slug_field="name", queryset=Deployment.objects.all())
    version = serializers.CharField(required=False, default="", allow_blank=True, max_length=63)
    limit = serializers.IntegerField(
        min_value=1, max_value=1_000_000, required=False, default=None, allow_null=True
    )


class StartAudit(StrictForm):
    """Student against teacher; both are deployments by name. `student_version` need not be live."""

    workload = ScopedSlugField(slug_field="name", queryset=Workload.objects.all())
    teacher = ScopedSlugField(slug_field="name", queryset=Deployment.objects.all(), required=False)
    student = ScopedSlugField(slug_field="name", queryset=Deployment.objects.all(), required=False)
    student_version = serializers.CharField(required=False, allow_blank=True, max_length=63, default="")
    limit = serializers.IntegerField(
        min_value=1, max_value=1_000_000, required=False, default=None, allow_null=True
    )
