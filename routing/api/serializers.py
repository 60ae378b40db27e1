"""Shapes of policies, decisions and the review list."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from costs.api.fields import UsdField
from routing.models import DecisionRecord, Interception, Policy
from switchyard.tenancy.api.base import ScopedSlugField, StrictForm, StrictSerializer
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
        validators: list[Any] = []  # the service numbers versions; a left out lob is the organisation


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


class PublishSerializer(StrictForm):
    percent = serializers.IntegerField(min_value=1, max_value=100, default=100)


class ReviewSerializer(StrictForm):
    state = serializers.ChoiceField(choices=["confirmed", "released"])


class TryRequestSerializer(serializers.Serializer):
    endpoint = serializers.CharField(help_text="As on /v1: chat/completions, classifications, …")
    body = serializers.DictField()
    lob = serializers.CharField(help_text="Whose key would send it.")


class TrySerializer(serializers.Serializer):
    """One of the two. Facts are nested and may be few; GET policies/facts lists them."""

    facts = serializers.DictField(required=False)
    request = TryRequestSerializer(required=False)


class HopSerializer(serializers.Serializer):
    deployment = serializers.CharField()
    side = serializers.CharField()
    hop = serializers.CharField()
    worst_case_usd = serializers.CharField()
    until = serializers.FloatField(allow_null=True)


class TraceSerializer(serializers.Serializer):
    rule = serializers.CharField()
    matched = serializers.BooleanField()
    reason = serializers.CharField()


class CandidateSerializer(serializers.Serializer):
    deployment = serializers.CharField()
    side = serializers.CharField()
    eligible = serializers.BooleanField()
    reasons = serializers.ListField(child=serializers.CharField())
    cost_usd = serializers.CharField(allow_null=True)


class TriedSerializer(serializers.Serializer):
    """A decision that nobody sent a request for. No hops = refused, with the reason in `refusal`."""

    deployment = serializers.CharField(allow_blank=True)
    route = serializers.CharField(allow_blank=True)
    rule = serializers.CharField()
    refusal = serializers.CharField(allow_blank=True)
    hops = HopSerializer(many=True)
    shadows = serializers.ListField(child=serializers.CharField())
    trace = TraceSerializer(many=True)
    candidates = CandidateSerializer(many=True)
    policy = serializers.DictField()
    facts = serializers.DictField()


class DiffSerializer(serializers.Serializer):
    against = serializers.CharField()
    policy = serializers.CharField()
    diff = serializers.ListField(child=serializers.CharField())


class FactSerializer(serializers.Serializer):
    name = serializers.CharField()
    type = serializers.CharField()
    meaning = serializers.CharField()
    values = serializers.ListField(allow_null=True)


class FactListSerializer(serializers.Serializer):
    results = FactSerializer(many=True)
    next = serializers.CharField(allow_null=True)
