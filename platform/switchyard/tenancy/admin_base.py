"""Admin of rows that belong to somebody: own organisation only, and every change audited and told to the gateway."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import admin
from django.db import models, transaction

from switchyard.audit.services import record
from switchyard.core.admin_base import ReadOnlyAdmin
from switchyard.core.money import nusd_to_usd, usd_to_nusd
from switchyard.tenancy.models import Organisation
from switchyard.tenancy.querysets import Scope, scope_of
from switchyard.tenancy.services import bump_config


def admin_scope(user: Any) -> Scope:
    """A superuser administers the installation's organisation whole; staff what their roles give them."""
    scope = scope_of(user)
    if not user.is_superuser:
        return scope
    organisation_id = (
        scope.organisation_id or Organisation.objects.order_by("pk").values_list("pk", flat=True).first()
    )
    return Scope(organisation_id, None, None, frozenset({"admin"}))


def organisation_of(request: Any) -> Organisation:
    """The organisation new rows belong to; an empty installation gets its first one here."""
    pk = admin_scope(request.user).organisation_id
    return (
        Organisation.objects.get(pk=pk)
        if pk
        else Organisation.objects.create(slug="main", name="Organisation")
    )


class ScopedAdmin(admin.ModelAdmin):
    """Lists and choices hold what the reader may see."""

    list_per_page = 50

    def get_queryset(self, request: Any) -> Any:
        rows = super().get_queryset(request)
        scope = admin_scope(request.user)
        if hasattr(rows, "for_tenant"):
            return rows.for_tenant(scope)
        if any(f.name == "organisation" for f in self.model._meta.fields):
            return rows.filter(organisation_id=scope.organisation_id)
        if any(f.name == "organisation_id" for f in self.model._meta.fields):
            return rows.filter(organisation_id=scope.organisation_id)
        return rows

    def formfield_for_foreignkey(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        kwargs.setdefault("queryset", self._choices(db_field, request))
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def formfield_for_manytomany(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        kwargs.setdefault("queryset", self._choices(db_field, request))
        return super().formfield_for_manytomany(db_field, request, **kwargs)

    def _choices(self, db_field: models.Field, request: Any) -> Any:
        rows = db_field.related_model._default_manager.all()  # type: ignore[union-attr]
        scope = admin_scope(request.user)
        if hasattr(rows, "for_tenant"):
            return rows.for_tenant(scope)
        if any(f.name == "organisation" for f in rows.model._meta.fields):
            return rows.filter(organisation_id=scope.organisation_id)
        return rows


class ScopedReadOnlyAdmin(ReadOnlyAdmin, ScopedAdmin):
    """Look, don't touch, one's own only."""


class ConfigAdmin(ScopedAdmin):
    """Rows the gateway holds in memory. `organisation` is the administrator's own; saving is one transaction."""

    def get_exclude(self, request: Any, obj: Any = None) -> Any:
        return [*(super().get_exclude(request, obj) or []), "organisation"]

    @transaction.atomic
    def save_model(self, request: Any, obj: Any, form: Any, change: bool) -> None:
        if hasattr(obj, "organisation_id") and obj.organisation_id is None:
            obj.organisation = organisation_of(request)
        super().save_model(request, obj, form, change)
        self.told(request, obj, "changed" if change else "created", fields=sorted(form.changed_data))

    def save_related(self, request: Any, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        bump_config()  # which LOBs a row belongs to is saved after the row

    @transaction.atomic
    def delete_model(self, request: Any, obj: Any) -> None:
        self.told(request, obj, "deleted")
        super().delete_model(request, obj)

    @transaction.atomic
    def delete_queryset(self, request: Any, queryset: Any) -> None:
        for obj in queryset:
            self.told(request, obj, "deleted")
        super().delete_queryset(request, queryset)

    def told(self, request: Any, obj: Any, action: str, **detail: Any) -> None:
        """An audit event, and a new configuration version: every process sees the change within 2 s."""
        lob = obj if obj._meta.model_name == "lineofbusiness" else getattr(obj, "lob", None)
        organisation_id = getattr(obj, "organisation_id", None) or admin_scope(request.user).organisation_id
        record(
            actor=request.user, action=f"{obj._meta.model_name}.{action}", target=f"{obj._meta.model_name}:{obj}"[:200],
            lob=getattr(lob, "slug", ""), organisation_id=organisation_id, detail=detail,
        )  # fmt: skip
        bump_config()


class UsdField(forms.DecimalField):
    """Dollars in the form, nano-dollars in the row."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"max_digits": 20, "decimal_places": 9, "min_value": Decimal(0)} | kwargs)

    def prepare_value(self, value: Any) -> Any:
        return f"{nusd_to_usd(value).normalize():f}" if isinstance(value, int) else value

    def clean(self, value: Any) -> int | None:
        amount = super().clean(value)
        return None if amount is None else usd_to_nusd(amount)
