"""Bills of others held against our books."""

from django.db import models

from switchyard.core.clock import now


class BillCheck(models.Model):
    """One bill that was held against the books: what it says, what we say, and every gap with its cause."""

    KINDS = [("usage", "a vendor's usage"), ("node", "a machine's invoice")]

    organisation_id = models.BigIntegerField()
    kind = models.CharField(max_length=6, choices=KINDS)
    name = models.CharField(max_length=63, help_text="The deployment or the node.")
    start = models.DateTimeField()
    end = models.DateTimeField()
    currency = models.CharField(max_length=3, default="USD")
    rows = models.PositiveIntegerField(default=0)
    billed_nusd = models.BigIntegerField()
    booked_nusd = models.BigIntegerField()
    gap_nusd = models.BigIntegerField(help_text="Billed less booked, before corrections.")
    left_nusd = models.BigIntegerField(help_text="Billed less booked, after corrections.")
    findings = models.JSONField(
        default=list,
        help_text='[{"day", "model", "lob", "cause", "rows", "billed_nusd", "booked_nusd", "gap_nusd", "samples"}].',
    )
    corrections = models.PositiveIntegerField(default=0)
    digest = models.CharField(max_length=64, help_text="SHA-256 of the bill as it came.")
    source = models.CharField(max_length=200)
    made_at = models.DateTimeField(default=now)
    made_by = models.CharField(max_length=150, blank=True)

    class Meta:
        ordering = ["-made_at"]
        indexes = [models.Index(fields=["organisation_id", "-made_at"], name="bill_check_made")]

    def __str__(self) -> str:
        return f"{self.name} {self.start:%Y-%m-%d} to {self.end:%Y-%m-%d}"
