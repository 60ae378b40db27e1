"""REST of jobs: the rows are the truth; what can be asked of a job is an action."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.response import Response

from switchyard.jobs import services
from switchyard.jobs.models import Job
from switchyard.jobs.serializers import JobEventListSerializer, JobEventSerializer, JobSerializer
from switchyard.tenancy.api.base import EmptySerializer, ReadViewSet, filters, narrowed_by


class JobViewSet(ReadViewSet):
    """`?kind=` and `?state=` narrow the list."""

    queryset = Job.objects.select_related("lob", "created_by")
    serializer_class = JobSerializer
    write_roles = ("model_engineer", "operator", "risk")
    page_order = ("-created_at", "pk")

    @extend_schema(parameters=filters("kind", "state"))
    def list(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        return super().list(request, *args, **kwargs)

    def filter_queryset(self, queryset: Any) -> Any:
        return narrowed_by(queryset, self.request, ("kind", "state")) if self.action == "list" else queryset

    @extend_schema(request=EmptySerializer)
    @action(detail=True, methods=["post"])
    def cancel(self, request: Any, pk: str = "") -> Response:
        return self._done(services.cancel(job=self.get_object(), user=request.user))

    @extend_schema(request=EmptySerializer)
    @action(detail=True, methods=["post"])
    def pause(self, request: Any, pk: str = "") -> Response:
        return self._done(services.pause(job=self.get_object(), user=request.user))

    @extend_schema(request=EmptySerializer)
    @action(detail=True, methods=["post"])
    def resume(self, request: Any, pk: str = "") -> Response:
        return self._done(services.resume(job=self.get_object(), user=request.user))

    @extend_schema(request=EmptySerializer)
    @action(detail=True, methods=["post"])
    def retry(self, request: Any, pk: str = "") -> Response:
        return self._done(services.retry(job=self.get_object(), user=request.user))

    @extend_schema(responses={200: JobEventListSerializer})
    @action(detail=True, methods=["get"])
    def events(self, request: Any, pk: str = "") -> Response:
        """The job's log, newest first, at most 500 lines."""
        rows = self.get_object().events.order_by("-id")[:500]
        return Response({"results": JobEventSerializer(rows, many=True).data, "next": None})

    def _done(self, job: Job) -> Response:
        return Response(self.get_serializer(job).data)
