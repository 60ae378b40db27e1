"""The chain of seals over decision records; routing.models imports it."""

from django.db import models

from switchyard.core.clock import now


class DecisionChain(models.Model):
    """The end of an organisation's chain: writers queue up behind this row, and a chain cut short is found by it."""

    organisation_id = models.BigIntegerField(unique=True)
    sequence = models.BigIntegerField(default=0)
    head = models.CharField(max_length=64, default="0" * 64)

    def __str__(self) -> str:
        return f"organisation {self.organisation_id} at #{self.sequence}"


class DecisionSeal(models.Model):
    """One batch of decision records, sealed as it was written. Append-only; `sequence` has no gaps in an organisation.

    `leaves`: ids and digests of its records (routing.proofs.leaves), so that one that is changed or gone can be named.
    `counts`: {"requests": [[lob, class, n]], "attempts": [[lob, class, hop, side, n]]}.
    `head` = SHA256(previous ‖ canonical JSON of all the rest); `signature` is Ed25519 over it.
    """

    organisation_id = models.BigIntegerField()
    sequence = models.BigIntegerField()
    at = models.DateTimeField(default=now)
    first_at = models.DateTimeField(help_text="The earliest of its records.")
    last_at = models.DateTimeField()
    n = models.PositiveIntegerField()
    counts = models.JSONField(default=dict)
    leaves = models.BinaryField()
    previous = models.CharField(max_length=64)
    head = models.CharField(max_length=64)
    signature = models.CharField(max_length=100)

    class Meta:
        ordering = ["organisation_id", "sequence"]
        constraints = [
            models.UniqueConstraint(fields=["organisation_id", "sequence"], name="decision_seal_sequence")
        ]
        indexes = [models.Index(fields=["organisation_id", "last_at"], name="decision_seal_last_at")]

    def __str__(self) -> str:
        return f"organisation {self.organisation_id} #{self.sequence}: {self.n} records"
