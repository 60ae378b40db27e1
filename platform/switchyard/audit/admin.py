from django.contrib import admin

from switchyard.audit.models import AuditEvent
from switchyard.core.admin_base import ReadOnlyAdmin


@admin.register(AuditEvent)
class AuditEventAdmin(ReadOnlyAdmin):
    """The whole installation's log: for superusers and staff with the permission. `/audit/` is the scoped one."""

    list_display = ["sequence", "at", "actor", "action", "target", "lob"]
    list_filter = ["action", "lob"]
    search_fields = ["actor", "target"]
    ordering = ["-sequence"]
