"""Shapes of rollouts being watched and of shadows."""

from __future__ import annotations

from rest_framework import serializers

from switchyard.tenancy.api.base import StrictForm


class GuardFigureSerializer(serializers.Serializer):
    metric = serializers.CharField()
    n = serializers.IntegerField()
    new = serializers.FloatField(allow_null=True)
    old = serializers.FloatField(allow_null=True)
    evidence = serializers.FloatField()
    needed = serializers.FloatField()


class RolloutSerializer(serializers.Serializer):
    """The newest watch of a version; `alone`: held against the version before it rather than beside the rest."""

    state = serializers.CharField()
    percent = serializers.IntegerField()
    since = serializers.CharField()
    looked_at = serializers.CharField(allow_null=True)
    ended_at = serializers.CharField(allow_null=True)
    reason = serializers.CharField(allow_blank=True)
    previous = serializers.CharField(allow_null=True)
    alone = serializers.BooleanField()
    metrics = GuardFigureSerializer(many=True)


class ShadowingSerializer(StrictForm):
    on = serializers.BooleanField()


class ShadowRowSerializer(serializers.Serializer):
    workload = serializers.CharField(allow_blank=True)
    live = serializers.CharField(allow_blank=True)
    shadow = serializers.CharField(allow_blank=True)
    requests = serializers.IntegerField()
    crossings = serializers.IntegerField()
    change_usd = serializers.CharField()


class ShadowSerializer(serializers.Serializer):
    state = serializers.CharField()
    results = ShadowRowSerializer(many=True)
