"""Rows somebody uploaded or the product ships, addressed by content."""

from django.db import models

from switchyard.core.clock import now
from switchyard.tenancy.querysets import TenantQuerySet


class Dataset(models.Model):
    id = models.CharField(primary_key=True, max_length=40)
    organisation = models.ForeignKey(
        "tenancy.Organisation", on_delete=models.CASCADE, related_name="datasets"
    )
    lob = models.ForeignKey("tenancy.LineOfBusiness", on_delete=models.CASCADE, related_name="datasets")
    workload = models.ForeignKey(
        "tenancy.Workload", null=True, blank=True, on_delete=models.SET_NULL, related_name="datasets"
    )
    name = models.CharField(max_length=200)
    path = models.CharField(max_length=300, help_text="Relative to $SWITCHYARD_HOME/media.")
    digest = models.CharField(max_length=64)
    rows = models.PositiveIntegerField()
    labels = models.JSONField(default=list)
    report = models.JSONField(default=dict, help_text="What line-by-line validation found.")
    created_at = models.DateTimeField(default=now)

    objects = TenantQuerySet.as_manager()
    tenant_path = "lob"

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return self.name
