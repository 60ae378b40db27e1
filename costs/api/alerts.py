"""REST of alerts."""

from __future__ import annotations

from rest_framework import serializers

from costs.models import Alert
from switchyard.tenancy.api.base import ReadViewSet


class AlertSerializer(serializers.ModelSerializer):
    class Meta:
        model = Alert
        fields = ["id", "at", "kind", "lob", "subject", "message", "cause", "resolved_at"]


class AlertViewSet(ReadViewSet):
    """What money or routing wants a person to see, newest first."""

    queryset = Alert.objects.all()
    serializer_class = AlertSerializer
    page_order = ("-at", "-pk")
