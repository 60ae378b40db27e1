"""What /prices does besides keeping sheets: import from a file, and a preview of history by another sheet."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.http import Http404
from rest_framework import serializers

from costs.api.price_fields import TermsForm
from costs.api.reports import as_json
from costs.contracts import PriceSheet
from costs.models import Price
from costs.reports import Report
from costs.sheets import deployments as known
from costs.sheets.book import FORMATS
from costs.sheets.imports import Change, Diff, Line
from costs.sheets.reprice import Preview, draft, figures, reprice, sheet_of_price
from switchyard.core.clock import now
from switchyard.core.errors import ValidationFailed
from switchyard.core.money import format_usd
from switchyard.tenancy.api.base import StrictForm
from switchyard.tenancy.querysets import Scope


class PriceImport(StrictForm):
    """A file's text, and what to do with it. Without `apply` it only says what would change."""

    format = serializers.ChoiceField(FORMATS)
    text = serializers.CharField(trim_whitespace=False, max_length=4 * 1024 * 1024)
    source = serializers.CharField(max_length=300)
    map = serializers.DictField(required=False, help_text="Vendor's model → deployment, or a list of them.")
    apply = serializers.BooleanField(default=False)

    def get_fields(self) -> dict[str, Any]:
        return super().get_fields() | {"from": serializers.DateTimeField(required=False)}

    def asked(self) -> dict[str, Any]:
        """As diff_prices takes it."""
        values = self.validated_data
        return {
            "text": values["text"], "kind": values["format"], "source": values["source"], "begins": values.get("from"),
            "named": values.get("map"),
        }  # fmt: skip


class PriceDiff(serializers.Serializer):
    """rows: {kind: added | changed | same, deployment, model, line, from, changes: [{name, old, new, percent}], ignored}."""

    applied = serializers.BooleanField()
    source = serializers.CharField()
    rows = serializers.ListField(child=serializers.DictField())
    refused = serializers.ListField(child=serializers.DictField())
    counts = serializers.DictField(child=serializers.IntegerField())
    unnamed = serializers.ListField(child=serializers.CharField())


def diff_as_json(diff: Diff) -> dict[str, Any]:
    kinds = [line.kind for line in diff.lines]
    counts = {kind: kinds.count(kind) for kind in ("added", "changed", "same")}
    counts |= {"refused": len(diff.refused), "other_models": diff.others, "other_dates": diff.not_in_force}
    return {
        "applied": diff.applied, "source": diff.source, "counts": counts, "rows": [_line(line) for line in diff.lines],
        "refused": [{"line": r.line, "model": r.model, "reason": r.reason} for r in diff.refused],
        "unnamed": diff.unnamed,
    }  # fmt: skip


def _line(line: Line) -> dict[str, Any]:
    return {
        "kind": line.kind, "deployment": line.deployment, "model": line.model, "line": line.line, "from": line.begins,
        "changes": [change_as_json(change) for change in line.changes], "ignored": list(line.ignored),
    }  # fmt: skip


def change_as_json(change: Change) -> dict[str, Any]:
    percent = None if change.percent is None else str(change.percent)
    return {
        "name": change.name, "old": shown(change.name, change.old), "new": shown(change.name, change.new),
        "percent": percent,
    }  # fmt: skip


def shown(name: str, value: Any) -> Any:
    """An amount by its name outside: decimal text, percent, tiers in dollars."""
    if value is None or isinstance(value, str):
        return value
    fields = TermsForm().fields
    return fields[name].to_representation(value) if name in fields else format_usd(value)


class Reprice(StrictForm):
    """Which calls (`deployments`, `from`, `to`, `lob`) by which sheet: a kept one (`price`) or a draft (`prices`)."""

    deployments = serializers.ListField(
        child=serializers.CharField(max_length=63), required=False, max_length=200
    )
    lob = serializers.CharField(required=False, max_length=63)
    price = serializers.IntegerField(required=False, min_value=1)
    prices = TermsForm(required=False)

    def get_fields(self) -> dict[str, Any]:
        times = {name: serializers.DateTimeField(required=False) for name in ("from", "to")}
        return super().get_fields() | times

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("price" in attrs) == ("prices" in attrs):
            raise serializers.ValidationError(
                {"price": "Name a kept sheet by `price`, or write a draft in `prices`."}
            )
        if "prices" in attrs and not attrs.get("deployments"):
            raise serializers.ValidationError(
                {"deployments": "Name the deployments whose calls a draft is tried on."}
            )
        return attrs


class RepricePreview(serializers.Serializer):
    """Rows by deployment and line of business, then by each alone, then by token class; amounts in dollars."""

    name = serializers.CharField()
    as_of = serializers.DateTimeField()
    method = serializers.ChoiceField(["roll-ups", "calls"])
    why = serializers.CharField(allow_blank=True)
    rows = serializers.ListField(child=serializers.DictField())
    by_deployment = serializers.ListField(child=serializers.DictField())
    by_lob = serializers.ListField(child=serializers.DictField())
    by_class = serializers.ListField(child=serializers.DictField())
    totals = serializers.DictField()


def preview(*, scope: Scope, values: dict[str, Any]) -> Preview:
    """The preview that a checked body asks for. Http404 for what is foreign or missing; raises ValidationFailed."""
    end = values.get("to") or now()
    start = values.get("from") or end - timedelta(days=30)
    if start > end:
        raise serializers.ValidationError({"from": "The period ends before it begins."})
    sheet, names = _sheet(scope, values, end)
    seen = known.visible(scope)
    if seen is not None and not set(names) <= seen:
        raise Http404
    assert scope.organisation_id is not None
    if strangers := known.unknown(scope.organisation_id, names):
        raise ValidationFailed(
            f"There is no deployment {', '.join(map(repr, strangers))}.", param="deployments"
        )
    return reprice(
        scope=scope, deployments=names, start=start, end=end, sheet=sheet, lob=values.get("lob") or None
    )  # fmt: skip


def _sheet(scope: Scope, values: dict[str, Any], end: Any) -> tuple[PriceSheet, list[str]]:
    assert scope.organisation_id is not None
    if "prices" in values:
        names = list(values["deployments"])
        return draft(values["prices"], organisation_id=scope.organisation_id, at=end), names
    row = Price.objects.filter(organisation_id=scope.organisation_id, pk=values["price"]).first()
    seen = known.visible(scope)
    if row is None or (seen is not None and row.deployment not in seen):
        raise Http404
    return sheet_of_price(row, end), list(values.get("deployments") or [row.deployment])


def preview_as_json(found: Preview) -> dict[str, Any]:
    total = found.total
    body = as_json(
        Report(
            "reprice",
            found.as_of,
            found.rows(),
            figures(total.booked_nusd, total.repriced_nusd, calls=total.calls),
        )
    )
    parts = {"by_deployment": found.grouped(0), "by_lob": found.grouped(1), "by_class": found.classes()}
    listed = {name: as_json(Report(name, found.as_of, rows))["rows"] for name, rows in parts.items()}
    return body | listed | {"method": found.method, "why": found.why}
