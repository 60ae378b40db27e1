"""REST of jobs: the rows are the truth; what can be asked of a job is an action."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.response import Response

from switchyard.jobs import services
from switchyard.jobs.models import Job
from switchyard.jobs.serializers import JobEventSerializer, JobSerializer
from switchyard.tenancy.api.base import ReadViewSet


class JobViewSet(ReadViewSet):
    """`?kind=` and `?state=` narrow the list."""

    queryset = Job.objects.select_related("lob", "created_by")
    serializer_class = JobSerializer
    write_roles = ("model_engineer", "operator", "risk")
    page_order = ("-created_at", "pk")

    def get_queryset(self) -> Any:
        rows = super().get_queryset()
        if self.action != "list" or getattr(self, "swagger_fake_view", False):
            return rows
        for name in ("kind", "state"):
            value = self.request.query_params.get(name)
            rows = rows.filter(**{name: value}) if value else rows
        return rows

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def cancel(self, request: Any, pk: str = "") -> Response:
        return self._done(services.cancel(job=self.get_object(), user=request.user))

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def pause(self, request: Any, pk: str = "") -> Response:
        return self._done(services.pause(job=self.get_object(), user=request.user))

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def resume(self, request: Any, pk: str = "") -> Response:
        return self._done(services.resume(job=self.get_object(), user=request.user))

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def retry(self, request: Any, pk: str = "") -> Response:
        return self._done(services.retry(job=self.get_object(), user=request.user))

    @extend_schema(responses={200: JobEventSerializer(many=True)})
    @action(detail=True, methods=["get"])
    def events(self, request: Any, pk: str = "") -> Response:
        rows = self.get_object().events.order_by("-id")[:500]
        return Response({"results": JobEventSerializer(rows, many=True).data, "next": None})

    def _done(self, job: Job) -> Response:
        return Response(self.get_serializer(job).data)
