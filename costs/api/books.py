"""REST of the ledger and of fiscal periods."""

from __future__ import annotations

import re
from typing import Any

from django.db.models import Q
from django.http import Http404
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.response import Response

from costs.api.base import EARLIEST, LATEST, KnownQuery, OrganisationRows, parse_time
from costs.api.fields import UsdField
from costs.books.checking import checks_of, start_check
from costs.books.closing import close_period, ensure_periods, reopen_period
from costs.books.fiscal import parse_month
from costs.models import FiscalPeriod, LedgerEntry
from switchyard.jobs.models import Job
from switchyard.jobs.serializers import JobStartedSerializer
from switchyard.tenancy.api.base import (
    EmptySerializer,
    ReadViewSet,
    StrictForm,
    filters,
    narrowed_by,
    request_scope,
)
from switchyard.tenancy.models import Organisation


class LedgerSerializer(serializers.ModelSerializer):
    amount_usd = UsdField(source="amount_nusd", read_only=True)

    class Meta:
        model = LedgerEntry
        fields = [
            "id", "event_id", "at", "recorded_at", "debit", "credit", "amount_usd", "lob", "application", "workload",
            "purpose", "request_id", "attempt",
            "job_id", "memo", "price_version", "reverses", "origin",
        ]  # fmt: skip


class LedgerViewSet(KnownQuery, ReadViewSet):
    """Append-only transfers, booked last first; `?from=&to=` (dates or ISO times, the end not in it), `?account=` (either side),
    `?lob=`, `?application=`, `?workload=`, `?purpose=`, `?request_id=` narrow."""

    queryset = LedgerEntry.objects.all()
    serializer_class = LedgerSerializer
    read_roles = ("finance", "viewer", "operator")
    page_order = ("-id",)
    narrow = ("lob", "application", "workload", "purpose", "request_id")
    takes = {"list": ("from", "to", "account", *narrow)}

    def filter_queryset(self, queryset: Any) -> Any:
        if self.action != "list":
            return queryset
        query = self.request.query_params
        start, end = (
            parse_time("from", query.get("from"), EARLIEST),
            parse_time("to", query.get("to"), LATEST),
        )
        if start > end:
            raise serializers.ValidationError({"from": "The period ends before it begins."})
        if start > EARLIEST or end < LATEST:
            queryset = queryset.filter(at__gte=start, at__lt=end)
        account = query.get("account")
        if account:
            queryset = (
                queryset.none()
                if "\x00" in account
                else queryset.filter(Q(debit=account) | Q(credit=account))
            )
        return narrowed_by(queryset, self.request, self.narrow)

    @extend_schema(parameters=filters(*takes["list"]))
    def list(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        return super().list(request, *args, **kwargs)


class FiscalPeriodSerializer(serializers.ModelSerializer):
    """What the whole organisation's books sum to is told to those who see the whole organisation."""

    month = serializers.SerializerMethodField()
    entries = serializers.SerializerMethodField()
    total_usd = serializers.SerializerMethodField()
    events = serializers.ListField(child=serializers.DictField(), read_only=True)

    class Meta:
        model = FiscalPeriod
        fields = [
            "id", "month", "start", "end", "state", "changed_at", "changed_by", "reason", "entries", "total_usd", "events",
        ]  # fmt: skip

    def get_month(self, period: FiscalPeriod) -> str:
        return f"{period.start:%Y-%m}"

    def get_entries(self, period: FiscalPeriod) -> int | None:
        return period.entries if self._whole else None

    def get_total_usd(self, period: FiscalPeriod) -> str | None:
        return UsdField().to_representation(period.total_nusd) if self._whole else None

    @property
    def _whole(self) -> bool:
        return request_scope(self.context["request"]).lob_ids is None


class ReopenSerializer(StrictForm):
    reason = serializers.CharField(max_length=300)


class FiscalPeriodViewSet(KnownQuery, OrganisationRows, ReadViewSet):
    """Months of the books (UTC), newest first; `{id}` may be the month, such as 2026-10. Closing and reopening take the
    role of finance in the whole organisation."""

    queryset = FiscalPeriod.objects.all()
    serializer_class = FiscalPeriodSerializer
    write_roles = ("finance",)
    page_order = ("-start", "-pk")

    def list(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        ensure_periods(self.scope.organisation_id)
        return super().list(request, *args, **kwargs)

    def get_object(self) -> FiscalPeriod:
        named = self.kwargs[self.lookup_field]
        if not re.fullmatch(r"\d{4}-\d{2}", named):
            return super().get_object()
        ensure_periods(self.scope.organisation_id)
        try:
            found = self.get_queryset().filter(start=parse_month(named)).first()
        except ValueError:
            found = None
        if found is None:
            raise Http404
        return found

    @extend_schema(request=EmptySerializer)
    @action(detail=True, methods=["post"])
    def close(self, request: Any, pk: str = "") -> Response:
        """409 says why a month can't be closed: it isn't over, events are on their way, its balance isn't zero."""
        self.require_whole_organisation()
        EmptySerializer(data=request.data).is_valid(raise_exception=True)
        period = self.get_object()
        closed = close_period(organisation_id=period.organisation_id, month=period.start, actor=request.user)
        return Response(self.get_serializer(closed).data)

    @extend_schema(request=ReopenSerializer)
    @action(detail=True, methods=["post"])
    def reopen(self, request: Any, pk: str = "") -> Response:
        self.require_whole_organisation()
        form = ReopenSerializer(data=request.data)
        form.is_valid(raise_exception=True)
        period = self.get_object()
        reopened = reopen_period(
            organisation_id=period.organisation_id, month=period.start, actor=request.user,
            reason=form.validated_data["reason"],
        )  # fmt: skip
        return Response(self.get_serializer(reopened).data)


class BookCheckSerializer(serializers.Serializer):
    """`findings` is what is wrong, one sentence each: empty when the books hold, null until the check has ended."""

    id = serializers.CharField(help_text="Of the job: GET /api/v1/jobs/{id} tells how far it is.")
    state = serializers.CharField()
    asked_by = serializers.CharField(source="created_by.username", default=None)
    created_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField()
    holds = serializers.SerializerMethodField()
    findings = serializers.SerializerMethodField()
    error = serializers.CharField()

    def get_holds(self, job: Job) -> bool | None:
        return job.result.get("holds")

    @extend_schema_field({"type": ["array", "null"], "items": {"type": "string"}})
    def get_findings(self, job: Job) -> list[str] | None:
        return job.result.get("findings")


class BookCheckViewSet(KnownQuery, ReadViewSet):
    """Checks of the organisation's books, newest first: the ledger against attempts, balances, closed months and counters.
    POST starts one (202 with its job); one runs every night."""

    queryset = Job.objects.none()
    serializer_class = BookCheckSerializer
    write_roles = ("finance", "operator")
    page_order = ("-created_at", "pk")

    def get_queryset(self) -> Any:
        """Nobody's line of business owns them: they are for those who see the whole organisation."""
        return checks_of(self.scope.organisation_id) if self.scope.lob_ids is None else Job.objects.none()

    @extend_schema(request=EmptySerializer, responses={202: JobStartedSerializer})
    def create(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        self.require_whole_organisation()
        EmptySerializer(data=request.data).is_valid(raise_exception=True)
        organisation = Organisation.objects.get(pk=self.scope.organisation_id)
        return Response({"job": start_check(organisation=organisation, user=request.user).pk}, status=202)
