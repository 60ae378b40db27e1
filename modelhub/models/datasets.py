"""Files somebody uploaded and the rows in them: sealed under their line of business's key, addressed by content."""

from django.db import models

from switchyard.core.clock import now
from switchyard.tenancy.querysets import TenantQuerySet

PURPOSES = [
    "fine-tune", "fine-tune-results", "batch", "batch_output", "evals", "user_data", "assistants", "vision",
]  # fmt: skip
FORMATS = ["labelled", "chat"]


class StoredFile(models.Model):
    """A file of /v1/files: its bytes lie sealed under the home until it is deleted or expires."""

    id = models.CharField(primary_key=True, max_length=40)
    organisation = models.ForeignKey("tenancy.Organisation", on_delete=models.CASCADE, related_name="files")
    lob = models.ForeignKey("tenancy.LineOfBusiness", on_delete=models.CASCADE, related_name="files")
    application = models.CharField(max_length=63, blank=True, help_text="Whose key uploaded it.")
    filename = models.CharField(max_length=200)
    purpose = models.CharField(max_length=20, choices=[(p, p) for p in PURPOSES])
    path = models.CharField(max_length=300, help_text="Relative to $SWITCHYARD_HOME/media.")
    bytes = models.BigIntegerField()
    sha256 = models.CharField(max_length=64)
    status = models.CharField(max_length=10, default="uploaded", help_text="uploaded | processed | error")
    sensitivity = models.CharField(
        max_length=12, default="internal", help_text="The strictest class found in it."
    )
    report = models.JSONField(default=dict, help_text="What line-by-line validation found.")
    created_at = models.DateTimeField(default=now)
    expires_at = models.DateTimeField()

    objects = TenantQuerySet.as_manager()
    tenant_path = "lob"

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [models.Index(fields=["lob", "-created_at"], name="file_lob_created")]

    def __str__(self) -> str:
        return self.filename


class Dataset(models.Model):
    id = models.CharField(primary_key=True, max_length=40)
    organisation = models.ForeignKey(
        "tenancy.Organisation", on_delete=models.CASCADE, related_name="datasets"
    )
    lob = models.ForeignKey("tenancy.LineOfBusiness", on_delete=models.CASCADE, related_name="datasets")
    workload = models.ForeignKey(
        "tenancy.Workload", null=True, blank=True, on_delete=models.SET_NULL, related_name="datasets"
    )
    file = models.ForeignKey(
        StoredFile, null=True, blank=True, on_delete=models.SET_NULL, related_name="datasets",
        help_text="The upload of /v1/files it was read from.",
    )  # fmt: skip
    name = models.CharField(max_length=200)
    format = models.CharField(max_length=10, choices=[(f, f) for f in FORMATS], default="labelled")
    path = models.CharField(max_length=300, help_text="Relative to $SWITCHYARD_HOME/media.")
    sealed = models.BooleanField(default=False, help_text="Under the key of its line of business.")
    digest = models.CharField(max_length=64)
    rows = models.PositiveIntegerField()
    labels = models.JSONField(default=list)
    sensitivity = models.CharField(
        max_length=12, default="internal", help_text="The strictest class of its rows."
    )
    report = models.JSONField(default=dict, help_text="What line-by-line validation found.")
    created_at = models.DateTimeField(default=now)
    expires_at = models.DateTimeField(
        null=True, blank=True, help_text="Its rows are deleted then; the row stays."
    )

    objects = TenantQuerySet.as_manager()
    tenant_path = "lob"

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return self.name
