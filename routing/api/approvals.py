"""REST of approvals: the queue with its evidence; approve, send back, withdraw."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.response import Response

from routing.api.policy_serializers import ApprovalSerializer, DecideSerializer, SendBackSerializer
from routing.approvals import services
from routing.approvals.models import PolicyApproval
from switchyard.tenancy.api.base import EmptySerializer, ReadViewSet, filters, narrowed_by


class ApprovalViewSet(ReadViewSet):
    """Versions that wait for a second pair of eyes (`?state=requested`), and what was decided."""

    queryset = PolicyApproval.objects.select_related(
        "policy__lob", "policy__organisation", "requested_by", "decided_by"
    )
    serializer_class = ApprovalSerializer
    write_roles = ("policy_author", "policy_approver")
    page_order = ("-requested_at", "pk")
    FILTERS = {"state": "state", "lob": "policy__lob__slug", "policy": "policy_id"}

    @extend_schema(parameters=filters(*FILTERS))
    def list(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        return super().list(request, *args, **kwargs)

    def filter_queryset(self, queryset: Any) -> Any:
        return narrowed_by(queryset, self.request, self.FILTERS) if self.action == "list" else queryset

    @extend_schema(request=DecideSerializer)
    @action(detail=True, methods=["post"])
    def approve(self, request: Any, pk: str = "") -> Response:
        self.require_role("policy_approver")
        form = DecideSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        row = services.approve(
            approval=self.get_object(), user=request.user, reason=form.validated_data["reason"]
        )
        return Response(self.get_serializer(row).data)

    @extend_schema(request=SendBackSerializer)
    @action(detail=True, methods=["post"], url_path="send-back")
    def send_back(self, request: Any, pk: str = "") -> Response:
        self.require_role("policy_approver")
        form = SendBackSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        row = services.send_back(
            approval=self.get_object(), user=request.user, reason=form.validated_data["reason"]
        )
        return Response(self.get_serializer(row).data)

    @extend_schema(request=EmptySerializer)
    @action(detail=True, methods=["post"])
    def withdraw(self, request: Any, pk: str = "") -> Response:
        self.require_role("policy_author")
        row = services.withdraw(approval=self.get_object(), user=request.user)
        return Response(self.get_serializer(row).data)
