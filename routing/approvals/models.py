"""The table of approvals; routing.models imports it."""

from django.conf import settings
from django.db import models

from switchyard.core.clock import now
from switchyard.tenancy.querysets import TenantQuerySet

APPROVAL_STATES = ["requested", "approved", "sent_back", "withdrawn"]


class PolicyApproval(models.Model):
    """One request to approve a version, with what the approver was shown. It expires when `basis` no longer holds.

    `evidence`: {"against": id of the version then live or null, "difference": [lines], "rules": [changes by rule],
    "report": the verifier's, "what_if": the report or null}.
    """

    id = models.CharField(primary_key=True, max_length=40)
    policy = models.ForeignKey("routing.Policy", on_delete=models.CASCADE, related_name="approvals")
    state = models.CharField(max_length=12, choices=[(s, s) for s in APPROVAL_STATES], default="requested")
    basis = models.CharField(max_length=64, help_text="What the proof rested on, hashed.")
    evidence = models.JSONField(default=dict)
    note = models.CharField(max_length=500, blank=True)
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    requested_at = models.DateTimeField(default=now)
    reason = models.CharField(max_length=500, blank=True)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    decided_at = models.DateTimeField(null=True, blank=True)

    objects = TenantQuerySet.as_manager()
    tenant_path = "policy__lob"
    tenant_organisation = "policy__organisation_id"

    class Meta:
        ordering = ["-requested_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["policy"], condition=models.Q(state="requested"), name="one_open_approval_a_policy"
            )
        ]

    def __str__(self) -> str:
        return f"{self.policy_id} {self.state}"
