"""REST of proofs: whether requests of a class left in a period, signed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.utils.dateparse import parse_date, parse_datetime
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.response import Response

from routing.contracts import SENSITIVITIES
from routing.models import DecisionRecord
from routing.proofs.services import residency_proof
from switchyard.core.errors import InvalidRequest
from switchyard.tenancy.api.base import TenantViewSet


class ProofSerializer(serializers.Serializer):
    """`body` is what is signed (docs/decisions/0056): question, holds, counts, hops, contradictions, chain, records, covered."""

    body = serializers.DictField()
    signature = serializers.DictField(child=serializers.CharField())


class ProofViewSet(TenantViewSet):
    """GET proofs?class=&from=&to=: did a request of this class, or a stricter one, leave? As far as the asker may see."""

    queryset = DecisionRecord.objects.all()
    serializer_class = ProofSerializer

    @extend_schema(
        parameters=[
            OpenApiParameter("class", OpenApiTypes.STR, required=True, enum=list(SENSITIVITIES)),
            OpenApiParameter("from", OpenApiTypes.STR, required=True, description="An ISO day (UTC) or time; included."),
            OpenApiParameter("to", OpenApiTypes.STR, required=True, description="An ISO day (UTC) or time; not included."),
            OpenApiParameter("lob", OpenApiTypes.STR),
        ],
        responses={200: ProofSerializer},
    )  # fmt: skip
    def list(self, request: Any) -> Response:
        asked = request.query_params
        lob = asked.get("lob", "")
        if lob:
            self.require_lob(lob)
        told = residency_proof(
            scope=self.scope, at_least=asked.get("class", ""), start=_moment(asked.get("from", ""), "from"),
            end=_moment(asked.get("to", ""), "to"), lob=lob,
        )  # fmt: skip
        return Response(told)


def _moment(text: str, name: str) -> datetime:
    """A day means its first instant in UTC; a time without zone is UTC."""
    try:
        day = parse_date(text)
        moment = datetime(day.year, day.month, day.day) if day else parse_datetime(text.replace(" ", "+"))
    except ValueError:
        moment = None
    if moment is None:
        raise InvalidRequest(
            f"`{name}` is {text[:40]!r}; expected a day such as 2026-11-01 or an ISO time.", param=name
        )
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
