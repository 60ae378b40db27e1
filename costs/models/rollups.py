"""Derived tables: all that a page ever reads of spending."""

from django.db import models

from costs.models.books import CostLegs
from switchyard.tenancy.querysets import TenantQuerySet


class Spend(CostLegs):
    """A roll-up row: derived, idempotent. One row a combination of names and a bucket."""

    organisation_id = models.BigIntegerField()
    start = models.DateTimeField()
    lob = models.CharField(max_length=63)
    application = models.CharField(max_length=63, blank=True)
    workload = models.CharField(max_length=63, blank=True)
    deployment = models.CharField(max_length=63)
    model = models.CharField(max_length=120)
    side = models.CharField(max_length=8)
    node = models.CharField(max_length=63, blank=True)
    purpose = models.CharField(max_length=12, default="answer")
    origin = models.CharField(max_length=15, default="live")
    requests = models.BigIntegerField(default=0)
    answers = models.BigIntegerField(default=0)
    errors = models.BigIntegerField(default=0)
    tokens_in = models.BigIntegerField(default=0)
    tokens_out = models.BigIntegerField(default=0)
    cached_tokens_in = models.BigIntegerField(default=0)
    cache_write_tokens = models.BigIntegerField(default=0)
    reasoning_tokens = models.BigIntegerField(default=0)
    audio_tokens_in = models.BigIntegerField(default=0)
    audio_tokens_out = models.BigIntegerField(default=0)
    searches = models.BigIntegerField(default=0)
    accelerator_ns = models.BigIntegerField(default=0)
    cost_nusd = models.BigIntegerField(
        default=0, help_text="At the metered price: what budgets and headers say."
    )
    variance_nusd = models.BigIntegerField(
        default=0, help_text="Loaded less metered cost, once the node's hours are closed."
    )
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
        "node",
        "purpose",
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


class LabelHour(models.Model):
    """What labels, reviews and accepted feedback cost in an hour: one row a combination of names, of few to millions of
    ledger lines."""

    NAMES = ["organisation_id", "start", "lob", "workload", "purpose", "origin"]

    organisation_id = models.BigIntegerField()
    start = models.DateTimeField()
    lob = models.CharField(max_length=63)
    workload = models.CharField(max_length=63, blank=True)
    purpose = models.CharField(max_length=12)
    origin = models.CharField(max_length=15, default="live")
    lines = models.BigIntegerField(default=0, help_text="Less those that were reversed.")
    amount_nusd = models.BigIntegerField(default=0)

    objects = TenantQuerySet.as_manager()
    tenant_lob_field = "lob"

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["organisation_id", "start", "lob", "workload", "purpose", "origin"],
                name="one_row_of_labels_an_hour",
            )
        ]

    def __str__(self) -> str:
        return f"{self.start:%Y-%m-%d %H}h {self.lob} {self.purpose}"


class RollupMark(models.Model):
    """How fresh the derived tables are: when each was last brought up to the ledger."""

    name = models.CharField(max_length=40, primary_key=True)
    at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.name} {self.at:%Y-%m-%d %H:%M:%S}"
