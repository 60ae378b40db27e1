"""REST of promotion: gates, canaries, golden sets, lineage, and the bounds of a line of business."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.response import Response

from modelhub.models import Canary, Dataset, GateReport, GateRule, GoldenSet, ModelVersion
from modelhub.selectors.lineage import lineage_of
from modelhub.services import promotion
from modelhub.services.canary import lacking, start_canary, stop_canary, tests_of
from modelhub.services.gates import latest_report, rule_of, unmet
from modelhub.services.gating import BOUNDS, RULE_FIELDS, set_rule, start_gates
from modelhub.services.golden import activate_golden, add_golden
from switchyard.jobs.serializers import JobStartedSerializer
from switchyard.tenancy.api.base import (
    EmptySerializer,
    ReadViewSet,
    ScopedSlugField,
    StrictForm,
    TenantViewSet,
    filters,
    find,
    narrowed_by,
)
from switchyard.tenancy.models import LineOfBusiness, Workload


class ReasonForm(StrictForm):
    reason = serializers.CharField(max_length=300, required=False, allow_blank=True, default="")


class GateResultSerializer(serializers.Serializer):
    gate = serializers.CharField()
    verdict = serializers.CharField(help_text="pass, fail, not_enough_data or not_run")
    sentence = serializers.CharField()
    figures = serializers.JSONField()


class GateReportSerializer(serializers.ModelSerializer):
    version = serializers.IntegerField(source="version_id", read_only=True)
    baseline = serializers.IntegerField(source="baseline_id", read_only=True, allow_null=True)
    golden = serializers.IntegerField(source="golden_id", read_only=True, allow_null=True)
    results = GateResultSerializer(many=True, read_only=True)
    against = serializers.SerializerMethodField(
        help_text="What speaks against the version now; empty: it may go live."
    )

    class Meta:
        model = GateReport
        fields = [
            "id",
            "version",
            "baseline",
            "golden",
            "digest",
            "job_id",
            "at",
            "device",
            "results",
            "against",
        ]

    @extend_schema(responses=GateResultSerializer(many=True))
    def get_against(self, row: GateReport) -> list[dict[str, Any]]:
        return [result.as_dict() for result in unmet(row.version, row)]


class StartGates(StrictForm):
    limit = serializers.IntegerField(
        min_value=10, max_value=1_000_000, required=False, default=None, allow_null=True
    )


class StartCanary(ReasonForm):
    percent = serializers.IntegerField(
        min_value=1, max_value=50, required=False, default=None, allow_null=True
    )
    automatic = serializers.BooleanField(required=False, default=None, allow_null=True)
    least_answers = serializers.IntegerField(
        min_value=1, required=False, default=None, allow_null=True, max_value=10_000_000
    )
    least_judged = serializers.IntegerField(
        min_value=0, required=False, default=None, allow_null=True, max_value=10_000_000
    )


class CanarySerializer(serializers.ModelSerializer):
    version = serializers.IntegerField(source="version_id", read_only=True)
    baseline = serializers.IntegerField(source="baseline_id", read_only=True, allow_null=True)
    deployment = serializers.SlugRelatedField(slug_field="name", read_only=True)
    workload = serializers.SlugRelatedField(slug_field="name", read_only=True)
    state = serializers.CharField(read_only=True, help_text="running, promoted, rolled_back or stopped")
    tests = serializers.SerializerMethodField()
    lacking = serializers.SerializerMethodField(help_text="What it still needs to go live by itself.")

    class Meta:
        model = Canary
        fields = [
            "id", "version", "baseline", "deployment", "workload", "percent", "automatic", "least_answers", "least_judged",
            "state", "started_at", "started_by", "ended_at", "ended_by", "reason", "tests", "lacking",
        ]  # fmt: skip

    def get_tests(self, row: Canary) -> dict[str, Any]:
        return {
            name: {
                "new": {"n": test.n_new + test.waiting[0], "bad": test.bad_new + test.waiting[1]},
                "old": {"n": test.n_old + test.waiting[2], "bad": test.bad_old + test.waiting[3]},
                "evidence": min(test.e_value, 1e12),
            }
            for name, test in tests_of(row).items()
        }  # fmt: skip

    def get_lacking(self, row: Canary) -> list[str]:
        return lacking(row) if row.state == "running" else []


class StepSerializer(serializers.Serializer):
    kind = serializers.CharField()
    title = serializers.CharField()
    at = serializers.DateTimeField(allow_null=True)
    digest = serializers.CharField()
    id = serializers.CharField()
    known = serializers.BooleanField()
    facts = serializers.JSONField()


class LineageSerializer(serializers.Serializer):
    steps = StepSerializer(many=True)


class PromotionActions:
    """What a version can be asked and told beside promote, reject and retire."""

    @extend_schema(methods=["GET"], responses={200: GateReportSerializer})
    @extend_schema(methods=["POST"], request=StartGates, responses={202: JobStartedSerializer})
    @action(detail=True, methods=["get", "post"])
    def gates(self: Any, request: Any, pk: str = "") -> Response:
        """GET: the latest verdicts, 404 before there are any. POST: run them; 202 with the job."""
        version = self.get_object()
        if request.method == "POST":
            form = StartGates(data=request.data)
            form.is_valid(raise_exception=True)
            job = start_gates(version=version, user=request.user, limit=form.validated_data["limit"])
            return Response({"job": job.pk}, status=202)
        report = latest_report(version)
        if report is None:
            raise promotion.NotFound("The gates of this version have not been run.")
        return Response(GateReportSerializer(report).data)

    @extend_schema(request=StartCanary, responses={201: CanarySerializer})
    @action(detail=True, methods=["post"])
    def canary(self: Any, request: Any, pk: str = "") -> Response:
        """Give it a share of the traffic. {"percent"?, "automatic"?, "least_answers"?, "least_judged"?, "reason"?}"""
        form = StartCanary(data=request.data)
        form.is_valid(raise_exception=True)
        canary = start_canary(version=self.get_object(), user=request.user, **form.validated_data)
        return Response(CanarySerializer(canary).data, status=201)

    @extend_schema(request=ReasonForm)
    @action(detail=True, methods=["post"])
    def rollback(self: Any, request: Any, pk: str = "") -> Response:
        """From this live version back to the one before it."""
        form = ReasonForm(data=request.data)
        form.is_valid(raise_exception=True)
        version = promotion.rollback(
            version=self.get_object(), user=request.user, reason=form.validated_data["reason"]
        )
        return Response(self.get_serializer(version).data)

    @extend_schema(responses={200: LineageSerializer})
    @action(detail=True, methods=["get"])
    def lineage(self: Any, request: Any, pk: str = "") -> Response:
        """From the data to the deployment, with digests."""
        version: ModelVersion = self.get_object()
        return Response(
            {"steps": StepSerializer([s.as_dict() for s in lineage_of(version, self.scope)], many=True).data}
        )


class CanaryViewSet(ReadViewSet):
    """Versions on trial; `stop` sends all of the traffic back to the live one."""

    queryset = Canary.objects.select_related("version", "deployment", "workload__lob")
    serializer_class = CanarySerializer
    write_roles = ("model_engineer", "operator")
    page_order = ("-started_at", "pk")

    @extend_schema(parameters=filters("state", "workload"))
    def list(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        return super().list(request, *args, **kwargs)

    def filter_queryset(self, queryset: Any) -> Any:
        names = {"state": "state", "workload": "workload__name"}
        return narrowed_by(queryset, self.request, names) if self.action == "list" else queryset

    @extend_schema(request=ReasonForm)
    @action(detail=True, methods=["post"])
    def stop(self, request: Any, pk: str = "") -> Response:
        form = ReasonForm(data=request.data)
        form.is_valid(raise_exception=True)
        row = stop_canary(canary=self.get_object(), user=request.user, reason=form.validated_data["reason"])
        return Response(self.get_serializer(row).data)


class GoldenSerializer(serializers.ModelSerializer):
    workload = serializers.SlugRelatedField(slug_field="name", read_only=True)

    class Meta:
        model = GoldenSet
        fields = [
            "id",
            "workload",
            "version",
            "digest",
            "rows",
            "source",
            "active",
            "created_by",
            "created_at",
        ]


class AddGolden(StrictForm):
    workload = ScopedSlugField(slug_field="name", queryset=Workload.objects.all())
    dataset = ScopedSlugField(slug_field="id", queryset=Dataset.objects.all())


class GoldenViewSet(ReadViewSet):
    """The rows that judge a workload, by version; POST makes the next one of a data set, `activate` has one judge again."""

    queryset = GoldenSet.objects.select_related("workload__lob")
    serializer_class = GoldenSerializer
    write_roles = ("model_engineer", "risk")
    page_order = ("-created_at", "pk")

    @extend_schema(parameters=filters("workload"))
    def list(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        return super().list(request, *args, **kwargs)

    def filter_queryset(self, queryset: Any) -> Any:
        return (
            narrowed_by(queryset, self.request, {"workload": "workload__name"})
            if self.action == "list"
            else queryset
        )

    @extend_schema(request=AddGolden, responses={201: GoldenSerializer})
    def create(self, request: Any) -> Response:
        form = AddGolden(data=request.data, context=self.get_serializer_context())
        form.is_valid(raise_exception=True)
        golden = add_golden(user=request.user, **form.validated_data)
        return Response(self.get_serializer(golden).data, status=201)

    @extend_schema(request=EmptySerializer)
    @action(detail=True, methods=["post"])
    def activate(self, request: Any, pk: str = "") -> Response:
        return Response(
            self.get_serializer(activate_golden(golden=self.get_object(), user=request.user)).data
        )


class RuleSerializer(serializers.ModelSerializer):
    lob = serializers.SlugRelatedField(slug_field="slug", read_only=True)

    class Meta:
        model = GateRule
        fields = ["lob", *RULE_FIELDS]


class RuleForm(StrictForm):
    """The bounds to change."""

    def get_fields(self) -> dict[str, serializers.Field]:
        fields: dict[str, serializers.Field] = {"canary_automatic": serializers.BooleanField(required=False)}
        for name, (low, high) in BOUNDS.items():
            kind = serializers.IntegerField if isinstance(low, int) else serializers.FloatField
            fields[name] = kind(
                min_value=low,
                max_value=high,
                required=False,
                **({"allow_null": True} if name == "most_p99_ms" else {}),
            )
        return fields


class GateRuleViewSet(TenantViewSet):
    """Bounds of the gates and canaries by line of business, under its slug."""

    queryset = LineOfBusiness.objects.all()
    serializer_class = RuleSerializer
    write_roles = ("model_engineer", "risk")

    def _lob(self) -> LineOfBusiness:
        return find(self.get_queryset(), self.kwargs["pk"], ("slug",))

    def list(self, request: Any) -> Response:
        rows = [RuleSerializer(rule_of(lob)).data for lob in self.get_queryset().order_by("slug")]
        return Response({"results": rows, "next": None})

    def retrieve(self, request: Any, pk: str = "") -> Response:
        return Response(RuleSerializer(rule_of(self._lob())).data)

    @extend_schema(request=RuleForm, responses={200: RuleSerializer})
    def partial_update(self, request: Any, pk: str = "") -> Response:
        form = RuleForm(data=request.data)
        form.is_valid(raise_exception=True)
        return Response(
            RuleSerializer(set_rule(lob=self._lob(), user=request.user, **form.validated_data)).data
        )
