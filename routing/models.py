"""Policies as immutable versions, the record of every decision, feedback, and answers the guard caught."""

from django.conf import settings
from django.db import models

from routing.approvals.models import PolicyApproval as PolicyApproval
from routing.dictionaries.models import SensitiveDictionary as SensitiveDictionary
from routing.learning.models import RoutingFit as RoutingFit
from routing.proofs.models import DecisionChain as DecisionChain
from routing.proofs.models import DecisionSeal as DecisionSeal
from routing.rollout.models import RolloutWatch as RolloutWatch
from routing.rollout.models import ShadowMark as ShadowMark
from routing.rollout.models import ShadowTally as ShadowTally
from routing.whatif.models import WhatIf as WhatIf
from switchyard.core.clock import now
from switchyard.tenancy.querysets import TenantQuerySet

POLICY_STATES = ["draft", "validated", "shadow", "live", "superseded"]


class Policy(models.Model):
    """One version of a document. LOB empty = the organisation's. A document never changes after it was saved."""

    id = models.CharField(primary_key=True, max_length=40)
    organisation = models.ForeignKey(
        "tenancy.Organisation", on_delete=models.CASCADE, related_name="policies"
    )
    lob = models.ForeignKey(
        "tenancy.LineOfBusiness", null=True, blank=True, on_delete=models.CASCADE, related_name="policies"
    )
    version = models.PositiveIntegerField(help_text="Counts up within its scope.")
    document = models.TextField(help_text="YAML with CEL conditions.")
    hash = models.CharField(max_length=64)
    state = models.CharField(max_length=12, choices=[(s, s) for s in POLICY_STATES], default="draft")
    percent = models.PositiveSmallIntegerField(default=100)
    report = models.JSONField(default=dict, help_text="What validation and the verifier found.")
    note = models.CharField(max_length=300, blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    approved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(default=now)
    published_at = models.DateTimeField(null=True, blank=True)

    objects = TenantQuerySet.as_manager()
    tenant_path = "lob"
    tenant_organisation = "organisation_id"

    class Meta:
        verbose_name_plural = "policies"
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(fields=["organisation", "lob", "version"], name="policy_version_in_lob"),
            models.UniqueConstraint(
                fields=["organisation", "version"],
                condition=models.Q(lob__isnull=True),
                name="policy_version_in_organisation",
            ),
            models.UniqueConstraint(
                fields=["lob"], condition=models.Q(state="live"), name="one_live_policy_a_lob"
            ),
            models.UniqueConstraint(
                fields=["organisation"],
                condition=models.Q(state="live", lob__isnull=True),
                name="one_live_organisation_policy",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.lob.slug if self.lob else 'organisation'}@{self.version} ({self.state})"


class DecisionRecord(models.Model):
    """What was decided for one request and why; no prompt and no answer (kept answers are sealed for their LOB)."""

    id = models.CharField(primary_key=True, max_length=40)
    request_id = models.CharField(max_length=40, unique=True)
    organisation_id = models.BigIntegerField()
    at = models.DateTimeField()
    lob = models.CharField(max_length=63)
    application = models.CharField(max_length=63, blank=True)
    key_id = models.CharField(max_length=40, blank=True)
    workload = models.CharField(max_length=63, blank=True)
    endpoint = models.CharField(max_length=40)
    sensitivity = models.CharField(max_length=12)
    side = models.CharField(max_length=8, blank=True)
    deployment = models.CharField(max_length=63, blank=True)
    model = models.CharField(max_length=120, blank=True)
    policy_version = models.CharField(max_length=120)
    policy_hash = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField(default=200)
    error_code = models.CharField(max_length=60, blank=True)
    cost_nusd = models.BigIntegerField(default=0)
    other_side_cost_nusd = models.BigIntegerField(null=True)
    latency_ms = models.FloatField(default=0)
    overhead_ms = models.FloatField(default=0)
    answers = models.PositiveIntegerField(default=0)
    guard_verdict = models.CharField(max_length=12, default="pass")
    detail = models.JSONField(default=dict, help_text="facts, trace, candidates, attempts, prices, guard")
    sealed_answers = models.TextField(blank=True)
    origin = models.CharField(max_length=15, default="live")

    objects = TenantQuerySet.as_manager()
    tenant_lob_field = "lob"

    class Meta:
        ordering = ["-at"]
        indexes = [
            models.Index(fields=["lob", "at"], name="decision_lob_at"),
            models.Index(fields=["at"], name="decision_at"),
        ]

    def __str__(self) -> str:
        return self.id


class Feedback(models.Model):
    """Whether one answer was right. At most one per decision and index; the last word counts."""

    decision_id = models.CharField(max_length=40)
    index = models.PositiveIntegerField(default=0)
    organisation_id = models.BigIntegerField()
    lob = models.CharField(max_length=63)
    application = models.CharField(max_length=63, blank=True)
    workload = models.CharField(max_length=63, blank=True)
    deployment = models.CharField(max_length=63)
    model = models.CharField(max_length=120, blank=True)
    side = models.CharField(max_length=8)
    at = models.DateTimeField(help_text="Of the answer.")
    given_at = models.DateTimeField(default=now)
    correct = models.BooleanField(null=True)
    score = models.FloatField(null=True)
    origin = models.CharField(max_length=15, default="live")

    objects = TenantQuerySet.as_manager()
    tenant_lob_field = "lob"

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["decision_id", "index"], name="one_feedback_an_answer")
        ]
        indexes = [models.Index(fields=["lob", "at"], name="feedback_lob_at")]

    def __str__(self) -> str:
        return f"{self.decision_id}[{self.index}]"


class Interception(models.Model):
    """An answer the guard found risky: kind, score, spans' offsets and decision id; text only where the LOB opted in."""

    decision_id = models.CharField(max_length=40)
    organisation_id = models.BigIntegerField()
    lob = models.CharField(max_length=63)
    workload = models.CharField(max_length=63, blank=True)
    at = models.DateTimeField()
    kind = models.CharField(max_length=30)
    score = models.FloatField()
    threshold = models.FloatField()
    mode = models.CharField(max_length=10)
    withheld = models.BooleanField()
    spans = models.JSONField(default=list)
    text = models.TextField(blank=True)
    state = models.CharField(
        max_length=12,
        default="open",
        choices=[("open", "open"), ("confirmed", "confirmed"), ("released", "false alarm")],
    )
    reviewed_by = models.CharField(max_length=150, blank=True)
    reviewed_at = models.DateTimeField(null=True, blank=True)
    deployment = models.CharField(max_length=63, blank=True)
    named = models.JSONField(default=list, help_text="Kinds of group that the text names; of no person.")
    appealed_at = models.DateTimeField(null=True, blank=True)
    appealed_by = models.CharField(max_length=150, blank=True)

    objects = TenantQuerySet.as_manager()
    tenant_lob_field = "lob"

    class Meta:
        ordering = ["-at"]
        constraints = [
            models.UniqueConstraint(fields=["decision_id", "kind"], name="one_interception_a_kind")
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.score:.2f} {self.decision_id}"


class BiasMonitor(models.Model):
    """Live evidence of one signal for one model version and line of business: sums and a gambler's wealth, never a person.

    `signal`: flip (an answer changes with a word for a group), withheld (the guard stops answers that name a group more
    often than others), wrong (answers to texts that name a group are wrong more often). A new version begins a new row.
    """

    organisation_id = models.BigIntegerField()
    lob = models.CharField(max_length=63)
    workload = models.CharField(max_length=63, blank=True)
    deployment = models.CharField(max_length=63)
    model = models.CharField(max_length=160, blank=True)
    signal = models.CharField(max_length=10, choices=[(s, s) for s in ("flip", "withheld", "wrong")])
    axis = models.CharField(max_length=40)
    state = models.JSONField(default=dict)
    change = models.JSONField(default=dict)
    n = models.PositiveIntegerField(default=0)
    n_rest = models.PositiveIntegerField(default=0)
    rate = models.FloatField(null=True)
    rate_rest = models.FloatField(null=True)
    e_value = models.FloatField(default=1.0)
    looks = models.PositiveIntegerField(default=0)
    began_at = models.DateTimeField(default=now)
    seen_at = models.DateTimeField(default=now)
    alarmed_at = models.DateTimeField(null=True, blank=True)
    changed_at = models.DateTimeField(null=True, blank=True)

    objects = TenantQuerySet.as_manager()
    tenant_lob_field = "lob"

    class Meta:
        ordering = ["lob", "workload", "signal", "axis"]
        constraints = [
            models.UniqueConstraint(
                fields=["organisation_id", "lob", "workload", "deployment", "model", "signal", "axis"],
                name="one_bias_monitor_a_signal",
            )
        ]

    def __str__(self) -> str:
        return f"{self.signal} by {self.axis}: {self.workload} on {self.deployment}"


class BiasMark(models.Model):
    """How far the live monitors of an organisation have read."""

    organisation_id = models.BigIntegerField(unique=True)
    decision_id = models.CharField(max_length=40, blank=True)
    feedback_id = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"organisation {self.organisation_id} up to {self.decision_id}"


class ReviewedText(models.Model):
    """A text that a person judged to have been withheld or found wrongly, or rightly: a labelled row for the next guard.

    Only where the line of business keeps texts; sealed under its key.
    """

    organisation_id = models.BigIntegerField()
    lob = models.CharField(max_length=63)
    interception = models.OneToOneField(Interception, on_delete=models.CASCADE, related_name="labelled")
    sealed_text = models.TextField(editable=False)
    kind = models.CharField(max_length=30)
    harmful = models.BooleanField()
    at = models.DateTimeField(default=now)

    objects = TenantQuerySet.as_manager()
    tenant_lob_field = "lob"

    class Meta:
        ordering = ["-at"]

    def __str__(self) -> str:
        return f"{'harmful' if self.harmful else 'harmless'} {self.kind} of {self.lob}"
