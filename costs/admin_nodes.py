"""Admin of own machines: what they cost, in dated versions, and who carries their idle time."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db import transaction
from django.utils.translation import gettext_lazy as _
from simple_history.admin import SimpleHistoryAdmin

from costs.models import Node, NodeCost, NodeInterval, Restatement
from costs.nodes.changes import CARRYING_FIELDS, change_carrying, create_node
from costs.nodes.forms import NodeForm
from costs.nodes.standard import hourly_nusd
from costs.nodes.versions import COST_FIELDS
from costs.pricing import Unpriced
from switchyard.core.money import format_usd
from switchyard.tenancy.admin_base import ConfigAdmin, ScopedReadOnlyAdmin, admin_scope, organisation_of


@admin.register(Node)
class NodeAdmin(ConfigAdmin, SimpleHistoryAdmin):
    """A changed cost is a new version; one from a time in the past bills the hours since then again."""

    form = NodeForm
    list_display = ["name", "pool", "hourly", "planned_utilisation", "idle_rule", "source"]
    fieldsets = [
        (None, {"fields": ["name", "pool", "idle_rule", "idle_shares", "planned_utilisation", "source"]}),
        (_("Rented"), {"fields": ["usd_per_hour", "commitment_usd_per_hour", "commitment_upfront_usd",
                                  "commitment_months"]}),
        (_("Bought"), {"fields": ["capex_usd", "salvage_usd", "life_months", "watts", "pue", "usd_per_kwh", "tariff",
                                  "tariff_timezone"]}),
        (_("On top of either"), {"fields": ["rack_usd_per_month", "people_usd_per_month", "operations_usd_per_month"]}),
        (_("The change"), {"fields": ["valid_from", "reason"]}),
    ]  # fmt: skip

    @admin.display(description=_("USD an hour, all in"))
    def hourly(self, node: Node) -> str:
        try:
            return format_usd(hourly_nusd(node))
        except Unpriced:
            return "no cost: gets no traffic"

    def get_queryset(self, request: Any) -> Any:
        return super().get_queryset(request).prefetch_related("costs")

    def get_readonly_fields(self, request: Any, obj: Any = None) -> Any:
        """Rows of history know it by this name."""
        return ["name"] if obj else []

    def get_form(self, request: Any, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change, **kwargs)
        organisation_id = admin_scope(request.user).organisation_id

        class Owned(form):  # type: ignore[misc,valid-type]
            def __init__(self, *args: Any, **named: Any) -> None:
                super().__init__(*args, **named)
                if self.instance.organisation_id is None:
                    self.instance.organisation_id = organisation_id

        return Owned

    def has_delete_permission(self, request: Any, obj: Any = None) -> bool:
        """What was billed is kept; a machine that is gone costs 0 from that day on."""
        return (obj is None or not was_billed(obj)) and super().has_delete_permission(request, obj)

    def delete_queryset(self, request: Any, queryset: Any) -> None:
        billed = [node for node in queryset if was_billed(node)]
        if billed:
            names = ", ".join(node.name for node in billed)
            text = _(
                "Kept, since hours of them were billed: %(names)s. One that is gone costs 0 from that day on."
            )
            self.message_user(request, text % {"names": names}, level=messages.WARNING)
        super().delete_queryset(request, queryset.exclude(pk__in=[node.pk for node in billed]))

    @transaction.atomic
    def save_model(self, request: Any, obj: Node, form: NodeForm, change: bool) -> None:
        values = form.cleaned_data
        if not change:
            organisation = organisation_of(request)
            named = {n: values[n] for n in ("name", *CARRYING_FIELDS, *COST_FIELDS)}
            node = create_node(
                organisation_id=organisation.pk, actor=request.user, valid_from=values["valid_from"], **named
            )
        else:
            done = form.apply(request.user)
            node = Node.objects.get(pk=obj.pk)
            change_carrying(node=node, actor=request.user, **{n: values[n] for n in CARRYING_FIELDS})
            if done is not None:
                self.message_user(request, _("%(n)d hours were billed again.") % {"n": done.hours})
        obj.__dict__.update({k: v for k, v in node.__dict__.items() if k != "_state"})
        obj._state.adding = False


def was_billed(node: Node) -> bool:
    return NodeInterval.objects.filter(organisation_id=node.organisation_id, node=node.name).exists()


@admin.register(NodeCost)
class NodeCostAdmin(ScopedReadOnlyAdmin):
    """Versions as they were written; a later one wins over what it covers."""

    list_display = [
        "node",
        "valid_from",
        "valid_to",
        "usd_per_hour",
        "capex_usd",
        "reason",
        "created_at",
        "created_by",
    ]
    list_filter = ["node"]
    list_select_related = ["node"]
    ordering = ["-created_at"]

    def get_queryset(self, request: Any) -> Any:
        rows = super().get_queryset(request)
        return rows.filter(node__organisation_id=admin_scope(request.user).organisation_id)


@admin.register(NodeInterval)
class NodeIntervalAdmin(ScopedReadOnlyAdmin):
    list_display = [
        "node",
        "start",
        "revision",
        "current",
        "bill_nusd",
        "used_nusd",
        "idle_nusd",
        "cost_version",
        "origin",
    ]
    list_filter = ["node", "current"]
    ordering = ["-start", "-revision"]


@admin.register(Restatement)
class RestatementAdmin(ScopedReadOnlyAdmin):
    list_display = ["node", "start", "end", "hours", "before", "after", "reason", "at", "by"]
    list_filter = ["node"]

    @admin.display(description=_("before, USD"))
    def before(self, row: Restatement) -> str:
        return format_usd(row.before_nusd)

    @admin.display(description=_("after, USD"))
    def after(self, row: Restatement) -> str:
        return format_usd(row.after_nusd)
