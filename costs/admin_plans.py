"""Admin of plans and business events."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _
from simple_history.admin import SimpleHistoryAdmin

from costs.models import BusinessEvent, WorkloadPlan
from costs.plans import FIELDS, check_plan
from switchyard.core.errors import ValidationFailed
from switchyard.core.money import format_usd
from switchyard.tenancy.admin_base import ConfigAdmin, ScopedReadOnlyAdmin, admin_scope
from switchyard.tenancy.models import Workload


class PlanForm(forms.ModelForm):
    class Meta:
        model = WorkloadPlan
        fields = ["workload", *FIELDS]


@admin.register(WorkloadPlan)
class WorkloadPlanAdmin(ConfigAdmin, SimpleHistoryAdmin):
    form = PlanForm
    list_display = [
        "workload", "lob", "model_life_months", "data_usd", "people_usd_per_month", "event_name", "event_value_usd",
        "source",
    ]  # fmt: skip
    list_filter = ["lob"]
    list_select_related = ["lob"]
    search_fields = ["workload"]

    def get_readonly_fields(self, request: Any, obj: Any = None) -> Any:
        return ["workload"] if obj else []

    def get_form(self, request: Any, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """The workload is one the administrator sees, and its line of business comes with it."""
        form = super().get_form(request, obj, change, **kwargs)
        scope = admin_scope(request.user)

        class Checked(form):  # type: ignore[misc,valid-type]
            def clean_workload(self) -> str:
                name = self.cleaned_data["workload"]
                found = Workload.objects.for_tenant(scope).select_related("lob").filter(name=name).first()
                if found is None:
                    raise ValidationError(_("There is no workload of this name."))
                plans = WorkloadPlan.objects.filter(
                    organisation_id=found.organisation_id, workload=found.name
                )
                if plans.exclude(pk=self.instance.pk).exists():
                    raise ValidationError(_("This workload has a plan already."))
                self.instance.organisation_id, self.instance.lob = found.organisation_id, found.lob
                return name

            def _post_clean(self) -> None:
                super()._post_clean()
                if self.errors:
                    return
                try:
                    check_plan(self.instance)
                except ValidationFailed as error:
                    for fault in error.errors:
                        self.add_error(
                            fault["path"] if fault["path"] in self.fields else None, fault["message"]
                        )

        return Checked


@admin.register(BusinessEvent)
class BusinessEventAdmin(ScopedReadOnlyAdmin):
    list_display = ["at", "workload", "name", "count", "usd", "lob", "event_id"]
    list_filter = ["lob", "name"]
    search_fields = ["=event_id"]
    ordering = ["-pk"]

    @admin.display(description="USD")
    def usd(self, event: BusinessEvent) -> str:
        return "" if event.value_nusd is None else format_usd(event.value_nusd)
