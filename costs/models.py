"""Money's tables. Rows keep names and prices as they were, so history doesn't move when something is renamed."""

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from simple_history.models import HistoricalRecords

from switchyard.core.clock import now
from switchyard.tenancy.querysets import TenantQuerySet

SIDES = [("private", "private"), ("external", "external")]


class Node(models.Model):
    """A machine of the private side and what it costs."""

    organisation = models.ForeignKey("tenancy.Organisation", on_delete=models.CASCADE, related_name="nodes")
    name = models.CharField(max_length=63)
    usd_per_hour = models.DecimalField(
        max_digits=14, decimal_places=9, null=True, blank=True, help_text="Cloud rate."
    )
    capex_usd = models.DecimalField(max_digits=14, decimal_places=2, null=True, blank=True)
    life_months = models.PositiveIntegerField(null=True, blank=True)
    watts = models.PositiveIntegerField(default=0)
    pue = models.DecimalField(max_digits=4, decimal_places=2, default=1)
    usd_per_kwh = models.DecimalField(max_digits=8, decimal_places=5, default=0)
    operations_usd_per_month = models.DecimalField(max_digits=12, decimal_places=2, default=0)
    planned_utilisation = models.DecimalField(
        max_digits=4, decimal_places=3, default=1, validators=[MinValueValidator(0.001), MaxValueValidator(1)]
    )
    source = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(default=now)

    history = HistoricalRecords()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organisation", "name"], name="node_name_in_organisation")
        ]

    def __str__(self) -> str:
        return self.name


class Price(models.Model):
    """A dated version of a deployment's price sheet. `to` is exclusive; empty = open."""

    organisation = models.ForeignKey("tenancy.Organisation", on_delete=models.CASCADE, related_name="prices")
    deployment = models.CharField(max_length=63)
    valid_from = models.DateTimeField()
    valid_to = models.DateTimeField(null=True, blank=True)
    input_nusd_per_munit = models.BigIntegerField(default=0)
    cached_input_nusd_per_munit = models.BigIntegerField(null=True, blank=True)
    output_nusd_per_munit = models.BigIntegerField(default=0)
    reasoning_nusd_per_munit = models.BigIntegerField(null=True, blank=True)
    call_nusd_per_munit = models.BigIntegerField(default=0)
    minimum_nusd = models.BigIntegerField(default=0)
    source = models.CharField(max_length=300, help_text="Book and date, e.g. “llm-prices, 2026-08-05”.")
    created_at = models.DateTimeField(default=now)

    history = HistoricalRecords()

    class Meta:
        ordering = ["deployment", "valid_from"]
        constraints = [
            models.UniqueConstraint(
                fields=["organisation", "deployment", "valid_from"], name="one_price_a_start"
            ),
            models.CheckConstraint(
                condition=models.Q(valid_to__isnull=True) | models.Q(valid_to__gt=models.F("valid_from")),
                name="price_ends_after_it_starts",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.deployment} from {self.valid_from:%Y-%m-%d}"

    @property
    def version(self) -> str:
        return f"price:{self.pk}"


class Budget(models.Model):
    PERIODS = ["day", "week", "month", "total"]
    ACTIONS = ["warn", "throttle", "stop"]

    organisation = models.ForeignKey("tenancy.Organisation", on_delete=models.CASCADE, related_name="budgets")
    scope = models.CharField(
        max_length=120, help_text="organisation, lob:<slug>, application:<slug> or key:<id>."
    )
    lob = models.ForeignKey(
        "tenancy.LineOfBusiness", null=True, blank=True, on_delete=models.CASCADE, related_name="budgets"
    )
    limit_nusd = models.BigIntegerField(validators=[MinValueValidator(0)])
    period = models.CharField(max_length=6, choices=[(p, p) for p in PERIODS], default="month")
    timezone = models.CharField(max_length=60, default="UTC")
    action = models.CharField(max_length=10, choices=[(a, a) for a in ACTIONS], default="stop")
    on_outage = models.CharField(max_length=6, blank=True, choices=[("", "refuse"), ("allow", "allow")])
    warn_pct = models.PositiveIntegerField(default=80, validators=[MaxValueValidator(100)])
    created_at = models.DateTimeField(default=now)

    objects = TenantQuerySet.as_manager()
    history = HistoricalRecords()
    tenant_path = "lob"
    tenant_organisation = "organisation_id"

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["organisation", "scope", "period"], name="one_budget_a_scope_and_period"
            )
        ]

    def __str__(self) -> str:
        return f"{self.scope} {self.period}"


class Attempt(models.Model):
    """One upstream attempt as metered; UNIQUE(request_id, attempt, revision)."""

    request_id = models.CharField(max_length=40)
    attempt = models.PositiveSmallIntegerField(default=0)
    revision = models.PositiveSmallIntegerField(default=0)
    organisation_id = models.BigIntegerField()
    at = models.DateTimeField()
    lob = models.CharField(max_length=63)
    application = models.CharField(max_length=63, blank=True)
    key_id = models.CharField(max_length=40, blank=True)
    workload = models.CharField(max_length=63, blank=True)
    deployment = models.CharField(max_length=63)
    side = models.CharField(max_length=8, choices=SIDES)
    model = models.CharField(max_length=120)
    node = models.CharField(max_length=63, blank=True)
    status = models.CharField(max_length=12, default="ok")
    tokens_in = models.BigIntegerField(default=0)
    tokens_out = models.BigIntegerField(default=0)
    cached_tokens_in = models.BigIntegerField(default=0, help_text="Part of tokens_in.")
    reasoning_tokens = models.BigIntegerField(default=0, help_text="Part of tokens_out.")
    accelerator_ns = models.BigIntegerField(default=0)
    duration_ms = models.FloatField(default=0)
    usage_source = models.CharField(max_length=10, default="reported")
    price_version = models.CharField(max_length=60)
    cost_nusd = models.BigIntegerField()
    other_side_cost_nusd = models.BigIntegerField(null=True)
    answered = models.BooleanField(default=True, help_text="This attempt gave the request's answer.")
    answers = models.PositiveIntegerField(default=1)
    origin = models.CharField(max_length=15, default="live", help_text="live, demonstration or job")

    objects = TenantQuerySet.as_manager()
    tenant_lob_field = "lob"

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["request_id", "attempt", "revision"], name="attempt_metered_once")
        ]
        indexes = [
            models.Index(fields=["at"], name="attempt_at"),
            models.Index(fields=["side", "at"], name="attempt_side_at"),
        ]

    def __str__(self) -> str:
        return f"{self.request_id}/{self.attempt}"


class LedgerEntry(models.Model):
    """One transfer: debit account, credit account, amount > 0, so every row balances. Corrections are reversals."""

    event_id = models.CharField(max_length=80, unique=True)
    organisation_id = models.BigIntegerField()
    at = models.DateTimeField()
    recorded_at = models.DateTimeField(default=now)
    debit = models.CharField(max_length=120)
    credit = models.CharField(max_length=120)
    amount_nusd = models.BigIntegerField()
    lob = models.CharField(max_length=63, blank=True)
    application = models.CharField(max_length=63, blank=True)
    key_id = models.CharField(max_length=40, blank=True)
    workload = models.CharField(max_length=63, blank=True)
    request_id = models.CharField(max_length=40, blank=True)
    attempt = models.PositiveSmallIntegerField(null=True)
    job_id = models.CharField(max_length=40, blank=True)
    memo = models.CharField(max_length=200, blank=True)
    price_version = models.CharField(max_length=60, blank=True)
    reverses = models.ForeignKey(
        # The database refuses an orphan at commit; Django's PROTECT would refuse removing both at once, too.
        "self",
        null=True,
        blank=True,
        on_delete=models.DO_NOTHING,
        related_name="reversed_by",
    )
    origin = models.CharField(max_length=15, default="live")

    objects = TenantQuerySet.as_manager()
    tenant_lob_field = "lob"

    class Meta:
        verbose_name_plural = "ledger entries"
        constraints = [
            models.CheckConstraint(condition=models.Q(amount_nusd__gt=0), name="ledger_amount_positive"),
            models.CheckConstraint(condition=~models.Q(debit=models.F("credit")), name="ledger_two_accounts"),
        ]
        indexes = [
            models.Index(fields=["at"], name="ledger_at"),
            models.Index(fields=["lob", "at"], name="ledger_lob_at"),
            models.Index(fields=["request_id"], name="ledger_request"),
        ]

    def __str__(self) -> str:
        return f"{self.event_id}: {self.amount_nusd} {self.debit} ← {self.credit}"


class NodeInterval(models.Model):
    """An hour of a node: its bill, the used share and the idle rest; used + idle = bill exactly."""

    organisation_id = models.BigIntegerField()
    node = models.CharField(max_length=63)
    start = models.DateTimeField()
    seconds = models.PositiveIntegerField(default=3600)
    bill_nusd = models.BigIntegerField()
    used_nusd = models.BigIntegerField()
    idle_nusd = models.BigIntegerField()
    accelerator_ns = models.BigIntegerField(default=0)
    shares = models.JSONField(
        default=dict, help_text="LOB → nano-dollars of the used part; they sum to used_nusd."
    )
    origin = models.CharField(max_length=15, default="live")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["organisation_id", "node", "start"], name="one_interval_a_node_hour"
            )
        ]

    def __str__(self) -> str:
        return f"{self.node} {self.start:%Y-%m-%d %H}h"


class Spend(models.Model):
    """A roll-up row: derived, idempotent, all that pages read. One row a combination of names and a bucket."""

    organisation_id = models.BigIntegerField()
    start = models.DateTimeField()
    lob = models.CharField(max_length=63)
    application = models.CharField(max_length=63, blank=True)
    workload = models.CharField(max_length=63, blank=True)
    deployment = models.CharField(max_length=63)
    model = models.CharField(max_length=120)
    side = models.CharField(max_length=8)
    origin = models.CharField(max_length=15, default="live")
    requests = models.BigIntegerField(default=0)
    answers = models.BigIntegerField(default=0)
    errors = models.BigIntegerField(default=0)
    tokens_in = models.BigIntegerField(default=0)
    tokens_out = models.BigIntegerField(default=0)
    accelerator_ns = models.BigIntegerField(default=0)
    cost_nusd = models.BigIntegerField(default=0)
    answered_cost_nusd = models.BigIntegerField(default=0, help_text="Of the attempts that answered.")
    other_side_cost_nusd = models.BigIntegerField(default=0)
    other_side_known = models.BigIntegerField(
        default=0, help_text="Requests the other side could have answered."
    )
    other_side_own_cost_nusd = models.BigIntegerField(default=0, help_text="What those requests really cost.")
    duration_ms = models.FloatField(default=0, help_text="Sum.")
    judged = models.BigIntegerField(default=0, help_text="Answers with feedback.")
    correct = models.BigIntegerField(default=0)

    objects = TenantQuerySet.as_manager()
    tenant_lob_field = "lob"
    NAMES = [
        "organisation_id",
        "start",
        "lob",
        "application",
        "workload",
        "deployment",
        "model",
        "side",
        "origin",
    ]

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.start:%Y-%m-%d %H}h {self.lob} {self.deployment}"


class SpendHour(Spend):
    """Hourly roll-up."""

    class Meta:
        constraints = [models.UniqueConstraint(fields=Spend.NAMES, name="one_spend_row_an_hour")]
        indexes = [models.Index(fields=["start"], name="spend_hour_start")]


class SpendDay(Spend):
    """Daily roll-up of the hours (UTC days)."""

    class Meta:
        constraints = [models.UniqueConstraint(fields=Spend.NAMES, name="one_spend_row_a_day")]
        indexes = [models.Index(fields=["start"], name="spend_day_start")]


class RollupMark(models.Model):
    """How fresh the derived tables are: when each was last brought up to the ledger."""

    name = models.CharField(max_length=40, primary_key=True)
    at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.name} {self.at:%Y-%m-%d %H:%M:%S}"


class Alert(models.Model):
    """Something money or routing wants a person to see: a threshold, a missing price, a misconfigured upstream."""

    organisation_id = models.BigIntegerField()
    at = models.DateTimeField(default=now)
    kind = models.CharField(max_length=40)
    lob = models.CharField(max_length=63, blank=True)
    subject = models.CharField(max_length=120)
    message = models.CharField(max_length=400)
    unique_key = models.CharField(max_length=160, unique=True, help_text="One alert per cause and period.")
    resolved_at = models.DateTimeField(null=True, blank=True)

    objects = TenantQuerySet.as_manager()
    tenant_lob_field = "lob"

    class Meta:
        ordering = ["-at"]

    def __str__(self) -> str:
        return self.message
