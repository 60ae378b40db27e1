"""Shapes of jobs."""

from __future__ import annotations

from rest_framework import serializers

from switchyard.jobs.models import Job, JobEvent


class JobSerializer(serializers.ModelSerializer):
    lob = serializers.SlugRelatedField(slug_field="slug", read_only=True)
    created_by = serializers.SlugRelatedField(slug_field="username", read_only=True)

    class Meta:
        model = Job
        fields = [
            "id", "kind", "queue", "lob", "state", "progress", "message", "params", "result", "error", "device", "attempt",
            "cost_nusd", "created_by", "created_at", "started_at", "finished_at",
        ]  # fmt: skip


class JobEventSerializer(serializers.ModelSerializer):
    class Meta:
        model = JobEvent
        fields = ["id", "at", "level", "message", "data"]
