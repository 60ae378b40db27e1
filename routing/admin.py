"""Admin of policies: a document is saved as a new version, checked and proven; and decisions to read."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from routing.dictionaries.admin import DictionaryAdmin as DictionaryAdmin
from routing.models import DecisionRecord, Feedback, Interception, Policy, PolicyApproval
from routing.services import policies
from switchyard.core.errors import SwitchyardError, ValidationFailed
from switchyard.core.money import format_usd
from switchyard.tenancy.admin_base import ScopedAdmin, ScopedReadOnlyAdmin, organisation_of


def located(fault: dict[str, Any]) -> str:
    """One fault in words: where, what, and the request that proves it."""
    where = f"Line {fault['line']}, column {fault['column']}: " if fault.get("line") else ""
    example = fault.get("counter_example")
    proof = ""
    if example:
        facts = ", ".join(f"{name} = {value}" for name, value in example["facts"].items())
        proof = f" The request that proves it: {facts} → {example['deployment']} ({example['hop']})."
    return f"{where}{fault['message']}{proof}"


class DocumentField(forms.CharField):
    """Browsers send CRLF; a document keeps LF, so that it is only changed when somebody changes it."""

    def to_python(self, value: Any) -> str:
        return super().to_python(value).replace("\r\n", "\n")


class PolicyForm(forms.ModelForm):
    """Adding saves a draft; changing the document saves the next version, since a document never changes."""

    document = DocumentField(
        widget=forms.Textarea(attrs={"rows": 28, "class": "vLargeTextField code", "spellcheck": "false"}),
        strip=False,
    )
    organisation: Any = None

    class Meta:
        model = Policy
        fields = ["lob", "document", "note"]

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        document = values.get("document")
        lob = self.instance.lob if self.instance.pk else values.get("lob")
        if document is None or (self.instance.pk and document == self.initial.get("document")):
            return values
        try:
            policies.check_document(organisation=self.organisation, lob=lob, document=document)
        except ValidationFailed as error:
            self.add_error("document", [located(fault) for fault in error.errors])
        return values


@admin.register(Policy)
class PolicyAdmin(ScopedAdmin):
    form = PolicyForm
    list_display = [
        "scope",
        "version",
        "state",
        "percent",
        "created_by",
        "created_at",
        "published_at",
        "note",
    ]
    list_filter = ["state", "lob"]
    list_select_related = ["lob", "created_by"]
    ordering = ["lob__slug", "-version"]
    actions = ["publish_chosen", "roll_back_scope", "validate_chosen"]
    change_form_template = "admin/routing/policy/change_form.html"
    seen = [
        "version",
        "state",
        "percent",
        "hash",
        "report",
        "created_by",
        "approved_by",
        "created_at",
        "published_at",
    ]

    @admin.display(description=_("scope"))
    def scope(self, policy: Policy) -> str:
        return policy.lob.slug if policy.lob else "organisation"

    def get_fields(self, request: Any, obj: Any = None) -> Any:
        return ["lob", "document", "note", *(self.seen if obj else [])]

    def get_readonly_fields(self, request: Any, obj: Any = None) -> Any:
        return ["lob", *self.seen] if obj else []

    def get_form(self, request: Any, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change, **kwargs)
        form.organisation = organisation_of(request)
        return form

    def has_delete_permission(self, request: Any, obj: Any = None) -> bool:
        return False  # decisions name their version

    def save_model(self, request: Any, obj: Policy, form: Any, change: bool) -> None:
        """The stored version stays; a changed document becomes the next one and takes its place in the answer."""
        request.saved_policy = Policy.objects.get(pk=obj.pk) if change else None
        if not change or "document" in form.changed_data:
            request.saved_policy = policies.create_draft(
                organisation=organisation_of(request),
                lob=obj.lob,
                document=obj.document,
                user=request.user,
                note=obj.note,
            )
            obj.__dict__.update(request.saved_policy.__dict__)

    def response_add(self, request: Any, obj: Policy, post_url_continue: Any = None) -> HttpResponse:
        return self._respond(request, obj)

    def response_change(self, request: Any, obj: Policy) -> HttpResponse:
        return self._respond(request, obj)

    def _respond(self, request: Any, obj: Policy) -> HttpResponse:
        """Save, or save and publish, or roll back: then the version that is now to be seen."""
        shown = request.saved_policy
        try:
            if "_publish" in request.POST:
                shown = policies.publish(policy=shown, user=request.user)
                self.message_user(
                    request, _("%(policy)s is live in every process within 2 seconds.") % {"policy": shown}
                )
            elif "_rollback" in request.POST:
                shown = policies.rollback(organisation=shown.organisation, lob=shown.lob, user=request.user)
                self.message_user(request, _("Rolled back: %(policy)s is live again.") % {"policy": shown})
            else:
                self.message_user(request, _("%(policy)s is saved.") % {"policy": shown})
        except SwitchyardError as error:
            self._refused(request, error)
        return HttpResponseRedirect(reverse("admin:routing_policy_change", args=[shown.pk]))

    def _refused(self, request: Any, error: SwitchyardError) -> None:
        for text in (
            [located(f) for f in error.errors] if isinstance(error, ValidationFailed) else [error.message]
        ):
            self.message_user(request, text, level="error")

    def _each(self, request: Any, queryset: Any, do: Any) -> None:
        for policy in queryset.select_related("organisation", "lob"):
            try:
                self.message_user(request, str(do(policy)))
            except SwitchyardError as error:
                self._refused(request, error)

    @admin.action(description=_("Publish"), permissions=["change"])
    def publish_chosen(self, request: Any, queryset: Any) -> None:
        self._each(request, queryset, lambda p: policies.publish(policy=p, user=request.user))

    @admin.action(description=_("Roll back the scope of the chosen"), permissions=["change"])
    def roll_back_scope(self, request: Any, queryset: Any) -> None:
        self._each(
            request,
            queryset,
            lambda p: policies.rollback(organisation=p.organisation, lob=p.lob, user=request.user),
        )

    @admin.action(description=_("Validate"), permissions=["change"])
    def validate_chosen(self, request: Any, queryset: Any) -> None:
        self._each(request, queryset, lambda p: policies.validate(policy=p, user=request.user))


@admin.register(PolicyApproval)
class PolicyApprovalAdmin(ScopedReadOnlyAdmin):
    """Decided on its page, where the evidence stands beside it."""

    list_display = [
        "policy",
        "state",
        "requested_by",
        "requested_at",
        "decided_by",
        "decided_at",
        "note",
        "reason",
    ]
    list_filter = ["state"]
    list_select_related = ["policy__lob", "requested_by", "decided_by"]


@admin.register(DecisionRecord)
class DecisionRecordAdmin(ScopedReadOnlyAdmin):
    list_display = [
        "id",
        "at",
        "lob",
        "workload",
        "sensitivity",
        "side",
        "deployment",
        "policy_version",
        "status",
        "usd",
        "origin",
    ]
    list_filter = ["lob", "side", "sensitivity", "guard_verdict", "origin"]
    search_fields = ["=id", "=request_id"]
    exclude = ["sealed_answers"]

    @admin.display(description="USD")
    def usd(self, row: DecisionRecord) -> str:
        return format_usd(row.cost_nusd)


@admin.register(Feedback)
class FeedbackAdmin(ScopedReadOnlyAdmin):
    list_display = [
        "given_at",
        "decision_id",
        "index",
        "lob",
        "workload",
        "deployment",
        "correct",
        "score",
        "origin",
    ]
    list_filter = ["lob", "correct"]
    search_fields = ["=decision_id"]


@admin.register(Interception)
class InterceptionAdmin(ScopedReadOnlyAdmin):
    list_display = [
        "at",
        "lob",
        "workload",
        "kind",
        "score",
        "threshold",
        "mode",
        "withheld",
        "state",
        "reviewed_by",
    ]
    list_filter = ["lob", "state", "withheld"]
    search_fields = ["=decision_id"]
