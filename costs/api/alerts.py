"""REST of alerts and of where they go."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.response import Response

from costs.alerts import resolve
from costs.api.base import KnownQuery
from costs.models import Alert, AlertDelivery, AlertTarget
from costs.notify import targets
from switchyard.tenancy.api.base import (
    CrudViewSet,
    EmptySerializer,
    ReadViewSet,
    ScopedSlugField,
    StrictForm,
)
from switchyard.tenancy.models import LineOfBusiness


class AlertSerializer(serializers.ModelSerializer):
    class Meta:
        model = Alert
        fields = ["id", "at", "kind", "lob", "subject", "message", "cause", "resolved_at"]


class AlertViewSet(KnownQuery, ReadViewSet):
    """What money or routing wants a person to see, newest first; `{id}/resolve` says that somebody has seen to it."""

    queryset = Alert.objects.all()
    serializer_class = AlertSerializer
    page_order = ("-at", "-pk")
    write_roles = ("operator", "finance")

    @extend_schema(request=EmptySerializer, responses={200: AlertSerializer})
    @action(detail=True, methods=["post"])
    def resolve(self, request: Any, pk: str = "") -> Response:
        return Response(self.get_serializer(resolve(alert=self.get_object(), user=request.user)).data)


class TargetSerializer(StrictForm):
    """`lob` null: of the organisation as a whole. A webhook's secret is written, and told once where none was given."""

    id = serializers.IntegerField(read_only=True)
    kind = serializers.ChoiceField(targets.KINDS)
    address = serializers.CharField(max_length=300)
    lob = ScopedSlugField(
        slug_field="slug",
        queryset=LineOfBusiness.objects.all(),
        required=False,
        allow_null=True,
        default=None,
    )
    secret = serializers.CharField(required=False, write_only=True, max_length=200)
    kinds = serializers.ListField(child=serializers.CharField(max_length=40), required=False)
    active = serializers.BooleanField(read_only=True)
    created_at = serializers.DateTimeField(read_only=True)


class NewTargetSerializer(TargetSerializer):
    secret = serializers.CharField(required=False)  # type: ignore[assignment]


class TargetChange(StrictForm):
    secret = serializers.CharField(required=False, max_length=200)
    kinds = serializers.ListField(child=serializers.CharField(max_length=40), required=False)
    active = serializers.BooleanField(required=False)


class DeliverySerializer(serializers.ModelSerializer):
    alert = serializers.IntegerField(source="alert_id")
    kind = serializers.CharField(source="alert.kind")

    class Meta:
        model = AlertDelivery
        fields = ["id", "alert", "kind", "state", "attempts", "next_at", "sent_at", "error"]


class AlertTargetViewSet(KnownQuery, CrudViewSet):
    """Webhooks and e-mail addresses that alerts go to; `{id}/test` sends one, `{id}/deliveries` says what became of the
    last hundred."""

    queryset = AlertTarget.objects.select_related("lob")
    serializer_class = TargetSerializer
    write_roles = ("operator", "finance")
    page_order = ("-created_at", "-pk")

    @extend_schema(responses={201: NewTargetSerializer})
    def create(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        values = self.checked(TargetSerializer)
        if values["lob"] is None:
            self.require_whole_organisation()
        organisation_id = self.scope.organisation_id
        assert organisation_id is not None
        target, plain = targets.create_target(organisation_id=organisation_id, user=request.user, **values)
        shown = self.get_serializer(target).data
        told = {"secret": plain} if plain and "secret" not in values else {}
        return Response(shown | told, status=201)

    @extend_schema(request=TargetChange, responses={200: TargetSerializer})
    def partial_update(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        target, values = self.get_object(), self.checked(TargetChange)
        return Response(
            self.get_serializer(targets.change_target(target=target, user=request.user, **values)).data
        )

    def perform_destroy(self, row: AlertTarget) -> None:
        targets.delete_target(target=row, user=self.request.user)  # type: ignore[arg-type]

    @extend_schema(request=EmptySerializer, responses={202: DeliverySerializer})
    @action(detail=True, methods=["post"])
    def test(self, request: Any, pk: str = "") -> Response:
        delivery = targets.send_test(target=self.get_object(), user=request.user)
        return Response(DeliverySerializer(delivery).data, status=202)

    @extend_schema(responses={200: DeliverySerializer(many=True)}, filters=False)
    @action(detail=True, methods=["get"], pagination_class=None)
    def deliveries(self, request: Any, pk: str = "") -> Response:
        rows = self.get_object().deliveries.select_related("alert").order_by("-pk")[:100]
        return Response({"results": DeliverySerializer(rows, many=True).data, "next": None})

    def checked(self, form: type[StrictForm]) -> dict[str, Any]:
        serializer = form(data=self.request.data, context=self.get_serializer_context())
        serializer.is_valid(raise_exception=True)
        return serializer.validated_data
