"""Shapes of what is asked about a deployment's own server: moves to another backend, launch specifications."""

from __future__ import annotations

from rest_framework import serializers

from modelhub.services.launching import DTYPES, ENGINES
from modelhub.serving.runtime import BACKENDS
from switchyard.tenancy.api.base import StrictForm


class MigrateForm(StrictForm):
    """{"backend", "agreement"?, "latency_ratio"?, "rows"?, "patience_s"?}: bounds that send the model back."""

    backend = serializers.ChoiceField(BACKENDS)
    agreement = serializers.FloatField(min_value=0.5, max_value=1, required=False)
    latency_ratio = serializers.FloatField(min_value=0.01, max_value=1000, required=False)
    rows = serializers.IntegerField(min_value=1, max_value=1_000_000, required=False)
    patience_s = serializers.FloatField(min_value=0, max_value=3600, required=False)


class LaunchForm(StrictForm):
    """How the weights are spread over devices; `redundant` experts are placed by measured load."""

    engine = serializers.ChoiceField(ENGINES)
    path = serializers.CharField(max_length=300, required=False)
    tensor_parallel = serializers.IntegerField(min_value=1, max_value=1024, required=False, default=1)
    data_parallel = serializers.IntegerField(min_value=1, max_value=1024, required=False, default=1)
    expert_parallel = serializers.BooleanField(required=False, default=False)
    redundant = serializers.IntegerField(min_value=0, max_value=4096, required=False)
    dtype = serializers.ChoiceField(DTYPES, required=False, default="auto")
    quantisation = serializers.CharField(max_length=40, required=False)
    max_model_len = serializers.IntegerField(min_value=1, required=False)
    memory_share = serializers.FloatField(min_value=0.05, max_value=0.99, required=False)
    max_lora_rank = serializers.IntegerField(min_value=1, max_value=1024, required=False)


class LaunchSpecSerializer(serializers.Serializer):
    """The command for a shell, a compose service, Helm values, what to mind, and files to lay beside."""

    engine = serializers.CharField()
    deployment = serializers.CharField()
    command = serializers.CharField()
    arguments = serializers.ListField(child=serializers.CharField())
    compose = serializers.CharField()
    helm = serializers.CharField()
    devices = serializers.IntegerField()
    notes = serializers.ListField(child=serializers.CharField())
    files = serializers.DictField(child=serializers.CharField())
