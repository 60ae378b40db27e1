"""Accuracy objectives of lines of business, and the deployments whose error budget burns."""

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from switchyard.core.clock import now
from switchyard.tenancy.querysets import TenantQuerySet

BURN_STATES = ["burning", "probing", "recovered"]


class AccuracyObjective(models.Model):
    """What share of a workload's judged answers should be right over the window; the rest is its error budget."""

    workload = models.OneToOneField(
        "tenancy.Workload", on_delete=models.CASCADE, related_name="accuracy_objective"
    )
    target = models.FloatField(validators=[MinValueValidator(0.01), MaxValueValidator(0.9999)])
    window_days = models.PositiveSmallIntegerField(default=28)
    created_by = models.CharField(max_length=150, blank=True)
    created_at = models.DateTimeField(default=now)

    objects = TenantQuerySet.as_manager()
    tenant_path = "workload__lob"

    def __str__(self) -> str:
        return f"{self.workload}: {self.target:.1%} right"


class AccuracyBurn(models.Model):
    """A deployment that spends a workload's error budget too fast: its traffic goes elsewhere until it has recovered."""

    objective = models.ForeignKey(AccuracyObjective, on_delete=models.CASCADE, related_name="burns")
    deployment = models.ForeignKey("modelhub.Deployment", on_delete=models.CASCADE, related_name="+")
    state = models.CharField(max_length=10, choices=[(s, s) for s in BURN_STATES], default="burning")
    share = models.PositiveSmallIntegerField(default=0, help_text="Per cent of its traffic that it keeps.")
    accuracy = models.FloatField(help_text="As judged in the window that burnt.")
    judged = models.PositiveIntegerField()
    cause = models.CharField(max_length=300)
    began_at = models.DateTimeField(default=now)
    changed_at = models.DateTimeField(default=now)
    ended_at = models.DateTimeField(null=True, blank=True)
    returns = models.PositiveSmallIntegerField(
        default=0, help_text="Trials that burnt again: each waits twice as long."
    )

    objects = TenantQuerySet.as_manager()
    tenant_path = "objective__workload__lob"

    class Meta:
        ordering = ["-began_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["objective", "deployment"],
                condition=~models.Q(state="recovered"),
                name="one_burn_a_deployment",
            )
        ]

    def __str__(self) -> str:
        return f"{self.deployment} on {self.objective}: {self.state}"
