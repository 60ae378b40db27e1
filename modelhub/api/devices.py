"""REST of devices: what this installation computes on, and which implementation is chosen for each operator."""

from __future__ import annotations

from typing import Any

from django.http import Http404
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.response import Response

from modelhub.models import Deployment
from modelhub.selectors.devices import ANY, BOTH, SAME, known_backends, measured_devices
from switchyard.tenancy.api.base import TenantViewSet


class OperatorCandidateSerializer(serializers.Serializer):
    operator = serializers.CharField()
    shape = serializers.CharField(help_text="Shape bucket: batch dimensions rounded up to a power of two.")
    implementation = serializers.CharField()
    device = serializers.CharField()
    dtype = serializers.CharField()
    chosen = serializers.ChoiceField(choices=["", SAME, ANY, BOTH])
    ms = serializers.FloatField(allow_null=True)
    sigma_ms = serializers.FloatField(allow_null=True)
    times = serializers.FloatField(allow_null=True, help_text="As long as the float32 choice.")
    error = serializers.FloatField(allow_null=True)
    allowed = serializers.FloatField()
    fused = serializers.BooleanField()
    version = serializers.CharField()
    date = serializers.CharField()
    note = serializers.CharField()


class BackendSerializer(serializers.Serializer):
    name = serializers.CharField()
    device = serializers.CharField()
    present = serializers.BooleanField()
    detail = serializers.CharField()
    version = serializers.CharField()
    implementations = serializers.IntegerField()


class DeviceSerializer(serializers.Serializer):
    id = serializers.CharField()
    profile = serializers.DictField()


class DeviceDetailSerializer(DeviceSerializer):
    candidates = OperatorCandidateSerializer(many=True)
    backends = BackendSerializer(many=True)


class DeviceListSerializer(serializers.Serializer):
    results = DeviceSerializer(many=True)
    next = serializers.CharField(allow_null=True)


class DeviceViewSet(TenantViewSet):
    """Devices measured by `manage.py hal tune`. Hardware belongs to no line of business: every member reads it."""

    queryset = Deployment.objects.none()
    serializer_class = DeviceSerializer

    @extend_schema(responses=DeviceListSerializer)
    def list(self, request: Any) -> Response:
        found = [{"id": device.id, "profile": device.profile} for device in measured_devices()]
        return Response({"results": found, "next": None})

    @extend_schema(
        parameters=[OpenApiParameter("id", str, OpenApiParameter.PATH)], responses=DeviceDetailSerializer
    )
    def retrieve(self, request: Any, pk: str = "") -> Response:
        for device in measured_devices():
            if device.id == pk:
                return Response(device.as_dict() | {"backends": known_backends()})
        raise Http404
