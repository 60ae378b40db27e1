"""REST of models: deployments, versions, data sets, evaluations, fine-tunes, audits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from django.db import transaction
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.parsers import JSONParser, MultiPartParser
from rest_framework.response import Response

from costs.models import Price
from modelhub.api.serializers import (
    AuditSerializer,
    DatasetSerializer,
    DeploymentSerializer,
    EvaluationSerializer,
    VersionSerializer,
)
from modelhub.models import BiasAudit, Dataset, Deployment, Evaluation, ModelVersion
from modelhub.services import jobs, promotion
from modelhub.services.datasets import upload
from switchyard.core.clock import now
from switchyard.core.money import usd_to_nusd
from switchyard.jobs.models import Job
from switchyard.jobs.serializers import JobSerializer
from switchyard.tenancy.api.base import ReadViewSet, ScopedSlugField
from switchyard.tenancy.api.views import ConfigViewSet
from switchyard.tenancy.models import Workload

JOB = inline_serializer("JobStarted", {"job": serializers.CharField()})


class DeploymentViewSet(ConfigViewSet):
    """A model somewhere. `api_key` is written and never read; `prices` opens a sheet of an external one."""

    queryset = Deployment.objects.select_related("node").prefetch_related("lobs")
    serializer_class = DeploymentSerializer
    lookup_names = ("name",)
    write_roles = ("operator", "model_engineer")
    page_order = ("name", "pk")
    kind = "deployment"

    def extra(self) -> dict[str, Any]:
        return {"organisation_id": self.scope.organisation_id}

    @transaction.atomic
    def perform_create(self, serializer: Any) -> None:
        prices = serializer.validated_data.pop("prices", None)
        self._check_lobs(serializer.validated_data)
        super().perform_create(serializer)
        if prices:
            Price.objects.create(
                organisation_id=self.scope.organisation_id, deployment=serializer.instance.name, valid_from=now(),
                source="entered with the deployment",
                **{f"{name}_nusd_per_munit": usd_to_nusd(value) for name, value in prices.items()},
            )  # fmt: skip

    def perform_update(self, serializer: Any) -> None:
        serializer.validated_data.pop("prices", None)
        self._check_lobs(serializer.validated_data)
        super().perform_update(serializer)

    def _check_lobs(self, values: dict[str, Any]) -> None:
        """Somebody limited to some lines of business can't give a deployment to all of them."""
        if self.scope.lob_ids is not None and "lobs" in values and not values["lobs"]:
            raise serializers.ValidationError(
                {"lobs": "Name lines of business: your own role is limited to some."}
            )


class VersionViewSet(ReadViewSet):
    """Versions of what answers a workload; `promote` makes one live without a restart."""

    queryset = ModelVersion.objects.select_related("deployment", "workload__lob")
    serializer_class = VersionSerializer
    write_roles = ("model_engineer",)

    @extend_schema(request=OpenApiTypes.OBJECT)
    @action(detail=True, methods=["post"])
    def promote(self, request: Any, pk: str = "") -> Response:
        """{"reason"?}: needed when the version is surely worse than the live one."""
        reason = str(request.data.get("reason") or "")[:300]
        version = promotion.promote(version=self.get_object(), user=request.user, force_reason=reason)
        return Response(self.get_serializer(version).data)

    @extend_schema(request=OpenApiTypes.OBJECT)
    @action(detail=True, methods=["post"])
    def reject(self, request: Any, pk: str = "") -> Response:
        reason = str(request.data.get("reason") or "")[:300]
        version = promotion.reject(version=self.get_object(), user=request.user, reason=reason)
        return Response(self.get_serializer(version).data)


class UploadSerializer(serializers.Serializer):
    workload = ScopedSlugField(slug_field="name", queryset=Workload.objects.all())
    file = serializers.FileField()
    name = serializers.CharField(max_length=200, required=False)


class DatasetViewSet(ReadViewSet):
    """Rows for training, as multipart: `workload`, `file` (JSON lines or CSV of text and label), `name`?"""

    queryset = Dataset.objects.select_related("lob", "workload")
    serializer_class = DatasetSerializer
    write_roles = ("model_engineer",)
    parser_classes = [MultiPartParser, JSONParser]
    page_order = ("-created_at", "pk")

    @extend_schema(request=UploadSerializer, responses={201: DatasetSerializer})
    def create(self, request: Any) -> Response:
        form = UploadSerializer(data=request.data, context=self.get_serializer_context())
        form.is_valid(raise_exception=True)
        values = form.validated_data
        file = values["file"]
        dataset = upload(
            workload=values["workload"],
            name=values.get("name") or file.name,
            content=file.read(),
            user=request.user,
        )
        return Response(self.get_serializer(dataset).data, status=201)


class EvaluationSerializerIn(serializers.Serializer):
    workload = ScopedSlugField(slug_field="name", queryset=Workload.objects.all())
    deployment = ScopedSlugField(slug_field="name", queryset=Deployment.objects.all())
    version = serializers.CharField(required=False, default="", max_length=63)
    limit = serializers.IntegerField(min_value=1, required=False, default=None, allow_null=True)


class StartsJobs(ReadViewSet, ABC):
    """POST queues a job and answers 202 {"job": id}."""

    write_roles = ("model_engineer", "risk")
    input_class: type[serializers.Serializer]

    @abstractmethod
    def start(self, values: dict[str, Any]) -> Job:
        """The queued job for a checked body."""

    def create(self, request: Any) -> Response:
        form = self.input_class(data=request.data, context=self.get_serializer_context())
        form.is_valid(raise_exception=True)
        return Response({"job": self.start(form.validated_data).pk}, status=202)


class EvaluationViewSet(StartsJobs):
    queryset = Evaluation.objects.select_related("workload", "deployment")
    serializer_class = EvaluationSerializer
    input_class = EvaluationSerializerIn
    page_order = ("-at", "pk")

    @extend_schema(request=EvaluationSerializerIn, responses={202: JOB})
    def create(self, request: Any) -> Response:
        return super().create(request)

    def start(self, values: dict[str, Any]) -> Job:
        return jobs.start_evaluation(user=self.request.user, **values)


class AuditSerializerIn(serializers.Serializer):
    workload = ScopedSlugField(slug_field="name", queryset=Workload.objects.all())
    teacher = serializers.CharField(required=False, default="private-sparse", max_length=63)
    student = serializers.CharField(required=False, default="ext-mini", max_length=63)
    limit = serializers.IntegerField(min_value=1, required=False, default=None, allow_null=True)


class AuditViewSet(StartsJobs):
    queryset = BiasAudit.objects.select_related("workload")
    serializer_class = AuditSerializer
    input_class = AuditSerializerIn
    page_order = ("-at", "pk")

    @extend_schema(request=AuditSerializerIn, responses={202: JOB})
    def create(self, request: Any) -> Response:
        return super().create(request)

    def start(self, values: dict[str, Any]) -> Job:
        return jobs.start_audit(user=self.request.user, **values)


class FineTuneSerializerIn(serializers.Serializer):
    dataset = serializers.CharField(max_length=40)
    deployment = ScopedSlugField(slug_field="name", queryset=Deployment.objects.all())
    epochs = serializers.RegexField(r"^(auto|[1-9]\d{0,2})$", required=False, default="auto")
    seed = serializers.IntegerField(min_value=0, max_value=2**31 - 1, required=False, default=0)


class FineTuneViewSet(StartsJobs):
    """Fine-tuning jobs and their results."""

    queryset = Job.objects.filter(kind="fine_tune").select_related("lob", "created_by")
    serializer_class = JobSerializer
    input_class = FineTuneSerializerIn
    write_roles = ("model_engineer",)
    page_order = ("-created_at", "pk")

    @extend_schema(request=FineTuneSerializerIn, responses={202: JOB})
    def create(self, request: Any) -> Response:
        return super().create(request)

    def start(self, values: dict[str, Any]) -> Job:
        dataset = Dataset.objects.for_tenant(self.scope).filter(pk=values.pop("dataset")).first()
        if dataset is None:
            raise serializers.ValidationError({"dataset": "There is no such data set."})
        return jobs.start_fine_tune(dataset=dataset, user=self.request.user, **values)
