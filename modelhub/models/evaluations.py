"""Measured facts about a deployment on a workload: accuracy with its interval, and bias with its verdict."""

from django.db import models

from switchyard.core.clock import now
from switchyard.tenancy.querysets import TenantQuerySet

VERDICTS = ["pass", "fail", "not_enough_data"]


class Evaluation(models.Model):
    """One run on held-back rows. `value`, `low`, `high`: the workload's metric; correct / n: the Wilson rate."""

    workload = models.ForeignKey("tenancy.Workload", on_delete=models.CASCADE, related_name="evaluations")
    deployment = models.ForeignKey(
        "modelhub.Deployment", on_delete=models.CASCADE, related_name="evaluations"
    )
    version = models.CharField(max_length=63, blank=True)
    job_id = models.CharField(max_length=40, blank=True)
    at = models.DateTimeField(default=now)
    split = models.CharField(max_length=20, default="validation")
    metric = models.CharField(max_length=40)
    value = models.FloatField(null=True)
    low = models.FloatField(null=True)
    high = models.FloatField(null=True)
    n = models.PositiveIntegerField()
    correct = models.PositiveIntegerField(default=0)
    correct_low = models.FloatField(null=True)
    correct_high = models.FloatField(null=True)
    p50_ms = models.FloatField(null=True)
    verdict = models.CharField(max_length=16, choices=[(v, v) for v in VERDICTS], default="pass")
    detail = models.JSONField(default=dict, help_text="Baselines (TF-IDF, always no), macro-F1, by slice.")
    device = models.CharField(max_length=120, blank=True)

    objects = TenantQuerySet.as_manager()
    tenant_path = "workload__lob"

    class Meta:
        ordering = ["-at"]
        indexes = [models.Index(fields=["workload", "deployment", "at"], name="evaluation_latest")]

    def __str__(self) -> str:
        return f"{self.workload} on {self.deployment}: {self.metric} {self.value}"


class BiasAudit(models.Model):
    """Student against teacher by group, and counterfactual swaps, each with n, interval and verdict."""

    workload = models.ForeignKey("tenancy.Workload", on_delete=models.CASCADE, related_name="bias_audits")
    teacher = models.CharField(max_length=63)
    student = models.CharField(max_length=63)
    job_id = models.CharField(max_length=40, blank=True)
    at = models.DateTimeField(default=now)
    verdict = models.CharField(max_length=16, choices=[(v, v) for v in VERDICTS])
    report = models.JSONField(default=dict)
    device = models.CharField(max_length=120, blank=True)

    objects = TenantQuerySet.as_manager()
    tenant_path = "workload__lob"

    class Meta:
        ordering = ["-at"]

    def __str__(self) -> str:
        return f"{self.workload}: {self.student} against {self.teacher}: {self.verdict}"
