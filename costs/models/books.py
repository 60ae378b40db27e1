"""The books: metered attempts, transfers, balances by account, fiscal periods."""

from django.db import models

from switchyard.core.clock import now
from switchyard.tenancy.querysets import TenantQuerySet

SIDES = [("private", "private"), ("external", "external")]
# What an attempt or a transfer was for. Answers, and the work around them on lines of their own.
PURPOSES = (
    "answer", "shadow", "judge", "fine_tune", "compress", "evaluation", "bias_audit", "label", "review", "feedback",
)  # fmt: skip
# The parts a cost is made of; an attempt's legs sum to its cost exactly. `compute` is measured accelerator time, `seconds`
# a vendor's price by duration, `minimum` what a minimum charge added, `searches` those that a vendor ran itself.
LEGS = (
    "input", "cached_input", "cache_write", "output", "reasoning", "calls", "seconds", "compute", "minimum", "audio_input",
    "audio_output", "searches",
)  # fmt: skip

# What an attempt is counted by; those after the first two are parts of them, but for searches.
QUANTITIES = (
    "tokens_in", "tokens_out", "cached_tokens_in", "cache_write_tokens", "reasoning_tokens", "audio_tokens_in",
    "audio_tokens_out", "searches",
)  # fmt: skip


class CostLegs(models.Model):
    """A cost by its parts, and what cache and batch prices saved against the plain price."""

    input_nusd = models.BigIntegerField(default=0)
    cached_input_nusd = models.BigIntegerField(default=0)
    cache_write_nusd = models.BigIntegerField(default=0)
    output_nusd = models.BigIntegerField(default=0)
    reasoning_nusd = models.BigIntegerField(default=0)
    calls_nusd = models.BigIntegerField(default=0)
    seconds_nusd = models.BigIntegerField(default=0)
    compute_nusd = models.BigIntegerField(default=0)
    minimum_nusd = models.BigIntegerField(default=0)
    audio_input_nusd = models.BigIntegerField(default=0)
    audio_output_nusd = models.BigIntegerField(default=0)
    searches_nusd = models.BigIntegerField(default=0)
    saved_cache_nusd = models.BigIntegerField(default=0)
    saved_batch_nusd = models.BigIntegerField(default=0)

    class Meta:
        abstract = True


class Attempt(CostLegs):
    """One upstream attempt as metered; UNIQUE(request_id, attempt, revision). A correction is a new revision, and the one
    before it is marked superseded: sums leave those out."""

    request_id = models.CharField(max_length=40)
    attempt = models.PositiveSmallIntegerField(default=0)
    revision = models.PositiveSmallIntegerField(default=0)
    superseded = models.BooleanField(default=False)
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
    purpose = models.CharField(max_length=12, default="answer")
    upstream_id = models.CharField(
        max_length=80, blank=True, help_text="The id the upstream bills by, where it isn't the request's own."
    )
    status = models.CharField(max_length=12, default="ok")
    tokens_in = models.BigIntegerField(default=0)
    tokens_out = models.BigIntegerField(default=0)
    cached_tokens_in = models.BigIntegerField(default=0, help_text="Part of tokens_in.")
    cache_write_tokens = models.BigIntegerField(default=0, help_text="Part of tokens_in.")
    reasoning_tokens = models.BigIntegerField(default=0, help_text="Part of tokens_out.")
    audio_tokens_in = models.BigIntegerField(default=0, help_text="Part of tokens_in.")
    audio_tokens_out = models.BigIntegerField(default=0, help_text="Part of tokens_out.")
    searches = models.BigIntegerField(default=0, help_text="That the vendor ran itself.")
    accelerator_ns = models.BigIntegerField(default=0)
    duration_ms = models.FloatField(default=0)
    batch = models.BooleanField(default=False, help_text="Paid at the batch price.")
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
            # The requests of a rare workload, newest first, without looking through everybody's.
            models.Index(fields=["workload", "at"], name="attempt_workload_at"),
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
    purpose = models.CharField(max_length=12, blank=True)
    request_id = models.CharField(max_length=40, blank=True)
    attempt = models.PositiveSmallIntegerField(null=True)
    job_id = models.CharField(max_length=40, blank=True)
    memo = models.CharField(max_length=200, blank=True)
    price_version = models.CharField(max_length=60, blank=True)
    reverses = models.ForeignKey(
        # A partitioned table can't be referenced by id alone: `verify_books` looks for orphans instead.
        "self",
        db_constraint=False,
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
            # Budgets leave out what was replayed.
            models.Index(
                fields=["organisation_id", "at"],
                condition=models.Q(origin="demonstration"),
                name="ledger_replayed",
            ),
            # Label lines are few beside answers; their sums by workload are read from here alone.
            models.Index(
                fields=[
                    "organisation_id",
                    "at",
                    "lob",
                    "workload",
                    "purpose",
                    "amount_nusd",
                    "reverses",
                    "attempt",
                ],
                condition=models.Q(attempt__isnull=True),
                name="ledger_labels",
            ),
            # What came after its month was closed says so in its memo: statements list it.
            models.Index(
                fields=["organisation_id", "at"],
                condition=models.Q(memo__contains="late for "),
                name="ledger_late",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.event_id}: {self.amount_nusd} {self.debit} ← {self.credit}"


class AccountHour(models.Model):
    """Debits and credits of an account in an hour, kept by the database itself in the transaction that writes the ledger,
    so it is never behind. What trial balances read."""

    organisation_id = models.BigIntegerField()
    start = models.DateTimeField()
    account = models.CharField(max_length=120)
    lob = models.CharField(max_length=63, blank=True)
    debit_nusd = models.BigIntegerField(default=0)
    credit_nusd = models.BigIntegerField(default=0)

    objects = TenantQuerySet.as_manager()
    tenant_lob_field = "lob"

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["organisation_id", "start", "account", "lob"], name="one_balance_an_hour"
            )
        ]
        # What one account held before a month is read over years of hours.
        indexes = [models.Index(fields=["organisation_id", "account", "start"], name="account_hours")]

    def __str__(self) -> str:
        return f"{self.account} {self.start:%Y-%m-%d %H}h"


class FiscalPeriod(models.Model):
    """A month of an organisation's books. Closed, no transfer may be dated into it; reopening takes a reason."""

    organisation_id = models.BigIntegerField()
    start = models.DateTimeField()
    end = models.DateTimeField()
    state = models.CharField(max_length=6, default="open", choices=[("open", "open"), ("closed", "closed")])
    changed_at = models.DateTimeField(default=now)
    changed_by = models.CharField(max_length=150, blank=True)
    reason = models.CharField(max_length=300, blank=True)
    entries = models.BigIntegerField(default=0)
    total_nusd = models.BigIntegerField(default=0, help_text="Debits of the period, which equal its credits.")
    balances = models.JSONField(
        default=dict, help_text="Account → [debits, credits] as they stood at the close."
    )
    events = models.JSONField(
        default=list, help_text="Every close and reopening: state, time, person, reason."
    )

    class Meta:
        ordering = ["-start"]
        constraints = [
            models.UniqueConstraint(fields=["organisation_id", "start"], name="one_period_a_start"),
        ]

    def __str__(self) -> str:
        return f"{self.start:%Y-%m} {self.state}"
