"""Shapes of policies, their trials, differences, what-ifs, approvals and history."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from routing.approvals.models import PolicyApproval
from routing.approvals.services import is_stale
from routing.models import Policy
from switchyard.tenancy.api.base import ScopedSlugField, StrictForm, StrictSerializer
from switchyard.tenancy.models import LineOfBusiness


def _lob() -> ScopedSlugField:
    return ScopedSlugField(
        slug_field="slug", queryset=LineOfBusiness.objects.all(), allow_null=True, required=False
    )


class PolicySerializer(StrictSerializer):
    lob = _lob()
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


class PublishSerializer(StrictForm):
    """`expected`: id of the version seen live, "" for none; another one live meanwhile is 409 `live_changed`."""

    percent = serializers.IntegerField(min_value=1, max_value=100, default=100)
    expected = serializers.CharField(required=False, allow_blank=True, max_length=40)


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
    masked = serializers.BooleanField(required=False)


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
    chance = serializers.FloatField(required=False, allow_null=True)
    judged_by = serializers.CharField(
        required=False, help_text="Where the choice is learned: prompt, evaluation or nothing."
    )
    rows = serializers.IntegerField(required=False, allow_null=True)
    threshold = serializers.FloatField(required=False, allow_null=True)


class OneDecisionSerializer(serializers.Serializer):
    """No hops = refused, with the reason in `refusal`."""

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
    guards = serializers.ListField(child=serializers.CharField())
    mask = serializers.BooleanField()
    cache = serializers.DictField(allow_null=True)
    max_cost_usd = serializers.CharField(allow_null=True)
    learned = serializers.BooleanField(
        help_text="Chosen by each prompt's own chances: candidates tell theirs."
    )


class TriedSerializer(OneDecisionSerializer):
    """A decision that nobody sent a request for; `live`: what the versions now live decide for the same."""

    live = OneDecisionSerializer()


class RuleDetailSerializer(serializers.Serializer):
    field = serializers.CharField()
    old = serializers.CharField(allow_blank=True)
    new = serializers.CharField(allow_blank=True)


class RuleChangeSerializer(serializers.Serializer):
    """One rule, invariant or the default. `kinds`: added | removed | renamed | moved | changed; places count from 1."""

    part = serializers.CharField()
    kinds = serializers.ListField(child=serializers.CharField())
    name = serializers.CharField()
    old_name = serializers.CharField(allow_blank=True)
    old_place = serializers.IntegerField(allow_null=True)
    new_place = serializers.IntegerField(allow_null=True)
    details = RuleDetailSerializer(many=True)


class DiffSerializer(serializers.Serializer):
    against = serializers.CharField()
    policy = serializers.CharField()
    diff = serializers.ListField(child=serializers.CharField())
    rules = RuleChangeSerializer(many=True)


class FactSerializer(serializers.Serializer):
    """`in`: where it may be tested."""

    name = serializers.CharField()
    type = serializers.CharField()
    meaning = serializers.CharField()
    values = serializers.ListField(allow_null=True)
    example = serializers.CharField(allow_blank=True)

    def get_fields(self) -> dict[str, Any]:
        """`in` is a word of Python's."""
        return {**super().get_fields(), "in": serializers.CharField()}


class FactListSerializer(serializers.Serializer):
    results = FactSerializer(many=True)
    next = serializers.CharField(allow_null=True)


class CheckSerializer(StrictForm):
    """A document as it is being written; `lob` left out = the organisation's."""

    lob = _lob()
    document = serializers.CharField(max_length=1_000_000, trim_whitespace=False, allow_blank=True)


class TryDraftSerializer(CheckSerializer):
    facts = serializers.DictField(required=False)
    request = TryRequestSerializer(required=False)


class PolicySuggestionSerializer(serializers.Serializer):
    """Replace the characters `start` up to `end` of the document by `text`."""

    start = serializers.IntegerField()
    end = serializers.IntegerField()
    text = serializers.CharField()


class PolicyFaultSerializer(serializers.Serializer):
    path = serializers.CharField(allow_blank=True)
    line = serializers.IntegerField(allow_null=True)
    column = serializers.IntegerField(allow_null=True)
    message = serializers.CharField()
    counter_example = serializers.DictField(required=False)
    suggestion = PolicySuggestionSerializer(required=False)


class HopVerdictSerializer(serializers.Serializer):
    """What becomes of one invariant at one hop. `verdict`: proven (no request comes there against it), held (`example` would, and
    the gateway stops it there), broken (the document asks for it), unused (nothing is done at this hop)."""

    invariant = serializers.CharField()
    hop = serializers.CharField()
    verdict = serializers.CharField()
    cases = serializers.IntegerField()
    example = serializers.DictField(allow_null=True)


class VerdictSerializer(serializers.Serializer):
    holds = serializers.BooleanField()
    faults = PolicyFaultSerializer(many=True)
    left_out = serializers.IntegerField()
    rules = serializers.IntegerField()
    invariants = serializers.ListField(child=serializers.CharField())
    cases = serializers.IntegerField()
    warnings = serializers.ListField(child=serializers.CharField())
    hops = HopVerdictSerializer(many=True)


class AskSerializer(StrictForm):
    note = serializers.CharField(max_length=500, allow_blank=True, default="")


class DecideSerializer(StrictForm):
    reason = serializers.CharField(max_length=500, allow_blank=True, default="")


class SendBackSerializer(StrictForm):
    reason = serializers.CharField(max_length=500)


class ApprovalSerializer(serializers.ModelSerializer):
    """`stale`: what was proven may no longer hold, so that it can only be sent back. `evidence`: as it was when asked."""

    requested_by = serializers.CharField(source="requested_by.username", read_only=True, default=None)
    decided_by = serializers.CharField(source="decided_by.username", read_only=True, default=None)
    lob = serializers.CharField(source="policy.lob.slug", read_only=True, default=None)
    version = serializers.IntegerField(source="policy.version", read_only=True)
    stale = serializers.SerializerMethodField()

    class Meta:
        model = PolicyApproval
        fields = [
            "id", "policy", "lob", "version", "state", "stale", "note", "requested_by", "requested_at", "reason", "decided_by",
            "decided_at", "evidence",
        ]  # fmt: skip
        read_only_fields = fields

    def get_stale(self, row: PolicyApproval) -> bool:
        return row.state in ("requested", "approved") and is_stale(row)


class WhatIfSerializer(StrictForm):
    days = serializers.IntegerField(min_value=1, max_value=90, default=7)
    against = serializers.CharField(required=False, max_length=40)


class QueuedSerializer(serializers.Serializer):
    job = serializers.CharField()
    what_if = serializers.CharField()


class WhatIfResultSerializer(serializers.Serializer):
    """`report` is null while its job runs; its shape: docs/howto/policies.md."""

    id = serializers.CharField()
    job = serializers.CharField(allow_blank=True)
    days = serializers.IntegerField()
    against = serializers.CharField(allow_null=True)
    state = serializers.CharField()
    created_at = serializers.DateTimeField()
    report = serializers.DictField(allow_null=True)
    truth = serializers.DictField(allow_null=True)


class HistoryEntrySerializer(serializers.Serializer):
    at = serializers.CharField()
    actor = serializers.CharField()
    action = serializers.CharField()
    policy = serializers.CharField()
    version = serializers.IntegerField(allow_null=True)
    detail = serializers.DictField()


class HistorySerializer(serializers.Serializer):
    results = HistoryEntrySerializer(many=True)
    next = serializers.CharField(allow_null=True)
