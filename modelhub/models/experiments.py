"""Experiments: several ways to answer one workload, tried on the same rows and set side by side."""

from django.db import models

from switchyard.core.clock import now
from switchyard.tenancy.querysets import TenantQuerySet

EXPERIMENT_STATES = ["training", "measuring", "done", "failed", "cancelled"]
METHODS = ["as_is", "head", "lora", "expert", "compress", "rows", "vendor", "prompt"]


class Experiment(models.Model):
    """One question: which of its arms answers the workload best, and at what cost. It owns its arms' jobs."""

    id = models.CharField(primary_key=True, max_length=40)
    workload = models.ForeignKey("tenancy.Workload", on_delete=models.CASCADE, related_name="experiments")
    dataset = models.ForeignKey(
        "modelhub.Dataset", null=True, blank=True, on_delete=models.SET_NULL, related_name="experiments"
    )
    golden = models.ForeignKey(
        "modelhub.GoldenSet", null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    name = models.CharField(max_length=200)
    state = models.CharField(max_length=10, choices=[(s, s) for s in EXPERIMENT_STATES], default="training")
    job_id = models.CharField(max_length=40, blank=True, help_text="The job that measures the arms.")
    result = models.JSONField(default=dict, help_text="Differences of each two arms on the same rows.")
    error = models.CharField(max_length=400, blank=True)
    created_by = models.CharField(max_length=150, blank=True)
    created_at = models.DateTimeField(default=now)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = TenantQuerySet.as_manager()
    tenant_path = "workload__lob"

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return self.name


class ExperimentArm(models.Model):
    """One way: a deployment as it stands, or a version that a job of the experiment makes."""

    experiment = models.ForeignKey(Experiment, on_delete=models.CASCADE, related_name="arms")
    place = models.PositiveSmallIntegerField()
    method = models.CharField(max_length=10, choices=[(m, m) for m in METHODS])
    deployment = models.ForeignKey("modelhub.Deployment", on_delete=models.CASCADE, related_name="+")
    version = models.ForeignKey(
        "modelhub.ModelVersion", null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    job_id = models.CharField(max_length=40, blank=True, help_text="The job that makes its version.")
    error = models.CharField(max_length=400, blank=True)
    figures = models.JSONField(default=dict, help_text="Metric, interval, n, cost, latency, lead time.")
    right = models.TextField(blank=True, help_text="One 0 or 1 a golden row: what pairs are compared by.")

    objects = TenantQuerySet.as_manager()
    tenant_path = "experiment__workload__lob"

    class Meta:
        ordering = ["place"]
        constraints = [
            models.UniqueConstraint(fields=["experiment", "place"], name="one_arm_a_place"),
        ]

    def __str__(self) -> str:
        return f"{self.method} on {self.deployment}"
