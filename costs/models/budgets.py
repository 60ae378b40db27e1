"""Budgets, what is added to one period of them, and alerts with where they are sent."""

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from simple_history.models import HistoricalRecords

from switchyard.core.clock import now
from switchyard.tenancy.querysets import TenantQuerySet


class Budget(models.Model):
    PERIODS = ["day", "week", "month", "total"]
    ACTIONS = ["warn", "throttle", "stop"]
    COVERS = [("all", "everything"), ("labels", "labels, reviews and feedback")]

    organisation = models.ForeignKey("tenancy.Organisation", on_delete=models.CASCADE, related_name="budgets")
    scope = models.CharField(
        max_length=120, help_text="organisation, lob:<slug>, application:<slug> or key:<id>."
    )
    lob = models.ForeignKey(
        "tenancy.LineOfBusiness", null=True, blank=True, on_delete=models.CASCADE, related_name="budgets"
    )
    covers = models.CharField(max_length=8, choices=COVERS, default="all")
    limit_nusd = models.BigIntegerField(validators=[MinValueValidator(0)])
    period = models.CharField(max_length=6, choices=[(p, p) for p in PERIODS], default="month")
    timezone = models.CharField(max_length=60, default="UTC")
    action = models.CharField(max_length=10, choices=[(a, a) for a in ACTIONS], default="stop")
    on_outage = models.CharField(max_length=6, blank=True, choices=[("", "refuse"), ("allow", "allow")])
    warn_pct = models.PositiveIntegerField(default=80, validators=[MaxValueValidator(100)])
    rollover = models.BooleanField(
        default=False, help_text="What is left at a period's end is added to the next one."
    )
    rollover_cap_nusd = models.BigIntegerField(
        null=True, blank=True, validators=[MinValueValidator(0)], help_text="At most this is carried over."
    )
    created_at = models.DateTimeField(default=now)

    objects = TenantQuerySet.as_manager()
    history = HistoricalRecords()
    tenant_path = "lob"
    tenant_organisation = "organisation_id"

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["organisation", "scope", "period", "covers"], name="one_budget_a_scope_and_period"
            )
        ]

    def __str__(self) -> str:
        return f"{self.scope} {self.period}"


class BudgetExtra(models.Model):
    """Money added to one period of a budget: a top-up that somebody asked for and somebody else approved, or what was
    carried over from the period before."""

    KINDS = [("top_up", "top-up"), ("carry", "carried over")]
    STATES = [("requested", "requested"), ("approved", "approved"), ("refused", "refused")]

    budget = models.ForeignKey(Budget, on_delete=models.CASCADE, related_name="extras")
    period_start = models.DateTimeField()
    kind = models.CharField(max_length=8, choices=KINDS)
    amount_nusd = models.BigIntegerField(validators=[MinValueValidator(1)])
    state = models.CharField(max_length=10, choices=STATES, default="requested")
    reason = models.CharField(max_length=300, blank=True)
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    at = models.DateTimeField(default=now)
    decided_at = models.DateTimeField(null=True, blank=True)

    objects = TenantQuerySet.as_manager()
    tenant_path = "budget__lob"
    tenant_organisation = "budget__organisation_id"

    class Meta:
        ordering = ["-at"]
        constraints = [
            models.UniqueConstraint(
                fields=["budget", "period_start"],
                condition=models.Q(kind="carry"),
                name="one_carry_a_period",
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} of {self.budget}"


class Alert(models.Model):
    """Something money or routing wants a person to see: a threshold, a missing price, a misconfigured upstream."""

    organisation_id = models.BigIntegerField()
    at = models.DateTimeField(default=now)
    kind = models.CharField(max_length=40)
    lob = models.CharField(max_length=63, blank=True)
    subject = models.CharField(max_length=120)
    message = models.CharField(max_length=400)
    cause = models.CharField(max_length=300, blank=True, help_text="One line: what most of it comes from.")
    unique_key = models.CharField(max_length=160, unique=True, help_text="One alert per cause and period.")
    resolved_at = models.DateTimeField(null=True, blank=True)

    objects = TenantQuerySet.as_manager()
    tenant_lob_field = "lob"

    class Meta:
        ordering = ["-at"]

    def __str__(self) -> str:
        return self.message


class AlertTarget(models.Model):
    """Where alerts go: a webhook or an e-mail address, of the organisation or of one line of business."""

    organisation = models.ForeignKey(
        "tenancy.Organisation", on_delete=models.CASCADE, related_name="alert_targets"
    )
    lob = models.ForeignKey(
        "tenancy.LineOfBusiness",
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="alert_targets",
    )
    kind = models.CharField(max_length=8, choices=[("webhook", "webhook"), ("email", "e-mail")])
    address = models.CharField(max_length=300)
    secret_sealed = models.TextField(
        blank=True, editable=False, help_text="Signs webhooks; sealed, write-only."
    )
    kinds = models.JSONField(default=list, blank=True, help_text="Kinds of alert that are sent; empty = all.")
    active = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=now)

    objects = TenantQuerySet.as_manager()
    tenant_path = "lob"
    tenant_organisation = "organisation_id"

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["organisation", "lob", "kind", "address"], name="one_target_an_address"
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.address}"


class AlertDelivery(models.Model):
    """One alert on its way to one target: tried again with growing pauses, then given up in words."""

    alert = models.ForeignKey(Alert, on_delete=models.CASCADE, related_name="deliveries")
    target = models.ForeignKey(AlertTarget, on_delete=models.CASCADE, related_name="deliveries")
    state = models.CharField(
        max_length=8, default="pending", choices=[(s, s) for s in ("pending", "sent", "failed")]
    )
    attempts = models.PositiveSmallIntegerField(default=0)
    next_at = models.DateTimeField(default=now)
    sent_at = models.DateTimeField(null=True, blank=True)
    error = models.CharField(max_length=300, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["alert", "target"], name="one_delivery_a_target")]
        indexes = [models.Index(fields=["state", "next_at"], name="delivery_due")]

    def __str__(self) -> str:
        return f"alert {self.alert_id} to {self.target_id}"
