"""REST of routing: policies with their life, decisions, the review list."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import mixins, serializers
from rest_framework.decorators import action
from rest_framework.exceptions import PermissionDenied
from rest_framework.response import Response

from routing.api.serializers import (
    DecisionSerializer,
    InterceptionSerializer,
    PolicySerializer,
    PublishSerializer,
)
from routing.models import DecisionRecord, Interception, Policy
from routing.policy.facts import describe
from routing.selectors.decisions import as_event, explain
from routing.services import policies as service
from routing.services.trial import try_policy
from switchyard.audit.services import record
from switchyard.core.clock import now
from switchyard.tenancy.api.base import ReadViewSet, find, request_scope
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

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def validate(self, request: Any, pk: str = "") -> Response:
        return Response(self.get_serializer(service.validate(policy=self._own(), user=request.user)).data)

    @extend_schema(request=PublishSerializer)
    @action(detail=True, methods=["post"])
    def publish(self, request: Any, pk: str = "") -> Response:
        self._require_approver()
        options = PublishSerializer(data=request.data or {})
        options.is_valid(raise_exception=True)
        policy = service.publish(
            policy=self._own(), user=request.user, percent=options.validated_data["percent"]
        )
        return Response(self.get_serializer(policy).data)

    @extend_schema(request=None)
    @action(detail=True, methods=["post"])
    def rollback(self, request: Any, pk: str = "") -> Response:
        """Back to the version before the live one, in the scope of the policy named."""
        self._require_approver()
        policy = self._own()
        restored = service.rollback(organisation=policy.organisation, lob=policy.lob, user=request.user)
        return Response(self.get_serializer(restored).data)

    @extend_schema(request=OpenApiTypes.OBJECT, responses={200: OpenApiTypes.OBJECT})
    @action(detail=True, methods=["post"], url_path="try")
    def try_out(self, request: Any, pk: str = "") -> Response:
        """The decision this version would take for {"facts"} or {"request": {"endpoint", "body", "lob"}}."""
        return Response(try_policy(self.get_object(), request.data, self.scope))

    @extend_schema(
        parameters=[OpenApiParameter("against", OpenApiTypes.STR)], responses={200: OpenApiTypes.OBJECT}
    )
    @action(detail=True, methods=["get"])
    def diff(self, request: Any, pk: str = "") -> Response:
        policy = self.get_object()
        against = request.query_params.get("against")
        if not against:
            raise serializers.ValidationError({"against": "Name the policy to compare with."})
        other = find(self.get_queryset(), against, ())
        return Response({"from": against, "to": policy.pk, "diff": service.diff(other, policy)})  # type: ignore[arg-type]

    @extend_schema(responses={200: OpenApiTypes.OBJECT})
    @action(detail=False, methods=["get"])
    def facts(self, request: Any) -> Response:
        return Response({"results": describe(), "next": None})

    def _require_approver(self) -> None:
        if not request_scope(self.request).has_role("policy_approver"):
            raise PermissionDenied("Publishing and rolling back take the role of policy approver.")


class DecisionViewSet(ReadViewSet):
    """What was decided and why; `?lob=&workload=&side=&status=` narrow the list."""

    queryset = DecisionRecord.objects.all()
    serializer_class = DecisionSerializer
    page_order = ("-at", "pk")
    FILTERS = ("lob", "workload", "side", "status", "origin", "deployment")

    def get_queryset(self) -> Any:
        rows = super().get_queryset()
        if self.action != "list" or getattr(self, "swagger_fake_view", False):
            return rows
        for name in self.FILTERS:
            value = self.request.query_params.get(name)
            if value and not (name == "status" and not value.isdigit()):
                rows = rows.filter(**{name: value})
        return rows

    @extend_schema(responses={200: OpenApiTypes.OBJECT})
    def retrieve(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        return Response(explain(as_event(self.get_object())))


class InterceptionViewSet(mixins.UpdateModelMixin, ReadViewSet):
    """Answers the guard found risky; PATCH {"state": "confirmed" | "released"} is the review."""

    queryset = Interception.objects.all()
    serializer_class = InterceptionSerializer
    write_roles = ("risk",)
    page_order = ("-at", "pk")
    http_method_names = ["get", "patch", "head", "options"]

    @transaction.atomic
    def partial_update(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        row = self.get_object()
        state = request.data.get("state")
        if state not in ("confirmed", "released"):
            raise serializers.ValidationError({"state": "Expected confirmed or released."})
        row.state, row.reviewed_by, row.reviewed_at = state, request.user.username, now()
        row.save(update_fields=["state", "reviewed_by", "reviewed_at"])
        record(
            actor=request.user, action=f"interception.{state}", target=f"decision:{row.decision_id}", lob=row.lob,
            organisation_id=row.organisation_id,
        )  # fmt: skip
        return Response(self.get_serializer(row).data)
