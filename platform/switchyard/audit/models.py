"""What happened: insert-only, hash-chained, gapless within an organisation."""

from django.db import models

from switchyard.core.clock import now


class AuditEvent(models.Model):
    sequence = models.BigIntegerField()
    organisation_id = models.BigIntegerField(null=True)
    at = models.DateTimeField(default=now)
    actor = models.CharField(max_length=150)
    action = models.CharField(max_length=80)
    target = models.CharField(max_length=200)
    lob = models.CharField(max_length=63, blank=True)
    detail = models.JSONField(default=dict)
    previous_hash = models.CharField(max_length=64)
    hash = models.CharField(max_length=64)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["sequence"], name="audit_sequence_gapless")]
        ordering = ["sequence"]

    def __str__(self) -> str:
        return f"{self.sequence} {self.action} {self.target}"
