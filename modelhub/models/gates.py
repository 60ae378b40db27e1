"""What a version must hold before it goes live, what was found, and the share of traffic it is tried on."""

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from switchyard.core.clock import now
from switchyard.tenancy.querysets import TenantQuerySet

GATE_VERDICTS = ["pass", "fail", "not_enough_data", "not_run"]
CANARY_STATES = ["running", "promoted", "rolled_back", "stopped"]


class GateRule(models.Model):
    """A line of business's bounds; one without a row has these defaults."""

    lob = models.OneToOneField("tenancy.LineOfBusiness", on_delete=models.CASCADE, related_name="gate_rule")
    accuracy_tolerance = models.FloatField(
        default=0.02, help_text="How much worse than before it may surely not be, as a share of the rows."
    )
    most_cost_ratio = models.FloatField(
        default=1.1, help_text="Cost of 1,000 answers against the one before."
    )
    most_latency_ratio = models.FloatField(
        default=1.25, help_text="Median and 99th percentile against the one before."
    )
    most_p99_ms = models.FloatField(
        null=True, blank=True, help_text="Milliseconds; slower than that fails, whatever was before."
    )
    canary_percent = models.PositiveSmallIntegerField(
        default=10, validators=[MinValueValidator(1), MaxValueValidator(50)]
    )
    canary_answers = models.PositiveIntegerField(
        default=300, help_text="Answers of the canary before it may be promoted by itself."
    )
    canary_judged = models.PositiveIntegerField(
        default=0, help_text="Answers of the canary with feedback before it may be promoted by itself."
    )
    canary_automatic = models.BooleanField(
        default=True, help_text="Promote by itself when the evidence is enough; else by hand."
    )

    objects = TenantQuerySet.as_manager()
    tenant_path = "lob"

    def __str__(self) -> str:
        return f"gates of {self.lob}"


class GateReport(models.Model):
    """One run of the gates over a version: each gate's verdict, figures and sentence."""

    version = models.ForeignKey(
        "modelhub.ModelVersion", on_delete=models.CASCADE, related_name="gate_reports"
    )
    baseline = models.ForeignKey(
        "modelhub.ModelVersion", null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    golden = models.ForeignKey(
        "modelhub.GoldenSet", null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    digest = models.CharField(
        max_length=64, blank=True, help_text="Of the version's files when it was judged."
    )
    job_id = models.CharField(max_length=40, blank=True)
    at = models.DateTimeField(default=now)
    results = models.JSONField(default=list, help_text="[{gate, verdict, sentence, figures}]")
    device = models.CharField(max_length=120, blank=True)

    objects = TenantQuerySet.as_manager()
    tenant_path = "version__workload__lob"

    class Meta:
        ordering = ["-at"]

    def __str__(self) -> str:
        return f"gates of {self.version_id} at {self.at:%Y-%m-%d %H:%M}"


class Canary(models.Model):
    """A version that answers a share of its workload's traffic on its deployment, beside the live one."""

    version = models.ForeignKey("modelhub.ModelVersion", on_delete=models.CASCADE, related_name="canaries")
    baseline = models.ForeignKey(
        "modelhub.ModelVersion", null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    deployment = models.ForeignKey("modelhub.Deployment", on_delete=models.CASCADE, related_name="canaries")
    workload = models.ForeignKey("tenancy.Workload", on_delete=models.CASCADE, related_name="canaries")
    percent = models.PositiveSmallIntegerField(validators=[MinValueValidator(1), MaxValueValidator(50)])
    automatic = models.BooleanField(default=True)
    least_answers = models.PositiveIntegerField(default=300)
    least_judged = models.PositiveIntegerField(default=0)
    state = models.CharField(max_length=12, choices=[(s, s) for s in CANARY_STATES], default="running")
    started_at = models.DateTimeField(default=now)
    started_by = models.CharField(max_length=150, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_by = models.CharField(max_length=150, blank=True)
    reason = models.CharField(
        max_length=400, blank=True, help_text="Why it began against a gate, or why it ended."
    )
    watch = models.JSONField(
        default=dict, help_text="The sequential tests as they stand, and how far was read."
    )

    objects = TenantQuerySet.as_manager()
    tenant_path = "workload__lob"

    class Meta:
        verbose_name_plural = "canaries"
        ordering = ["-started_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["deployment", "workload"],
                condition=models.Q(state="running"),
                name="one_canary_a_deployment_workload",
            )
        ]

    def __str__(self) -> str:
        return f"canary of {self.version_id} at {self.percent} % ({self.state})"
