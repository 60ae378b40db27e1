"""REST of workload plans and business events."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from drf_spectacular.utils import PolymorphicProxySerializer, extend_schema
from rest_framework import serializers
from rest_framework.response import Response

from costs import plans
from costs.api.base import KnownQuery
from costs.api.fields import UsdField
from costs.models import BusinessEvent, WorkloadPlan
from switchyard.tenancy.api.base import (
    CrudViewSet,
    ReadViewSet,
    ScopedSlugField,
    StrictForm,
    StrictSerializer,
    filters,
    narrowed_by,
)
from switchyard.tenancy.models import Workload


class PlanSerializer(StrictSerializer):
    lob = serializers.CharField(source="lob.slug", read_only=True)
    workload = serializers.CharField(read_only=True)

    class Meta:
        model = WorkloadPlan
        fields = ["id", "workload", "lob", *plans.FIELDS, "created_at"]
        read_only_fields = ["id", "created_at"]


class NewPlanSerializer(PlanSerializer):
    """The workload is named once: what was spent on it stays where it is."""

    workload = ScopedSlugField(slug_field="name", queryset=Workload.objects.select_related("lob"))


class WorkloadPlanViewSet(KnownQuery, CrudViewSet):
    """What no meter sees of a workload's lifetime cost: the model's life, bought data, people, an event's worth."""

    queryset = WorkloadPlan.objects.select_related("lob")
    serializer_class = PlanSerializer
    lookup_names = ("workload",)
    write_roles = ("finance",)
    page_order = ("workload", "pk")

    @extend_schema(request=NewPlanSerializer, responses={201: PlanSerializer})
    def create(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        form = NewPlanSerializer(data=request.data, context=self.get_serializer_context())
        form.is_valid(raise_exception=True)
        plan = plans.create_plan(actor=request.user, **form.validated_data)
        return Response(self.get_serializer(plan).data, status=201)

    def perform_update(self, serializer: Any) -> None:
        plans.change_plan(plan=serializer.instance, actor=self.request.user, **serializer.validated_data)

    def perform_destroy(self, plan: WorkloadPlan) -> None:
        plans.delete_plan(plan=plan, actor=self.request.user)


class EventSerializer(serializers.ModelSerializer):
    event = serializers.CharField(source="name")
    value_usd = UsdField(source="value_nusd", allow_null=True)

    class Meta:
        model = BusinessEvent
        fields = ["event_id", "workload", "lob", "event", "count", "value_usd", "at", "recorded_at"]


class ReportedSerializer(StrictForm):
    """`value_usd` is what all `count` of them brought together; left out, the workload's plan says what one is worth."""

    event_id = serializers.CharField(max_length=80)
    workload = serializers.CharField(max_length=63)
    event = serializers.CharField(max_length=63, help_text="e.g. ticket-resolved.")
    count = serializers.IntegerField(min_value=1, max_value=plans.MOST_COUNT, required=False)
    value_usd = UsdField(
        source="value_nusd", min_value=Decimal(-1_000_000), max_value=Decimal(1_000_000), required=False, allow_null=True
    )  # fmt: skip
    at = serializers.DateTimeField(required=False, help_text="Now, when left out.")


class BusinessEventViewSet(KnownQuery, ReadViewSet):
    """What happened in the business because of answers, as apps report it: one event or a list of up to 1,000, all taken
    or none. The same event again changes nothing; the same id with other content is 409. DELETE takes one back."""

    queryset = BusinessEvent.objects.all()
    serializer_class = EventSerializer
    lookup_names = ("event_id",)
    write_roles = ("operator", "finance")
    page_order = ("-at", "-pk")
    takes = {"list": ("lob", "workload", "name")}

    def filter_queryset(self, queryset: Any) -> Any:
        return narrowed_by(queryset, self.request, self.takes["list"]) if self.action == "list" else queryset

    @extend_schema(parameters=filters(*takes["list"]))
    def list(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        return super().list(request, *args, **kwargs)

    @extend_schema(
        request=PolymorphicProxySerializer(
            component_name="ReportedEvents",
            serializers=[ReportedSerializer, ReportedSerializer(many=True)],
            resource_type_field_name=None,
            many=False,
        ),
        responses={201: EventSerializer, 200: EventSerializer},
    )
    def create(self, request: Any) -> Response:
        """201 when something was new, 200 when all of it was known. A list is answered as {"results", "next": null}."""
        many = isinstance(request.data, list)
        if many and len(request.data) > plans.MOST_EVENTS:
            raise serializers.ValidationError(
                f"{len(request.data)} events; at most {plans.MOST_EVENTS} are taken at once."
            )
        form = ReportedSerializer(data=request.data, many=many)
        form.is_valid(raise_exception=True)
        told: list[Mapping[str, Any]] = form.validated_data if many else [form.validated_data]
        rows, new = plans.report_events(scope=self.scope, items=[plans.Reported(**item) for item in told])
        shown = self.get_serializer(rows if many else rows[0], many=many).data
        body = {"results": shown, "next": None} if many else shown
        return Response(body, status=201 if new else 200)

    def destroy(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        self.require_role("finance")
        plans.delete_event(event=self.get_object(), actor=request.user)
        return Response(status=204)
