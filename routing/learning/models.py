"""Versions of what was learned from judged answers of one workload: numbers only, no text."""

from django.conf import settings
from django.db import models

from switchyard.core.clock import now
from switchyard.tenancy.querysets import TenantQuerySet

FIT_KINDS = ["scorer", "calibration"]
FIT_STATES = ["live", "kept", "retired"]


class RoutingFit(models.Model):
    """A scorer of a workload (chance of a right answer by deployment), or the map of one deployment's confidence.

    A fit never changes. `live`: in use; `kept`: it did not beat what was in use; `retired`: it was in use.
    """

    organisation_id = models.BigIntegerField()
    lob = models.CharField(max_length=63)
    workload = models.CharField(max_length=63)
    kind = models.CharField(max_length=12, choices=[(k, k) for k in FIT_KINDS])
    deployment = models.CharField(
        max_length=63, blank=True, help_text="Of a calibration; empty for a scorer."
    )
    model = models.CharField(
        max_length=160, blank=True, help_text="The version whose confidence is mapped; another one is not."
    )
    version = models.PositiveIntegerField(help_text="Counts up by workload, kind and deployment.")
    state = models.CharField(max_length=8, choices=[(s, s) for s in FIT_STATES])
    values = models.JSONField(default=dict)
    report = models.JSONField(
        default=dict, help_text="What it reached on rows it had not seen, and against what."
    )
    n = models.PositiveIntegerField()
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    at = models.DateTimeField(default=now)

    objects = TenantQuerySet.as_manager()
    tenant_lob_field = "lob"

    class Meta:
        ordering = ["-at", "-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["organisation_id", "workload", "kind", "deployment", "version"],
                name="one_routing_fit_a_version",
            ),
            models.UniqueConstraint(
                fields=["organisation_id", "workload", "kind", "deployment"],
                condition=models.Q(state="live"),
                name="one_live_routing_fit",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} of {self.workload} {self.deployment} v{self.version} ({self.state})"
