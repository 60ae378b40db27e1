"""Admin of who is asking: lines of business, applications, keys, workloads, people."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from simple_history.admin import SimpleHistoryAdmin

from switchyard.core.clock import now
from switchyard.core.money import format_usd
from switchyard.tenancy import services
from switchyard.tenancy.admin_base import ConfigAdmin, ScopedAdmin, UsdField, organisation_of
from switchyard.tenancy.models import (
    AccessToken,
    ApiKey,
    Application,
    LineOfBusiness,
    Membership,
    Organisation,
    User,
    Workload,
)

admin.site.unregister(Group)  # roles are memberships


@admin.register(Organisation)
class OrganisationAdmin(admin.ModelAdmin):
    list_display = ["name", "slug", "four_eyes"]

    def has_delete_permission(self, request: Any, obj: Any = None) -> bool:
        return False  # its ledger and audit log outlive any wish to delete it


class LineOfBusinessForm(forms.ModelForm):
    label_price_nusd = UsdField(
        label=_("Price of a label, USD"), required=False, max_value=1_000_000,
        help_text=_("Of a labelled row, a review, an accepted feedback item; 0 books none."),
    )  # fmt: skip

    class Meta:
        model = LineOfBusiness
        fields = [
            "organisation", "slug", "name", "guard_mode", "guard_threshold", "label_price_nusd", "keep_text", "rpm", "tpm",
            "concurrency",
        ]  # fmt: skip

    def clean_label_price_nusd(self) -> int:
        return self.cleaned_data["label_price_nusd"] or 0


@admin.register(LineOfBusiness)
class LineOfBusinessAdmin(ConfigAdmin, SimpleHistoryAdmin):
    form = LineOfBusinessForm
    list_display = [
        "name", "slug", "guard_mode", "guard_threshold", "label_price", "keep_text", "rpm", "tpm", "concurrency",
    ]  # fmt: skip
    search_fields = ["name", "slug"]

    @admin.display(description=_("a label, USD"))
    def label_price(self, lob: LineOfBusiness) -> str:
        return format_usd(lob.label_price_nusd)


@admin.register(Application)
class ApplicationAdmin(ConfigAdmin, SimpleHistoryAdmin):
    list_display = ["name", "slug", "lob", "rpm", "tpm", "concurrency"]
    list_filter = ["lob"]
    list_select_related = ["lob"]
    search_fields = ["name", "slug"]


@admin.register(Workload)
class WorkloadAdmin(ConfigAdmin, SimpleHistoryAdmin):
    list_display = ["name", "lob", "task", "tier", "sensitivity", "metric", "correct_when", "data_set"]
    list_filter = ["lob", "task", "tier", "sensitivity"]
    list_select_related = ["lob"]
    search_fields = ["name"]


@admin.register(ApiKey)
class ApiKeyAdmin(ConfigAdmin):
    """The plain key is shown once, in the message after saving; what is kept cannot be turned back into it."""

    list_display = ["name", "hint", "application", "created_at", "expires_at", "state"]
    list_filter = ["application__lob"]
    list_select_related = ["application__lob"]
    search_fields = ["name", "hint", "id"]
    fields = ["application", "name", "expires_at", "rpm", "tpm", "concurrency"]
    actions = ["revoke"]

    def get_readonly_fields(self, request: Any, obj: Any = None) -> Any:
        return ["application", "hint", "created_at", "revoked_at"] if obj else []

    def get_fields(self, request: Any, obj: Any = None) -> Any:
        return [*self.fields, "hint", "created_at", "revoked_at"] if obj else self.fields

    @admin.display(description=_("state"))
    def state(self, key: ApiKey) -> Any:
        if key.revoked_at:
            return _("revoked")
        return _("expired") if key.expires_at and key.expires_at <= now() else _("works")

    def save_model(self, request: Any, obj: ApiKey, form: Any, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
            return
        values = {
            name: form.cleaned_data.get(name)
            for name in ("application", "name", "expires_at", "rpm", "tpm", "concurrency")
        }
        key, plain = services.create_key(actor=request.user, **values)
        obj.__dict__.update(key.__dict__)
        text = format_html(
            "{} <code class='shown-once'>{}</code>", _("The key, shown once, copy it now:"), plain
        )
        self.message_user(request, text, level="warning")

    def has_delete_permission(self, request: Any, obj: Any = None) -> bool:
        return False  # decisions name it: revoke it instead

    @admin.action(description=_("Revoke the chosen keys"), permissions=["change"])
    def revoke(self, request: Any, queryset: Any) -> None:
        count = 0
        for key in queryset.filter(revoked_at__isnull=True).select_related("application__lob"):
            services.revoke_key(key=key, actor=request.user)
            count += 1
        self.message_user(request, _("%(count)s keys no longer work anywhere.") % {"count": count})


class MembershipInline(admin.TabularInline):
    model = Membership
    extra = 0
    exclude = ["organisation"]
    filter_horizontal = ["lobs"]


@admin.register(User)
class UserAdmin(DjangoUserAdmin):
    """People. What they may do is their memberships: a role, in some lines of business or all."""

    list_display = ["username", "email", "roles", "is_service", "is_staff", "is_active"]
    list_filter = ["is_service", "is_staff", "is_active"]
    filter_horizontal: tuple[str, ...] = ()
    inlines = [MembershipInline]
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        (_("Person"), {"fields": ("first_name", "last_name", "email", "is_service")}),
        (_("Admin access"), {"fields": ("is_active", "is_staff", "is_superuser")}),
        (_("Dates"), {"fields": ("last_login", "date_joined")}),
    )

    def get_queryset(self, request: Any) -> Any:
        return super().get_queryset(request).prefetch_related("memberships__lobs")

    @admin.display(description=_("roles"))
    def roles(self, user: User) -> str:
        parts = []
        for membership in user.memberships.all():
            lobs = ", ".join(lob.slug for lob in membership.lobs.all()) or "all"
            parts.append(f"{membership.role} ({lobs})")
        return "; ".join(parts)

    def save_formset(self, request: Any, form: Any, formset: Any, change: bool) -> None:
        rows = formset.save(commit=False)
        for row in rows:
            if isinstance(row, Membership) and row.organisation_id is None:
                row.organisation = organisation_of(request)
            row.save()
        for gone in formset.deleted_objects:
            gone.delete()
        formset.save_m2m()


@admin.register(AccessToken)
class AccessTokenAdmin(ScopedAdmin):
    """Bearer tokens of /api/v1; shown once."""

    list_display = ["name", "user", "hint", "created_at", "expires_at", "revoked_at"]
    list_select_related = ["user"]
    fields = ["user", "name", "expires_at"]
    actions = ["revoke"]

    def has_change_permission(self, request: Any, obj: Any = None) -> bool:
        return obj is None and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: Any, obj: Any = None) -> bool:
        return False

    def save_model(self, request: Any, obj: AccessToken, form: Any, change: bool) -> None:
        values = form.cleaned_data
        token, plain = services.create_token(
            user=values["user"], name=values["name"], expires_at=values["expires_at"]
        )
        obj.__dict__.update(token.__dict__)
        text = format_html(
            "{} <code class='shown-once'>{}</code>", _("The token, shown once, copy it now:"), plain
        )
        self.message_user(request, text, level="warning")

    @admin.action(description=_("Revoke the chosen tokens"), permissions=["change"])
    def revoke(self, request: Any, queryset: Any) -> None:
        queryset.filter(revoked_at__isnull=True).update(revoked_at=now())
