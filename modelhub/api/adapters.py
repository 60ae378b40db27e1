"""REST of fine-tuned models: which there are, what each has of its own, what they share, which are nearly the same."""

from __future__ import annotations

from typing import Any

from django.http import Http404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.response import Response

from modelhub.models import ModelVersion
from modelhub.selectors.fragmentation import Family, Pair, Tuned, fragmentation
from switchyard.tenancy.api.base import TenantViewSet


class AdapterSerializer(serializers.Serializer):
    """A fine-tuned version; `own_bytes` are head and adapter, what the trunk has is everybody's."""

    id = serializers.IntegerField(source="version.pk")
    name = serializers.CharField()
    workload = serializers.CharField(source="version.workload.name")
    lob = serializers.CharField(source="version.workload.lob.slug")
    stage = serializers.CharField(source="version.stage")
    base = serializers.CharField()
    method = serializers.CharField()
    head_bytes = serializers.IntegerField()
    adapter_bytes = serializers.IntegerField()
    own_bytes = serializers.IntegerField()
    shape = serializers.JSONField()


class AdapterViewSet(TenantViewSet):
    """Fine-tuned models that the asker may see."""

    queryset = ModelVersion.objects.all()
    serializer_class = AdapterSerializer

    @extend_schema(operation_id="adapters_list", responses=OpenApiTypes.OBJECT)
    def list(self, request: Any) -> Response:
        """Every adapter, and per base model what is shared and which pairs could be one."""
        families = [] if self.drawing else fragmentation(self.scope)
        rows = [AdapterSerializer(tuned).data for family in families for tuned in family.members]
        return Response({"results": rows, "next": None, "shared": [_family(family) for family in families]})

    @extend_schema(
        parameters=[OpenApiParameter("id", str, OpenApiParameter.PATH)], responses=OpenApiTypes.OBJECT
    )
    def retrieve(self, request: Any, pk: str = "") -> Response:
        """One adapter, by its version's id or its name, with those that are nearly the same."""
        for family in fragmentation(self.scope):
            for tuned in family.members:
                if pk in (str(tuned.version.pk), tuned.name):
                    alike = [pair for pair in family.alike if tuned in (pair.first, pair.second)]
                    return Response(
                        AdapterSerializer(tuned).data | {"alike": [_pair(pair) for pair in alike]}
                    )
        raise Http404


def _family(family: Family) -> dict[str, Any]:
    return {
        "base": family.base, "models": len(family.members), "shared_bytes": family.shared_bytes, "own_bytes": family.own_bytes,
        "shared_share": round(family.shared_share, 4), "saved_bytes": family.saved_bytes,
        "alike": [_pair(pair) for pair in family.alike],
    }  # fmt: skip


def _pair(pair: Pair) -> dict[str, Any]:
    def told(tuned: Tuned) -> dict[str, Any]:
        return {"id": tuned.version.pk, "name": tuned.name, "lob": tuned.version.workload.lob.slug}

    return {"first": told(pair.first), "second": told(pair.second), "cosine": pair.cosine}
