"""REST of the ledger."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.response import Response

from costs.api.fields import UsdField
from costs.models import LedgerEntry
from switchyard.tenancy.api.base import ReadViewSet, filters, narrowed_by


class LedgerSerializer(serializers.ModelSerializer):
    amount_usd = UsdField(source="amount_nusd", read_only=True)

    class Meta:
        model = LedgerEntry
        fields = [
            "id", "event_id", "at", "recorded_at", "debit", "credit", "amount_usd", "lob", "purpose", "request_id", "attempt",
            "job_id", "memo", "price_version", "reverses", "origin",
        ]  # fmt: skip


class LedgerViewSet(ReadViewSet):
    """Append-only transfers, newest first; `?lob=` and `?request_id=` narrow."""

    queryset = LedgerEntry.objects.all()
    serializer_class = LedgerSerializer
    read_roles = ("finance", "viewer", "operator")
    page_order = ("-id",)

    def filter_queryset(self, queryset: Any) -> Any:
        narrow = self.action == "list"
        return narrowed_by(queryset, self.request, ("lob", "request_id")) if narrow else queryset

    @extend_schema(parameters=filters("lob", "request_id"))
    def list(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        return super().list(request, *args, **kwargs)
