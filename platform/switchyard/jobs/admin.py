from __future__ import annotations

from typing import Any

from django.contrib import admin

from switchyard.jobs.models import Job, JobEvent
from switchyard.tenancy.admin_base import ScopedReadOnlyAdmin


class JobEventInline(admin.TabularInline):
    model = JobEvent
    extra = 0
    can_delete = False
    fields = readonly_fields = ["at", "level", "message", "data"]

    def has_add_permission(self, request: Any, obj: Any = None) -> bool:
        return False


@admin.register(Job)
class JobAdmin(ScopedReadOnlyAdmin):
    """Jobs are started, stopped and promoted on the pages; here every column can be read."""

    list_display = [
        "id",
        "kind",
        "lob",
        "state",
        "progress",
        "device",
        "created_by",
        "created_at",
        "finished_at",
    ]
    list_filter = ["kind", "state"]
    list_select_related = ["lob", "created_by"]
    inlines = [JobEventInline]
