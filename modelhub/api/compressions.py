"""REST of compressions: POST starts one, GET lists their jobs with what came out."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers

from modelhub.api.serializers import ScopedSlugField, StrictForm
from modelhub.api.views import StartsJobs
from modelhub.models import Dataset, Deployment
from modelhub.services.compressions import MOST_EPOCHS, WIDTHS, start_compression
from switchyard.jobs.models import Job
from switchyard.jobs.serializers import JobSerializer, JobStartedSerializer
from switchyard.tenancy.models import Workload

CHOICES = ("auto", "true", "false")


class StartCompression(StrictForm):
    """A workload's head of a private text deployment, made small; bounds as shares and points."""

    workload = ScopedSlugField(slug_field="name", queryset=Workload.objects.all())
    deployment = ScopedSlugField(slug_field="name", queryset=Deployment.objects.all())
    version = serializers.CharField(required=False, default="", allow_blank=True, max_length=63)
    dataset = ScopedSlugField(slug_field="id", queryset=Dataset.objects.all(), required=False)
    epochs = serializers.IntegerField(min_value=1, max_value=MOST_EPOCHS, required=False)
    seed = serializers.IntegerField(min_value=0, max_value=2**31 - 1, required=False)
    width = serializers.ChoiceField(choices=["auto", *map(str, WIDTHS)], required=False)
    paired = serializers.ChoiceField(choices=CHOICES, required=False)
    balanced = serializers.ChoiceField(choices=CHOICES, required=False)
    least_share_of_teacher = serializers.FloatField(min_value=0.5, max_value=1.0, required=False)
    least_speedup = serializers.FloatField(min_value=1.0, max_value=100.0, required=False)
    not_below_tfidf = serializers.BooleanField(required=False)
    most_int8_loss_points = serializers.FloatField(min_value=0.01, max_value=20.0, required=False)
    least_int8_agreement = serializers.FloatField(min_value=0.5, max_value=1.0, required=False)


def settings_of(values: dict[str, Any]) -> dict[str, Any]:
    """Checked values as the service takes them: numbers where the form has words."""
    found = dict(values)
    if found.get("width", "auto") != "auto":
        found["width"] = int(found["width"])
    for name in ("paired", "balanced"):
        if found.get(name, "auto") != "auto":
            found[name] = found[name] == "true"
    return found


class CompressionViewSet(StartsJobs):
    """Compressions and their reports: stages, groups, front, cost of a thousand answers."""

    queryset = Job.objects.filter(kind="compression").select_related("lob", "created_by")
    serializer_class = JobSerializer
    input_class = StartCompression
    write_roles = ("model_engineer",)
    page_order = ("-created_at", "pk")

    @extend_schema(request=StartCompression, responses={202: JobStartedSerializer})
    def create(self, request: Any) -> Any:
        return super().create(request)

    def start(self, values: dict[str, Any]) -> Job:
        return start_compression(user=self.request.user, **settings_of(values))
