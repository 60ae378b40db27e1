"""REST of routing besides policies: decisions, the review list."""

from __future__ import annotations

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.response import Response

from routing.api.serializers import DecisionSerializer, InterceptionSerializer, ReviewSerializer
from routing.models import DecisionRecord, Interception
from routing.selectors.decisions import as_event, explain
from routing.services.reviews import review
from switchyard.tenancy.api.base import ReadViewSet, filters, narrowed_by


class DecisionViewSet(ReadViewSet):
    """What was decided and why; `?lob=&workload=&side=&status=` narrow the list."""

    queryset = DecisionRecord.objects.all()
    serializer_class = DecisionSerializer
    page_order = ("-at", "pk")
    FILTERS = ("lob", "workload", "side", "status", "origin", "deployment")

    def filter_queryset(self, queryset: Any) -> Any:
        return narrowed_by(queryset, self.request, self.FILTERS) if self.action == "list" else queryset

    @extend_schema(parameters=filters(*FILTERS))
    def list(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        return super().list(request, *args, **kwargs)

    @extend_schema(responses={200: OpenApiTypes.OBJECT})
    def retrieve(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        """Facts, trace, candidates, attempts, prices and costs; never a prompt or an answer."""
        return Response(explain(as_event(self.get_object())))


class InterceptionViewSet(ReadViewSet):
    """Answers the guard found risky; PATCH {"state": "confirmed" | "released"} is the review."""

    queryset = Interception.objects.all()
    serializer_class = InterceptionSerializer
    write_roles = ("risk",)
    page_order = ("-at", "pk")

    @extend_schema(request=ReviewSerializer, responses={200: InterceptionSerializer})
    def partial_update(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        row, form = self.get_object(), ReviewSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        row = review(interception=row, state=form.validated_data["state"], user=request.user)
        return Response(self.get_serializer(row).data)
