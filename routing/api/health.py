"""REST of upstream health: breaker, rest, last look, last failure and share of the calls, of each deployment now."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.response import Response

from modelhub.models import Deployment
from routing.selectors.health import UpstreamHealth, upstream_health
from switchyard.tenancy.api.base import TenantViewSet, filters


class BreakerSerializer(serializers.Serializer):
    """`calls`, `failures`: everybody's of the last 30 s, for those alone who may see everybody's."""

    state = serializers.ChoiceField(choices=["closed", "open", "half_open", "unknown"])
    opens_for_s = serializers.FloatField()
    retry_after_s = serializers.FloatField(help_text="How long its server asked to be left alone still.")
    failures_in_a_row = serializers.IntegerField()
    calls = serializers.IntegerField(allow_null=True)
    failures = serializers.IntegerField(allow_null=True)


class LookSerializer(serializers.Serializer):
    at = serializers.DateTimeField()
    state = serializers.ChoiceField(choices=["alive", "slow", "dead"])
    why = serializers.CharField()
    ms = serializers.FloatField()


class UpstreamHealthSerializer(serializers.Serializer):
    """`calls`, `failures`, `share`: of the asker's own calls of the last five minutes; `failed_at` within fifteen."""

    deployment = serializers.CharField()
    side = serializers.CharField()
    enabled = serializers.BooleanField()
    breaker = BreakerSerializer()
    look = LookSerializer(allow_null=True)
    calls = serializers.IntegerField()
    failures = serializers.IntegerField()
    share = serializers.FloatField(allow_null=True)
    failed_at = serializers.DateTimeField(allow_null=True)
    failure = serializers.CharField()


class UpstreamHealthListSerializer(serializers.Serializer):
    results = UpstreamHealthSerializer(many=True)
    next = serializers.CharField(allow_null=True)


class UpstreamHealthViewSet(TenantViewSet):
    """Deployments of the asker's lines of business as they are now; `?lob=` narrows to one of them."""

    queryset = Deployment.objects.none()
    serializer_class = UpstreamHealthSerializer
    pagination_class = None  # type: ignore[assignment]

    @extend_schema(parameters=filters("lob"), responses={200: UpstreamHealthListSerializer})
    def list(self, request: Any) -> Response:
        lob = request.query_params.get("lob") or None
        if lob is not None:
            self.require_lob(lob)
        found = upstream_health(self.scope, lob=lob)
        return Response({"results": [as_json(row) for row in found], "next": None})


def as_json(row: UpstreamHealth) -> dict[str, Any]:
    breaker, look = row.breaker, row.look
    seen = breaker is not None and row.everybody
    return {
        "deployment": row.deployment.name, "side": row.deployment.side, "enabled": row.deployment.enabled,
        "breaker": {
            "state": row.state, "opens_for_s": round(breaker.opens_for_s, 1) if breaker else 0.0,
            "retry_after_s": round(breaker.rests_for_s, 1) if breaker else 0.0,
            "failures_in_a_row": breaker.failures_in_a_row if breaker and seen else 0,
            "calls": breaker.calls if breaker and seen else None, "failures": breaker.failures if breaker and seen else None,
        },
        "look": {"at": row.looked_at, "state": look["state"], "why": look["why"], "ms": look["ms"]} if look else None,
        "calls": row.calls, "failures": row.failures, "share": row.share, "failed_at": row.failed_at, "failure": row.failure,
    }  # fmt: skip
