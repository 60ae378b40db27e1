"""REST of routing: policies with their life, decisions, the review list."""

from __future__ import annotations

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.response import Response

from routing.api.serializers import (
    DecisionSerializer,
    DiffSerializer,
    FactListSerializer,
    InterceptionSerializer,
    PolicySerializer,
    PublishSerializer,
    ReviewSerializer,
    TriedSerializer,
    TrySerializer,
)
from routing.models import DecisionRecord, Interception, Policy
from routing.policy.facts import describe
from routing.selectors.decisions import as_event, explain
from routing.services import policies as service
from routing.services.reviews import review
from routing.services.trial import try_policy
from switchyard.tenancy.api.base import EmptySerializer, ReadViewSet, filters, find, narrowed_by
from switchyard.tenancy.models import Organisation


class PolicyViewSet(ReadViewSet):
    """POST saves a draft (or refuses it with the request that proves why); `publish` makes it live."""

    queryset = Policy.objects.select_related("lob", "organisation")
    serializer_class = PolicySerializer
    write_roles = ("policy_author", "policy_approver")
    page_order = ("-created_at", "pk")

    def get_queryset(self) -> Any:
        """The organisation's own policy binds everybody, so everybody may read it."""
        rows = super().get_queryset()
        if self.scope.organisation_id is None or self.scope.lob_ids is None:
            return rows
        shared = Policy.objects.filter(organisation_id=self.scope.organisation_id, lob__isnull=True)
        return (rows | shared).select_related("lob", "organisation")

    def create(self, request: Any) -> Response:
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        values = serializer.validated_data
        if values.get("lob") is None:
            self.require_whole_organisation()
        policy = service.create_draft(
            organisation=Organisation.objects.get(pk=self.scope.organisation_id), lob=values.get("lob"),
            document=values["document"], user=request.user, note=values.get("note", ""),
        )  # fmt: skip
        return Response(self.get_serializer(policy).data, status=201)

    def _own(self) -> Policy:
        policy = self.get_object()
        if policy.lob_id is None:
            self.require_whole_organisation()
        return policy

    @extend_schema(request=EmptySerializer)
    @action(detail=True, methods=["post"])
    def validate(self, request: Any, pk: str = "") -> Response:
        return Response(self.get_serializer(service.validate(policy=self._own(), user=request.user)).data)

    @extend_schema(request=PublishSerializer)
    @action(detail=True, methods=["post"])
    def publish(self, request: Any, pk: str = "") -> Response:
        self.require_role("policy_approver")
        options = PublishSerializer(data=request.data)
        options.is_valid(raise_exception=True)
        policy = service.publish(
            policy=self._own(), user=request.user, percent=options.validated_data["percent"]
        )
        return Response(self.get_serializer(policy).data)

    @extend_schema(request=EmptySerializer)
    @action(detail=True, methods=["post"])
    def rollback(self, request: Any, pk: str = "") -> Response:
        """Back to the version before the live one, in the scope of the policy named."""
        self.require_role("policy_approver")
        policy = self._own()
        restored = service.rollback(organisation=policy.organisation, lob=policy.lob, user=request.user)
        return Response(self.get_serializer(restored).data)

    @extend_schema(request=TrySerializer, responses={200: TriedSerializer})
    @action(detail=True, methods=["post"], url_path="try")
    def try_out(self, request: Any, pk: str = "") -> Response:
        """The decision this version would take for {"facts"} or {"request": {"endpoint", "body", "lob"}}."""
        return Response(try_policy(self.get_object(), request.data, self.scope))

    @extend_schema(
        parameters=[OpenApiParameter("against", OpenApiTypes.STR, required=True)],
        responses={200: DiffSerializer},
    )
    @action(detail=True, methods=["get"])
    def diff(self, request: Any, pk: str = "") -> Response:
        """A unified diff from `?against=` to this version."""
        policy = self.get_object()
        against = request.query_params.get("against")
        if not against:
            raise serializers.ValidationError({"against": "Name the policy to compare with."})
        other = find(self.get_queryset(), against, ())
        return Response({"against": other.pk, "policy": policy.pk, "diff": service.diff(other, policy)})

    @extend_schema(responses={200: FactListSerializer})
    @action(detail=False, methods=["get"])
    def facts(self, request: Any) -> Response:
        """Every fact a rule may test, with its type."""
        return Response({"results": describe(), "next": None})


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
