"""Shapes of jobs."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from switchyard.core.money import format_usd
from switchyard.jobs.models import Job, JobEvent


class JobSerializer(serializers.ModelSerializer):
    lob = serializers.SlugRelatedField(slug_field="slug", read_only=True)
    created_by = serializers.SlugRelatedField(slug_field="username", read_only=True)
    cost_usd = serializers.SerializerMethodField()
    estimated_usd = serializers.SerializerMethodField()
    reserved_usd = serializers.SerializerMethodField()

    class Meta:
        model = Job
        fields = [
            "id", "kind", "queue", "lob", "state", "progress", "message", "params", "result", "error", "error_code", "device",
            "node", "attempt", "eta", "marks", "cost_usd", "estimated_usd", "reserved_usd", "created_by", "created_at",
            "started_at", "finished_at",
        ]  # fmt: skip

    @extend_schema_field({"type": "string", "format": "decimal"})
    def get_cost_usd(self, job: Job) -> str:
        return format_usd(job.cost_nusd)

    @extend_schema_field({"type": "string", "format": "decimal"})
    def get_reserved_usd(self, job: Job) -> str:
        return format_usd(job.reserved_nusd)

    @extend_schema_field({"type": ["string", "null"], "format": "decimal"})
    def get_estimated_usd(self, job: Job) -> str | None:
        return None if job.estimated_nusd is None else format_usd(job.estimated_nusd)


class JobEventSerializer(serializers.ModelSerializer):
    class Meta:
        model = JobEvent
        fields = ["id", "at", "level", "message", "data"]


class JobEventListSerializer(serializers.Serializer):
    results = JobEventSerializer(many=True)
    next = serializers.CharField(allow_null=True)


class JobStartedSerializer(serializers.Serializer):
    """The answer to what takes long: 202 with the job that does it."""

    job = serializers.CharField(help_text="GET /api/v1/jobs/{id}")
