"""Shapes of policies, decisions and the review list."""

from __future__ import annotations

from rest_framework import serializers

from costs.api.fields import UsdField
from routing.models import DecisionRecord, Interception, Policy
from switchyard.tenancy.api.base import ScopedSlugField, StrictSerializer
from switchyard.tenancy.models import LineOfBusiness


class PolicySerializer(StrictSerializer):
    lob = ScopedSlugField(
        slug_field="slug", queryset=LineOfBusiness.objects.all(), allow_null=True, required=False
    )
    document = serializers.CharField(max_length=200_000, trim_whitespace=False)

    class Meta:
        model = Policy
        fields = [
            "id", "lob", "version", "document", "hash", "state", "percent", "report", "note", "created_at", "published_at",
        ]  # fmt: skip
        read_only_fields = [
            "id",
            "version",
            "hash",
            "state",
            "percent",
            "report",
            "created_at",
            "published_at",
        ]


class DecisionSerializer(serializers.ModelSerializer):
    """A decision as it is listed; the detail view adds facts, trace, candidates and attempts."""

    cost_usd = UsdField(source="cost_nusd", read_only=True)
    other_side_cost_usd = UsdField(source="other_side_cost_nusd", read_only=True, allow_null=True)

    class Meta:
        model = DecisionRecord
        fields = [
            "id", "request_id", "at", "lob", "application", "workload", "endpoint", "sensitivity", "side", "deployment",
            "model", "policy_version", "status", "error_code", "cost_usd", "other_side_cost_usd", "latency_ms",
            "overhead_ms", "answers", "guard_verdict", "origin",
        ]  # fmt: skip


class InterceptionSerializer(serializers.ModelSerializer):
    class Meta:
        model = Interception
        fields = [
            "id", "decision_id", "lob", "workload", "at", "kind", "score", "threshold", "mode", "withheld", "spans",
            "text", "state", "reviewed_by", "reviewed_at",
        ]  # fmt: skip


class PublishSerializer(serializers.Serializer):
    percent = serializers.IntegerField(min_value=1, max_value=100, default=100)
