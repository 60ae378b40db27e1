"""REST of models: deployments, versions, data sets, evaluations, fine-tunes, audits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from django.db import transaction
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.exceptions import PermissionDenied
from rest_framework.parsers import JSONParser, MultiPartParser
from rest_framework.response import Response

from costs.sheets.dated import create_price, opening
from costs.sheets.in_force import prices_in_force
from modelhub.api.bundles import BundleActions
from modelhub.api.fine_tunes import FineTuneSerializer, StartFineTune
from modelhub.api.folder_imports import ImportActions
from modelhub.api.promotion import PromotionActions
from modelhub.api.serializers import (
    AuditSerializer,
    DatasetSerializer,
    DeploymentSerializer,
    EvaluationSerializer,
    ReasonSerializer,
    StartAudit,
    StartEvaluation,
    UploadSerializer,
    VersionSerializer,
)
from modelhub.api.servers import LaunchForm, LaunchSpecSerializer, MigrateForm
from modelhub.models import BiasAudit, Dataset, Deployment, Evaluation, ModelVersion
from modelhub.selectors.placements import placement_of
from modelhub.services import datasets, jobs, promotion
from modelhub.services.access import owns
from modelhub.services.launching import Hardware, launch_spec
from modelhub.services.migration import start_migration
from modelhub.services.probing import start_probe
from modelhub.services.records import take_rows
from modelhub.services.retirement import retire_version
from switchyard.jobs.models import Job
from switchyard.jobs.serializers import JobSerializer, JobStartedSerializer
from switchyard.tenancy.api.base import ReadViewSet, filters, narrowed_by
from switchyard.tenancy.api.views import ConfigViewSet


class DeploymentViewSet(ImportActions, ConfigViewSet):
    """A model somewhere. `api_key` is written and never read; `prices` opens a sheet of an external one."""

    queryset = Deployment.objects.select_related("node").prefetch_related("lobs")
    serializer_class = DeploymentSerializer
    lookup_names = ("name",)
    write_roles = ("operator", "model_engineer")
    page_order = ("name", "pk")
    kind = "deployment"

    def extra(self) -> dict[str, Any]:
        return {"organisation_id": self.scope.organisation_id}

    def get_serializer_context(self) -> dict[str, Any]:
        """Sheets in force are read once a request, when the first row asks for them."""
        return super().get_serializer_context() | {"sheets": Sheets(self.scope.organisation_id)}

    @transaction.atomic
    def perform_create(self, serializer: Any) -> None:
        prices = serializer.validated_data.pop("prices", None)
        super().perform_create(serializer)
        self._open_sheet(serializer.instance, prices)

    @transaction.atomic
    def perform_update(self, serializer: Any) -> None:
        self._refuse_shared(serializer.instance)
        prices = serializer.validated_data.pop("prices", None)
        super().perform_update(serializer)
        self._open_sheet(serializer.instance, prices)

    def perform_destroy(self, row: Deployment) -> None:
        self._refuse_shared(row)
        super().perform_destroy(row)

    def _open_sheet(self, row: Deployment, prices: dict[str, Any] | None) -> None:
        if not prices:
            return
        source = prices.pop("source", "") or "entered with the deployment"
        create_price(
            organisation_id=row.organisation_id, deployment=row.name, source=source, actor=self.request.user,
            valid_from=opening(row.organisation_id, row.name), **prices,
        )  # fmt: skip

    @extend_schema(request=MigrateForm, responses={202: JobStartedSerializer})
    @action(detail=True, methods=["post"])
    def migrate(self, request: Any, pk: str = "") -> Response:
        """Move what its server serves to another backend, while it answers; the job tells how it went."""
        row = self.get_object()
        self._refuse_shared(row)
        form = MigrateForm(data=request.data)
        form.is_valid(raise_exception=True)
        job = start_migration(deployment=row, user=request.user, **form.validated_data)
        return Response({"job": job.pk}, status=202)

    @extend_schema(parameters=[LaunchForm], responses={200: LaunchSpecSerializer})
    @action(detail=True, methods=["get"], url_path="launch-spec")
    def launch_spec(self, request: Any, pk: str = "") -> Response:
        """How to start vLLM or SGLang for it: a command, a compose service, Helm values."""
        row = self.get_object()
        form = LaunchForm(data=request.query_params)
        form.is_valid(raise_exception=True)
        values = dict(form.validated_data)
        engine, redundant = values.pop("engine"), values.pop("redundant", None)
        hardware = Hardware(**values)
        devices = hardware.tensor_parallel * hardware.data_parallel
        plans = placement_of(self.scope, row.model, devices, redundant)
        versions = ModelVersion.objects.for_tenant(self.scope).filter(deployment=row)
        return Response(launch_spec(row, engine, hardware, plans, versions=versions).as_dict())

    @extend_schema(request=None, responses={202: JobStartedSerializer})
    @action(detail=True, methods=["post"])
    def probe(self, request: Any, pk: str = "") -> Response:
        """Ask its server what it supports, as a job; what is found is kept as `capabilities`, with a warning for each thing
        that doesn't fit the row. Costs a few dozen tokens there."""
        row = self.get_object()
        self._refuse_shared(row)
        return Response({"job": start_probe(row=row, user=request.user).pk}, status=202)

    def _refuse_shared(self, row: Deployment) -> None:
        if not owns(self.scope, row):
            raise PermissionDenied(
                "Other lines of business use this deployment: it takes a role that reaches them."
            )


class Sheets:
    """Deployment → its sheet in force; one query, at the first look."""

    def __init__(self, organisation_id: int | None) -> None:
        self.organisation_id = organisation_id
        self._found: dict[str, Any] | None = None

    def of(self, deployment: str) -> Any:
        if self._found is None:
            self._found = prices_in_force(self.organisation_id) if self.organisation_id is not None else {}
        return self._found.get(deployment)


class VersionViewSet(BundleActions, PromotionActions, ReadViewSet):
    """Versions of what answers a workload; `promote` makes one live without a restart."""

    queryset = ModelVersion.objects.select_related("deployment", "workload__lob")
    serializer_class = VersionSerializer
    write_roles = ("model_engineer",)
    FILTERS = {"workload": "workload__name", "deployment": "deployment__name", "stage": "stage"}

    @extend_schema(parameters=filters(*FILTERS))
    def list(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        return super().list(request, *args, **kwargs)

    def filter_queryset(self, queryset: Any) -> Any:
        return narrowed_by(queryset, self.request, self.FILTERS) if self.action == "list" else queryset

    @extend_schema(request=ReasonSerializer)
    @action(detail=True, methods=["post"])
    def promote(self, request: Any, pk: str = "") -> Response:
        """{"reason"?}: needed when a gate doesn't hold."""
        version = promotion.promote(version=self.get_object(), user=request.user, force_reason=self._reason())
        return Response(self.get_serializer(version).data)

    @extend_schema(request=ReasonSerializer)
    @action(detail=True, methods=["post"])
    def reject(self, request: Any, pk: str = "") -> Response:
        version = promotion.reject(version=self.get_object(), user=request.user, reason=self._reason())
        return Response(self.get_serializer(version).data)

    @extend_schema(request=ReasonSerializer)
    @action(detail=True, methods=["post"])
    def retire(self, request: Any, pk: str = "") -> Response:
        """{"reason"?}: needed when nothing else answers the workload."""
        version = retire_version(version=self.get_object(), user=request.user, reason=self._reason())
        return Response(self.get_serializer(version).data)

    def _reason(self) -> str:
        form = ReasonSerializer(data=self.request.data)
        form.is_valid(raise_exception=True)
        return form.validated_data["reason"]


class DatasetViewSet(ReadViewSet):
    """Rows for training, as multipart: `workload`, `file` (JSON lines or CSV of text and label), `name`?"""

    queryset = Dataset.objects.select_related("lob", "workload")
    serializer_class = DatasetSerializer
    write_roles = ("model_engineer",)
    parser_classes = [MultiPartParser, JSONParser]
    page_order = ("-created_at", "pk")

    @extend_schema(request={"multipart/form-data": UploadSerializer}, responses={201: DatasetSerializer})
    def create(self, request: Any) -> Response:
        form = UploadSerializer(data=request.data, context=self.get_serializer_context())
        form.is_valid(raise_exception=True)
        values = form.validated_data
        file = values["file"]
        dataset = take_rows(
            workload=values["workload"],
            name=values.get("name") or file.name,
            pieces=file.chunks(),
            user=request.user,
        )
        return Response(self.get_serializer(dataset).data, status=201)

    @extend_schema(responses={204: None})
    def destroy(self, request: Any, pk: str = "") -> Response:
        """The rows are deleted too; 409 while a job needs them."""
        datasets.delete(self.get_object(), request.user)
        return Response(status=204)


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
    """Accuracy on held-back rows, with its interval; POST starts a run."""

    queryset = Evaluation.objects.select_related("workload", "deployment")
    serializer_class = EvaluationSerializer
    input_class = StartEvaluation
    page_order = ("-at", "pk")

    @extend_schema(request=StartEvaluation, responses={202: JobStartedSerializer})
    def create(self, request: Any) -> Response:
        return super().create(request)

    def start(self, values: dict[str, Any]) -> Job:
        return jobs.start_evaluation(user=self.request.user, **values)


class AuditViewSet(StartsJobs):
    """Bias audits: student against teacher by group, with verdicts; POST starts one."""

    queryset = BiasAudit.objects.select_related("workload")
    serializer_class = AuditSerializer
    input_class = StartAudit
    page_order = ("-at", "pk")

    @extend_schema(request=StartAudit, responses={202: JobStartedSerializer})
    def create(self, request: Any) -> Response:
        return super().create(request)

    def start(self, values: dict[str, Any]) -> Job:
        roles = {role: values.pop(role).name for role in ("teacher", "student") if role in values}
        return jobs.start_audit(user=self.request.user, **values, **roles)


class FineTuneViewSet(StartsJobs):
    """Fine-tuning jobs and their results; one alone says how long it took from rows to canary."""

    queryset = Job.objects.filter(kind="fine_tune").select_related("lob", "created_by")
    serializer_class = JobSerializer
    input_class = StartFineTune
    write_roles = ("model_engineer",)
    page_order = ("-created_at", "pk")

    def get_serializer_class(self) -> Any:
        return FineTuneSerializer if self.action == "retrieve" else super().get_serializer_class()

    @extend_schema(request=StartFineTune, responses={202: JobStartedSerializer})
    def create(self, request: Any) -> Response:
        return super().create(request)

    def start(self, values: dict[str, Any]) -> Job:
        return jobs.start_fine_tune(user=self.request.user, **values)
