"""Admin of what can answer. A deployment's key can be written and never read."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.utils.translation import gettext_lazy as _
from simple_history.admin import SimpleHistoryAdmin

from costs.selectors import price_sheets
from modelhub.models import BiasAudit, Dataset, Deployment, Evaluation, ModelVersion
from modelhub.services.promotion import promote
from modelhub.services.upstream_headers import checked_headers
from switchyard.core.addresses import AddressRefused, check_url
from switchyard.core.conf import conf
from switchyard.core.errors import SwitchyardError
from switchyard.tenancy.admin_base import ConfigAdmin, ScopedReadOnlyAdmin
from switchyard.tenancy.models import Workload


class DeploymentForm(forms.ModelForm):
    new_api_key = forms.CharField(
        label=_("API key"), required=False, widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text=_("Kept encrypted and never shown again. Leave empty to keep the one there is."),
    )  # fmt: skip
    new_headers = forms.JSONField(
        label=_("Headers"), required=False, widget=forms.Textarea(attrs={"rows": 3, "autocomplete": "off"}),
        help_text=_('Beside the key or in its place, as JSON: {"api-key": "…"}. Kept encrypted and never shown again. Leave '
                    "empty to keep what there is; {} takes it away."),
    )  # fmt: skip
    tasks = forms.MultipleChoiceField(
        choices=[(t, t) for t in Workload.TASKS], widget=forms.CheckboxSelectMultiple
    )

    class Meta:
        model = Deployment
        fields = ["name", "side", "base_url", "new_api_key", "new_headers", "model", "tasks", "heads", "region", "lobs", "node",
                  "max_output_tokens", "max_concurrency", "enabled", "note"]  # fmt: skip

    def clean_base_url(self) -> str:
        url = self.cleaned_data["base_url"].rstrip("/")
        try:
            check_url(url, conf("UPSTREAM_CIDRS"))
        except AddressRefused as error:
            raise forms.ValidationError(str(error)) from None
        return url

    def clean_new_headers(self) -> dict[str, str] | None:
        told = self.cleaned_data["new_headers"]
        if told is None or self["new_headers"].value() in (None, ""):
            return None
        if not isinstance(told, dict):
            raise forms.ValidationError(_("Write an object of names and values."))
        try:
            return checked_headers(told)
        except SwitchyardError as error:
            raise forms.ValidationError(error.message) from None

    def save(self, commit: bool = True) -> Deployment:
        if self.cleaned_data.get("new_api_key"):
            self.instance.api_key = self.cleaned_data["new_api_key"]
        if self.cleaned_data.get("new_headers") is not None:
            self.instance.headers = self.cleaned_data["new_headers"]
        return super().save(commit)


@admin.register(Deployment)
class DeploymentAdmin(ConfigAdmin, SimpleHistoryAdmin):
    form = DeploymentForm
    list_display = ["name", "side", "model", "base_url", "tasks", "node", "region", "enabled", "has_key"]
    list_filter = ["side", "enabled"]
    list_select_related = ["node"]
    search_fields = ["name", "model"]
    filter_horizontal = ["lobs"]

    @admin.display(description=_("has a key"), boolean=True)
    def has_key(self, deployment: Deployment) -> bool:
        return bool(deployment.sealed_api_key)

    def save_model(self, request: Any, obj: Deployment, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if obj.side == "external" and obj.name not in price_sheets(obj.organisation_id):
            self.message_user(
                request, _("It has no price yet, so it gets no traffic: add one."), level="warning"
            )
        if obj.side == "private" and obj.node is None:
            self.message_user(
                request, _("It has no node yet, so it gets no traffic: choose one."), level="warning"
            )


@admin.register(ModelVersion)
class ModelVersionAdmin(ScopedReadOnlyAdmin):
    list_display = [
        "workload",
        "version",
        "deployment",
        "stage",
        "upstream_model",
        "created_at",
        "promoted_at",
    ]
    list_filter = ["stage", "deployment"]
    list_select_related = ["workload", "deployment"]
    actions = ["promote"]

    @admin.action(description=_("Promote to live"), permissions=["view"])
    def promote(self, request: Any, queryset: Any) -> None:
        if not request.user.has_perm("modelhub.change_modelversion"):
            self.message_user(
                request, _("Promoting takes the permission to change model versions."), level="error"
            )
            return
        for version in queryset:
            try:
                promote(version=version, user=request.user)
            except SwitchyardError as error:
                self.message_user(request, error.message, level="error")
            else:
                self.message_user(request, _("%(version)s is live.") % {"version": version})


@admin.register(Evaluation)
class EvaluationAdmin(ScopedReadOnlyAdmin):
    list_display = [
        "at",
        "workload",
        "deployment",
        "version",
        "metric",
        "value",
        "low",
        "high",
        "n",
        "verdict",
        "device",
    ]
    list_filter = ["verdict", "deployment"]
    list_select_related = ["workload", "deployment"]


@admin.register(BiasAudit)
class BiasAuditAdmin(ScopedReadOnlyAdmin):
    list_display = ["at", "workload", "student", "teacher", "verdict", "device"]
    list_filter = ["verdict"]
    list_select_related = ["workload"]


@admin.register(Dataset)
class DatasetAdmin(ScopedReadOnlyAdmin):
    list_display = ["created_at", "name", "lob", "workload", "rows", "digest"]
    list_select_related = ["lob", "workload"]
