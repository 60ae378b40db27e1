"""Tables of rollouts: who watches a live version, and what a shadow would have done. routing.models imports them."""

from django.db import models

from switchyard.core.clock import now
from switchyard.tenancy.querysets import TenantQuerySet

WATCH_STATES = ["watching", "rolled_back", "ended"]


class RolloutWatch(models.Model):
    """One publishing of a version and what guards it. `tests`: metric → state of its sequential test.

    `baseline`: what the version before it did, by workload, read once when a version takes all of the traffic.
    """

    policy = models.ForeignKey("routing.Policy", on_delete=models.CASCADE, related_name="watches")
    previous = models.ForeignKey(
        "routing.Policy", null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    percent = models.PositiveSmallIntegerField()
    state = models.CharField(max_length=12, choices=[(s, s) for s in WATCH_STATES], default="watching")
    cursor = models.CharField(max_length=40, blank=True, help_text="The last decision that was read.")
    feedback_cursor = models.BigIntegerField(default=0)
    tests = models.JSONField(default=dict)
    baseline = models.JSONField(default=dict)
    limits = models.JSONField(default=dict, help_text="How much worse each metric may get.")
    reason = models.CharField(max_length=400, blank=True)
    began_at = models.DateTimeField(default=now)
    looked_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    objects = TenantQuerySet.as_manager()
    tenant_path = "policy__lob"
    tenant_organisation = "policy__organisation_id"

    class Meta:
        ordering = ["-began_at", "-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["policy"], condition=models.Q(state="watching"), name="one_watch_a_policy"
            )
        ]

    def __str__(self) -> str:
        return f"{self.policy_id} at {self.percent} %: {self.state}"


class ShadowTally(models.Model):
    """A day's sampled requests on which a shadow version was asked too: where they went and where it would have sent them."""

    policy = models.ForeignKey("routing.Policy", on_delete=models.CASCADE, related_name="shadow_tallies")
    day = models.DateField()
    lob = models.CharField(max_length=63)
    workload = models.CharField(max_length=63, blank=True)
    live = models.CharField(max_length=63, blank=True, help_text="First deployment; empty = refused.")
    shadow = models.CharField(max_length=63, blank=True)
    live_side = models.CharField(max_length=8, blank=True)
    shadow_side = models.CharField(max_length=8, blank=True)
    requests = models.PositiveIntegerField(default=0)
    crossings = models.PositiveIntegerField(default=0, help_text="Hops that the invariants in force forbid.")
    live_worst_nusd = models.BigIntegerField(default=0, help_text="Worst cases, as admission reserves them.")
    shadow_worst_nusd = models.BigIntegerField(default=0)
    samples = models.JSONField(default=list, help_text="Some decisions' ids.")

    objects = TenantQuerySet.as_manager()
    tenant_path = "policy__lob"
    tenant_organisation = "policy__organisation_id"

    class Meta:
        ordering = ["-day", "lob", "workload", "live", "shadow"]
        constraints = [
            models.UniqueConstraint(
                fields=["policy", "day", "lob", "workload", "live", "shadow"], name="one_shadow_tally"
            )
        ]

    def __str__(self) -> str:
        return f"{self.policy_id} {self.day} {self.workload}: {self.live} → {self.shadow}"


class ShadowMark(models.Model):
    """How far the tallies of an organisation have read."""

    organisation_id = models.BigIntegerField(unique=True)
    decision_id = models.CharField(max_length=40, blank=True)

    def __str__(self) -> str:
        return f"organisation {self.organisation_id} up to {self.decision_id}"
