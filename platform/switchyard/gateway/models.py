"""What /v1 keeps for its callers: responses for a while, and batches with what became of them."""

from django.db import models

from switchyard.core.clock import now
from switchyard.tenancy.querysets import TenantQuerySet

RESPONSE_STATES = ["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]
BATCH_STATES = [
    "validating", "in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled",
]  # fmt: skip
BATCH_FINAL = frozenset({"completed", "failed", "expired", "cancelled"})


class StoredResponse(models.Model):
    """A response of /v1/responses: text only under the key of its line of business, until it is deleted or expires."""

    id = models.CharField(primary_key=True, max_length=40)
    organisation = models.ForeignKey(
        "tenancy.Organisation", on_delete=models.CASCADE, related_name="responses"
    )
    lob = models.ForeignKey("tenancy.LineOfBusiness", on_delete=models.CASCADE, related_name="responses")
    application = models.CharField(max_length=63, blank=True, help_text="Whose key asked for it.")
    previous_id = models.CharField(max_length=40, blank=True)
    status = models.CharField(max_length=12, choices=[(s, s) for s in RESPONSE_STATES])
    background = models.BooleanField(default=False)
    sealed = models.TextField(
        help_text="The response and the items it was asked with, sealed for the line of business."
    )
    created_at = models.DateTimeField(default=now)
    expires_at = models.DateTimeField()

    objects = TenantQuerySet.as_manager()
    tenant_path = "lob"

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [models.Index(fields=["expires_at"], name="response_expires")]

    def __str__(self) -> str:
        return f"{self.id} {self.status}"


class Batch(models.Model):
    """Requests of a file, answered one by one at the batch price. What its lines say lies in files, sealed."""

    id = models.CharField(primary_key=True, max_length=40)
    organisation = models.ForeignKey("tenancy.Organisation", on_delete=models.CASCADE, related_name="batches")
    lob = models.ForeignKey("tenancy.LineOfBusiness", on_delete=models.CASCADE, related_name="batches")
    application = models.CharField(max_length=63)
    key_id = models.CharField(
        max_length=40, help_text="The key that asked: its limits and budgets hold for every line."
    )
    endpoint = models.CharField(
        max_length=40, help_text="As its caller named it, such as /v1/chat/completions."
    )
    declared_sensitivity = models.CharField(max_length=12, blank=True)
    input_file_id = models.CharField(max_length=40)
    output_file_id = models.CharField(max_length=40, blank=True)
    error_file_id = models.CharField(max_length=40, blank=True)
    status = models.CharField(max_length=12, choices=[(s, s) for s in BATCH_STATES], default="validating")
    metadata = models.JSONField(default=dict)
    errors = models.JSONField(
        default=list, help_text="Why it failed as a whole: [{code, message, param, line}]."
    )
    moments = models.JSONField(default=dict, help_text="State → seconds since the epoch at which it came.")
    total = models.PositiveIntegerField(default=0)
    completed = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)
    cost_nusd = models.BigIntegerField(default=0)
    job = models.ForeignKey("jobs.Job", null=True, on_delete=models.SET_NULL, related_name="batches")
    created_at = models.DateTimeField(default=now)
    expires_at = models.DateTimeField(help_text="Lines that weren't asked by then never are.")

    objects = TenantQuerySet.as_manager()
    tenant_path = "lob"

    class Meta:
        verbose_name_plural = "batches"
        ordering = ["-created_at", "-id"]
        indexes = [models.Index(fields=["lob", "-created_at"], name="batch_lob_created")]

    def __str__(self) -> str:
        return f"{self.id} {self.status}"
