"""Golden sets: the rows a workload is judged by, in numbered versions that never change."""

from django.db import models

from switchyard.core.clock import now
from switchyard.tenancy.querysets import TenantQuerySet


class GoldenSet(models.Model):
    """One version of a workload's golden rows, kept by the hash of what it says; the active one judges."""

    workload = models.ForeignKey("tenancy.Workload", on_delete=models.CASCADE, related_name="golden_sets")
    version = models.PositiveIntegerField()
    digest = models.CharField(max_length=64)
    path = models.CharField(max_length=300, help_text="Relative to $SWITCHYARD_HOME/media.")
    rows = models.PositiveIntegerField()
    source = models.CharField(max_length=200, help_text="Where the rows are from.")
    active = models.BooleanField(default=False)
    created_by = models.CharField(max_length=150, blank=True)
    created_at = models.DateTimeField(default=now)

    objects = TenantQuerySet.as_manager()
    tenant_path = "workload__lob"

    class Meta:
        ordering = ["workload", "-version"]
        constraints = [
            models.UniqueConstraint(fields=["workload", "version"], name="one_golden_version_a_workload"),
            models.UniqueConstraint(
                fields=["workload"], condition=models.Q(active=True), name="one_active_golden_set"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.workload} golden {self.version}"
