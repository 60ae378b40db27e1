"""Long work. A message is only a wake-up; the job row (state, lease, attempt, fence) is the truth."""

from django.conf import settings
from django.db import models

from switchyard.core.clock import now
from switchyard.tenancy.querysets import TenantQuerySet

STATES = ["queued", "running", "paused", "succeeded", "failed", "cancelled", "quarantined"]
FINAL = {"succeeded", "failed", "cancelled", "quarantined"}


class Job(models.Model):
    KINDS = [
        "fine_tune", "bias_audit", "evaluation", "rollup", "history", "compression", "batch", "verify_books", "migration",
        "gates", "experiment", "tabular", "label_queue", "what_if", "import", "probe",
    ]  # fmt: skip

    id = models.CharField(primary_key=True, max_length=40)
    organisation = models.ForeignKey("tenancy.Organisation", on_delete=models.CASCADE, related_name="jobs")
    lob = models.ForeignKey(
        "tenancy.LineOfBusiness", null=True, blank=True, on_delete=models.CASCADE, related_name="jobs"
    )
    kind = models.CharField(max_length=20, choices=[(k, k) for k in KINDS])
    queue = models.CharField(max_length=20, default="default")
    state = models.CharField(max_length=12, choices=[(s, s) for s in STATES], default="queued")
    params = models.JSONField(default=dict)
    result = models.JSONField(default=dict)
    error = models.TextField(blank=True)
    error_code = models.CharField(
        max_length=60, blank=True, help_text="For programs; the words are in `error`."
    )
    progress = models.FloatField(default=0.0, help_text="0..1")
    message = models.CharField(max_length=300, blank=True)
    eta = models.DateTimeField(null=True, help_text="When it will end at its measured pace.")
    marks = models.JSONField(default=dict, help_text="Milestones → when: uploaded, trained, judged.")
    device = models.CharField(max_length=120, blank=True, help_text="What really ran: device and provider.")
    node = models.CharField(
        max_length=63,
        blank=True,
        help_text="The machine that its worker says it works on: the job pays its rate.",
    )
    attempt = models.PositiveIntegerField(default=0)
    stalled = models.PositiveIntegerField(
        default=0, help_text="Attempts since the work last got further than ever before."
    )
    furthest = models.FloatField(default=0.0, help_text="The best progress any attempt reached.")
    fence = models.PositiveIntegerField(default=0, help_text="Every write of a runner is WHERE fence = mine.")
    lease_until = models.DateTimeField(null=True)
    cancel_requested = models.BooleanField(default=False)
    pause_requested = models.BooleanField(default=False)
    unique_key = models.CharField(
        max_length=200, blank=True, help_text="Two live jobs never share a non-empty key."
    )
    accelerator_ns = models.BigIntegerField(
        default=0, help_text="Measured compute of all attempts, those that died included."
    )
    charged_ns = models.BigIntegerField(default=0, help_text="The part of it that is in the ledger.")
    reserved_nusd = models.BigIntegerField(
        default=0, help_text="What it holds of the budgets while it waits and runs."
    )
    estimated_nusd = models.BigIntegerField(
        null=True, help_text="What it was expected to cost before it started."
    )
    cost_nusd = models.BigIntegerField(default=0)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL)
    created_at = models.DateTimeField(default=now)
    woken_at = models.DateTimeField(null=True, help_text="When a worker was last told of it.")
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    objects = TenantQuerySet.as_manager()
    tenant_path = "lob"
    tenant_organisation = "organisation_id"  # jobs of the whole organisation have no LOB

    class Meta:
        ordering = ["-created_at"]
        indexes = [models.Index(fields=["state", "lease_until"], name="job_state_lease")]
        constraints = [
            models.UniqueConstraint(
                fields=["unique_key"],
                name="one_live_job_a_key",
                condition=models.Q(state__in=["queued", "running", "paused"]) & ~models.Q(unique_key=""),
            )
        ]

    def __str__(self) -> str:
        return f"{self.id} {self.kind} {self.state}"


class JobEvent(models.Model):
    """A line of a job's log: a state change, a metric, a message."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="events")
    at = models.DateTimeField(default=now)
    level = models.CharField(max_length=10, default="info")
    message = models.CharField(max_length=500)
    data = models.JSONField(default=dict)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return self.message
