"""What a workload is planned to cost and bring beside its answers, what the business told of it, and what was foreseen."""

from django.core.validators import MinValueValidator
from django.db import models
from simple_history.models import HistoricalRecords

from switchyard.core.clock import now
from switchyard.tenancy.querysets import TenantQuerySet


class WorkloadPlan(models.Model):
    """The parts of a workload's lifetime cost that no meter sees, and what one of its business events is worth."""

    organisation = models.ForeignKey(
        "tenancy.Organisation", on_delete=models.CASCADE, related_name="workload_plans"
    )
    lob = models.ForeignKey("tenancy.LineOfBusiness", on_delete=models.CASCADE, related_name="workload_plans")
    workload = models.CharField(max_length=63)
    model_life_months = models.PositiveIntegerField(default=12, validators=[MinValueValidator(1)])
    data_usd = models.DecimalField(
        max_digits=12, decimal_places=2, default=0, help_text="Data bought once, beside metered labels."
    )
    people_usd_per_month = models.DecimalField(max_digits=12, decimal_places=2, default=0)
    latency_target_ms = models.PositiveIntegerField(default=1000, help_text="95 % of answers within this.")
    event_name = models.CharField(max_length=63, blank=True, help_text="e.g. ticket-resolved.")
    event_value_usd = models.DecimalField(
        max_digits=14,
        decimal_places=6,
        null=True,
        blank=True,
        help_text="Where the app doesn't say it itself.",
    )
    source = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(default=now)

    objects = TenantQuerySet.as_manager()
    history = HistoricalRecords()
    tenant_path = "lob"

    class Meta:
        ordering = ["workload"]
        constraints = [
            models.UniqueConstraint(fields=["organisation", "workload"], name="one_plan_a_workload")
        ]

    def __str__(self) -> str:
        return self.workload


class BusinessEvent(models.Model):
    """Something that happened in the business because of a workload's answers, as the app reported it."""

    organisation_id = models.BigIntegerField()
    event_id = models.CharField(max_length=80)
    at = models.DateTimeField()
    lob = models.CharField(max_length=63)
    workload = models.CharField(max_length=63)
    name = models.CharField(max_length=63)
    count = models.PositiveIntegerField(default=1)
    value_nusd = models.BigIntegerField(null=True, blank=True)
    recorded_at = models.DateTimeField(default=now)

    objects = TenantQuerySet.as_manager()
    tenant_lob_field = "lob"

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organisation_id", "event_id"], name="business_event_once")
        ]
        indexes = [models.Index(fields=["workload", "at"], name="business_event_at")]

    def __str__(self) -> str:
        return f"{self.count} × {self.name}"


class Forecast(models.Model):
    """The latest estimate of a month's spend; lob "" is the whole organisation. Replaced each time it is made."""

    organisation_id = models.BigIntegerField()
    lob = models.CharField(max_length=63, blank=True)
    month = models.DateField()
    made_at = models.DateTimeField(default=now)
    spent_nusd = models.BigIntegerField(default=0)
    estimate_nusd = models.BigIntegerField()
    low_nusd = models.BigIntegerField()
    high_nusd = models.BigIntegerField()
    method = models.CharField(max_length=60)
    mape = models.FloatField(null=True, help_text="Of the method's own backtest, as a share.")
    coverage = models.FloatField(null=True, help_text="Share of backtests inside their interval.")
    backtests = models.PositiveIntegerField(default=0)
    points = models.JSONField(default=list, help_text='[{"day", "nusd", "low", "high", "actual"}].')

    objects = TenantQuerySet.as_manager()
    tenant_lob_field = "lob"

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organisation_id", "lob", "month"], name="one_forecast_a_month")
        ]

    def __str__(self) -> str:
        return f"{self.lob or 'organisation'} {self.month:%Y-%m}"


class Anomaly(models.Model):
    """A day on which something cost far more, or far less, than its own past says it should."""

    organisation_id = models.BigIntegerField()
    lob = models.CharField(max_length=63)
    workload = models.CharField(max_length=63, blank=True)
    day = models.DateField()
    spent_nusd = models.BigIntegerField()
    expected_nusd = models.BigIntegerField()
    low_nusd = models.BigIntegerField()
    high_nusd = models.BigIntegerField()
    score = models.FloatField()
    cause = models.CharField(max_length=300)
    parts = models.JSONField(
        default=dict, help_text="What moved: requests, price, tokens, mix, in nano-dollars."
    )
    found_at = models.DateTimeField(default=now)

    objects = TenantQuerySet.as_manager()
    tenant_lob_field = "lob"

    class Meta:
        ordering = ["-day", "-score"]
        verbose_name_plural = "anomalies"
        constraints = [
            models.UniqueConstraint(
                fields=["organisation_id", "lob", "workload", "day"], name="one_anomaly_a_day"
            )
        ]

    def __str__(self) -> str:
        return f"{self.lob} {self.workload} {self.day}"
