"""Rows that wait for a label, the words of those who labelled them, and what became of it."""

from django.db import models

from switchyard.core.clock import now
from switchyard.tenancy.querysets import TenantQuerySet

BATCH_STATES = ["choosing", "open", "done", "failed"]
ITEM_STATES = ["open", "agreed", "disputed", "settled", "skipped"]


class LabelBatch(models.Model):
    """Rows chosen from an uploaded set because their labels would teach most."""

    id = models.CharField(primary_key=True, max_length=40)
    workload = models.ForeignKey("tenancy.Workload", on_delete=models.CASCADE, related_name="label_batches")
    dataset = models.ForeignKey(
        "modelhub.Dataset", null=True, blank=True, on_delete=models.SET_NULL, related_name="label_batches"
    )
    name = models.CharField(max_length=200)
    labels = models.JSONField(default=list, help_text="What may be chosen.")
    labellers = models.PositiveSmallIntegerField(default=1, help_text="How many must label each row: 1 or 2.")
    job_id = models.CharField(max_length=40, blank=True)
    state = models.CharField(max_length=10, choices=[(s, s) for s in BATCH_STATES], default="open")
    created_by = models.CharField(max_length=150, blank=True)
    created_at = models.DateTimeField(default=now)

    objects = TenantQuerySet.as_manager()
    tenant_path = "workload__lob"

    class Meta:
        ordering = ["-created_at"]
        verbose_name_plural = "label batches"

    def __str__(self) -> str:
        return self.name


class LabelItem(models.Model):
    """One row. Its text is sealed under the line of business's key."""

    batch = models.ForeignKey(LabelBatch, on_delete=models.CASCADE, related_name="items")
    place = models.PositiveIntegerField()
    digest = models.CharField(max_length=64)
    sealed_text = models.TextField()
    guess = models.CharField(max_length=200, blank=True, help_text="What the live model says.")
    score = models.FloatField(
        default=0.0, help_text="How much its label would teach; the highest come first."
    )
    why = models.JSONField(default=dict, help_text="uncertainty, expert_load, disagreement")
    state = models.CharField(max_length=10, choices=[(s, s) for s in ITEM_STATES], default="open")
    label = models.CharField(max_length=200, blank=True)

    objects = TenantQuerySet.as_manager()
    tenant_path = "batch__workload__lob"

    class Meta:
        ordering = ["place"]
        constraints = [models.UniqueConstraint(fields=["batch", "place"], name="one_item_a_place")]

    def __str__(self) -> str:
        return f"{self.batch_id}[{self.place}]"


class LabelVote(models.Model):
    """What one labeller says of a row; an adjudicator's word settles it."""

    item = models.ForeignKey(LabelItem, on_delete=models.CASCADE, related_name="votes")
    username = models.CharField(max_length=150)
    label = models.CharField(max_length=200)
    settles = models.BooleanField(default=False)
    at = models.DateTimeField(default=now)

    objects = TenantQuerySet.as_manager()
    tenant_path = "item__batch__workload__lob"

    class Meta:
        constraints = [models.UniqueConstraint(fields=["item", "username"], name="one_vote_a_labeller")]

    def __str__(self) -> str:
        return f"{self.username}: {self.label}"
