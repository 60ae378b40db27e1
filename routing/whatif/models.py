"""The table of what-if reports; routing.models imports it."""

from django.conf import settings
from django.db import models

from switchyard.core.clock import now
from switchyard.tenancy.querysets import TenantQuerySet


class WhatIf(models.Model):
    """A version replayed over recorded traffic, kept with the version; after publishing, what then really happened.

    `report`: see routing.whatif.services.what_if; {} while its job runs. `truth`: see routing.whatif.compare.compare; {}
    until enough has been answered since the version went live.
    """

    id = models.CharField(primary_key=True, max_length=40)
    policy = models.ForeignKey("routing.Policy", on_delete=models.CASCADE, related_name="what_ifs")
    against = models.ForeignKey(
        "routing.Policy", null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    job_id = models.CharField(max_length=40, blank=True)
    days = models.PositiveSmallIntegerField()
    since = models.DateTimeField(null=True)
    until = models.DateTimeField(null=True)
    report = models.JSONField(default=dict)
    truth = models.JSONField(default=dict)
    compared_at = models.DateTimeField(null=True, blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(default=now)

    objects = TenantQuerySet.as_manager()
    tenant_path = "policy__lob"
    tenant_organisation = "policy__organisation_id"

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [models.Index(fields=["policy", "created_at"], name="what_if_latest")]

    def __str__(self) -> str:
        return f"{self.policy_id} over {self.days} days"
