"""Shapes of fine-tunes: a job, how long its rows took to a canary, and what one may be asked for."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from modelhub.models import Dataset, Deployment
from modelhub.selectors.tuned import lead_time
from modelhub.services.fine_tuning import LEAST_RATE, METHODS, MOST_BATCH, MOST_RATE
from switchyard.jobs.models import Job
from switchyard.jobs.serializers import JobSerializer
from switchyard.tenancy.api.base import ScopedSlugField, StrictForm


class LeadStepSerializer(serializers.Serializer):
    step = serializers.CharField()
    at = serializers.DateTimeField(allow_null=True)
    seconds = serializers.FloatField(allow_null=True, help_text="Since the step before.")


class LeadTimeSerializer(serializers.Serializer):
    """From rows to canary."""

    steps = LeadStepSerializer(many=True)
    total_seconds = serializers.FloatField(allow_null=True)
    complete = serializers.BooleanField(help_text="Whether a canary has begun.")


class FineTuneSerializer(JobSerializer):
    """One fine-tune with its lead time; lists leave that out."""

    lead_time = serializers.SerializerMethodField()

    class Meta(JobSerializer.Meta):
        fields = [*JobSerializer.Meta.fields, "lead_time"]

    @extend_schema_field(LeadTimeSerializer)
    def get_lead_time(self, job: Job) -> Any:
        return LeadTimeSerializer(lead_time(job)).data


class AutoOr(serializers.Field):
    """`auto`, or a number."""

    def __init__(self, number: serializers.Field, **kwargs: Any) -> None:
        super().__init__(**{"required": False, "default": "auto"} | kwargs)
        self.number = number

    def to_internal_value(self, data: Any) -> Any:
        return "auto" if data == "auto" else self.number.run_validation(data)

    def to_representation(self, value: Any) -> Any:
        return value


@extend_schema_field({"oneOf": [{"const": "auto"}, {"type": "integer", "minimum": 1}], "default": "auto"})
class AutoOrWhole(AutoOr):
    """`auto` or a whole number."""


@extend_schema_field({"oneOf": [{"const": "auto"}, {"type": "number"}], "default": "auto"})
class AutoOrShare(AutoOr):
    """`auto` or a number."""


class StartFineTune(StrictForm):
    """`method`: a LoRA adapter on the shared trunk, a plugin expert, or the head alone."""

    dataset = ScopedSlugField(slug_field="id", queryset=Dataset.objects.all())
    deployment = ScopedSlugField(slug_field="name", queryset=Deployment.objects.all())
    epochs = serializers.RegexField(r"^(auto|[1-9]\d{0,2})$", required=False, default="auto")
    seed = serializers.IntegerField(min_value=0, max_value=2**31 - 1, required=False, default=0)
    method = serializers.ChoiceField(METHODS, required=False, default="lora")
    batch_size = AutoOrWhole(serializers.IntegerField(min_value=1, max_value=MOST_BATCH))
    learning_rate_multiplier = AutoOrShare(serializers.FloatField(min_value=LEAST_RATE, max_value=MOST_RATE))
    suffix = serializers.CharField(max_length=40, required=False, default="", allow_blank=True)
    validation_dataset = ScopedSlugField(
        slug_field="id", queryset=Dataset.objects.all(), required=False, default=None, allow_null=True
    )
