"""REST of jobs: the rows are the truth; what can be asked of a job is an action."""

from __future__ import annotations

from typing import Any

from django.core.handlers.asgi import ASGIRequest
from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.decorators import action
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.response import Response

from switchyard.jobs import services
from switchyard.jobs.models import Job
from switchyard.jobs.serializers import JobEventListSerializer, JobEventSerializer, JobSerializer
from switchyard.jobs.streaming import after_of, frames, once, refuse_too_many
from switchyard.tenancy.api.base import EmptySerializer, ReadViewSet, filters, narrowed_by


class EventStreamRenderer(BaseRenderer):
    """So that a browser's EventSource, which accepts nothing else, is answered; the view writes the frames itself."""

    media_type, format, charset = "text/event-stream", "event-stream", "utf-8"

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None
    ) -> bytes:
        """An error before the stream began."""
        return JSONRenderer().render(data)


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

    @extend_schema(
        responses={200: JobEventListSerializer},
        parameters=[
            OpenApiParameter("stream", OpenApiTypes.BOOL),
            OpenApiParameter("after", OpenApiTypes.INT),
        ],
    )
    @action(detail=True, methods=["get"], renderer_classes=[JSONRenderer, EventStreamRenderer])
    def events(self, request: Any, pk: str = "") -> Response | StreamingHttpResponse:
        """The job's log, newest first, at most 500 lines; with `?stream=1` as server-sent events until it has ended."""
        if request.query_params.get("stream", "").lower() in ("1", "true"):
            refuse_too_many()
            follow = frames if isinstance(request._request, ASGIRequest) else once
            said = StreamingHttpResponse(
                follow(self.get_object().pk, after_of(request)),
                content_type="text/event-stream; charset=utf-8",
            )
            said["Cache-Control"], said["X-Accel-Buffering"] = "no-cache", "no"
            return said
        rows = self.get_object().events.order_by("-id")[:500]
        return Response({"results": JobEventSerializer(rows, many=True).data, "next": None})

    def _done(self, job: Job) -> Response:
        return Response(self.get_serializer(job).data)
