"""Shapes of decisions and the review list; policies have a file of their own."""

from __future__ import annotations

from rest_framework import serializers

from costs.api.fields import UsdField
from routing.models import DecisionRecord, Interception
from switchyard.tenancy.api.base import StrictForm


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


class ReviewSerializer(StrictForm):
    state = serializers.ChoiceField(choices=["confirmed", "released"])
