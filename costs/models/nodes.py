"""Machines of the private side: what they cost by date, and what each of their hours came to."""

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from simple_history.models import HistoricalRecords

from switchyard.core.clock import now

IDLE_RULES = [
    ("nobody", "nobody: idle stays on a line of its own"),
    ("pool", "the pool: idle is charged to the pool's own account"),
    (
        "lob_share",
        "lines of business: idle is shared by their use, or by fixed shares where nothing was used",
    ),
]


class NodeCosts(models.Model):
    """What a machine costs an hour: a cloud rate (with or without a commitment), or purchase − salvage over its life plus
    power × PUE × tariff; rack, people and operations on top of either. Dollars, as people write them."""

    usd_per_hour = models.DecimalField(
        max_digits=14, decimal_places=9, null=True, blank=True, help_text="Cloud rate on demand."
    )
    commitment_usd_per_hour = models.DecimalField(
        max_digits=14, decimal_places=9, null=True, blank=True, help_text="Cloud rate under a commitment."
    )
    commitment_upfront_usd = models.DecimalField(max_digits=14, decimal_places=2, default=0)
    commitment_months = models.PositiveIntegerField(
        null=True, blank=True, help_text="Months that the upfront payment covers, from valid_from on."
    )
    capex_usd = models.DecimalField(max_digits=14, decimal_places=2, null=True, blank=True)
    salvage_usd = models.DecimalField(max_digits=14, decimal_places=2, default=0)
    life_months = models.PositiveIntegerField(null=True, blank=True)
    watts = models.PositiveIntegerField(default=0)
    pue = models.DecimalField(max_digits=4, decimal_places=2, default=1)
    usd_per_kwh = models.DecimalField(max_digits=8, decimal_places=5, default=0)
    tariff = models.JSONField(
        default=list,
        blank=True,
        help_text='Power by hour of the local day: [{"from": 22, "to": 6, "usd_per_kwh": "0.09"}]; '
        "hours that no band covers cost usd_per_kwh.",
    )
    tariff_timezone = models.CharField(max_length=60, default="UTC")
    rack_usd_per_month = models.DecimalField(max_digits=12, decimal_places=2, default=0)
    people_usd_per_month = models.DecimalField(max_digits=12, decimal_places=2, default=0)
    operations_usd_per_month = models.DecimalField(max_digits=12, decimal_places=2, default=0)
    planned_utilisation = models.DecimalField(
        max_digits=4, decimal_places=3, default=1, validators=[MinValueValidator(0.001), MaxValueValidator(1)]
    )
    source = models.CharField(max_length=200, blank=True)

    class Meta:
        abstract = True


class Node(NodeCosts):
    """A machine of the private side. Its cost fields are those in force now; NodeCost keeps every dated version."""

    organisation = models.ForeignKey("tenancy.Organisation", on_delete=models.CASCADE, related_name="nodes")
    name = models.CharField(max_length=63)
    pool = models.CharField(
        max_length=63, blank=True, help_text="Machines that are bought and judged together."
    )
    idle_rule = models.CharField(
        max_length=10, choices=IDLE_RULES, default="nobody", help_text="Who carries the hours nobody used."
    )
    idle_shares = models.JSONField(
        default=dict, blank=True, help_text="Line of business → weight, for hours without any use."
    )
    created_at = models.DateTimeField(default=now)

    history = HistoricalRecords()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organisation", "name"], name="node_name_in_organisation")
        ]

    def __str__(self) -> str:
        return self.name


class NodeCost(NodeCosts):
    """A dated version of what a node costs. `valid_to` is exclusive; empty = in force until another follows."""

    node = models.ForeignKey(Node, on_delete=models.CASCADE, related_name="costs")
    valid_from = models.DateTimeField()
    valid_to = models.DateTimeField(null=True, blank=True)
    reason = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField(default=now)
    created_by = models.CharField(max_length=150, blank=True)

    class Meta:
        ordering = ["node", "valid_from"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(valid_to__isnull=True) | models.Q(valid_to__gt=models.F("valid_from")),
                name="node_cost_ends_after_it_starts",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.node} from {self.valid_from:%Y-%m-%d %H:%M}"

    @property
    def version(self) -> str:
        return f"node-cost:{self.pk}"


class NodeInterval(models.Model):
    """An hour of a node: its bill, the used share and the idle rest; used + idle = bill exactly. A changed rate or late
    work gives a new revision; the one in force is `current`."""

    organisation_id = models.BigIntegerField()
    node = models.CharField(max_length=63)
    start = models.DateTimeField()
    seconds = models.PositiveIntegerField(default=3600)
    revision = models.PositiveIntegerField(default=0)
    current = models.BooleanField(default=True)
    cost_version = models.CharField(max_length=60, blank=True, help_text="NodeCost the bill follows from.")
    bill_nusd = models.BigIntegerField()
    used_nusd = models.BigIntegerField()
    idle_nusd = models.BigIntegerField()
    accelerator_ns = models.BigIntegerField(default=0)
    shares = models.JSONField(
        default=dict, help_text="LOB → nano-dollars of the used part; they sum to used_nusd."
    )
    idle_shares = models.JSONField(
        default=dict,
        help_text="LOB → nano-dollars of idle time it carries; what is left stays with nobody or the pool.",
    )
    absorbed = models.JSONField(
        default=dict, help_text="LOB → nano-dollars charged at the standard rate in this hour."
    )
    reason = models.CharField(max_length=200, blank=True)
    closed_at = models.DateTimeField(default=now)
    origin = models.CharField(max_length=15, default="live")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["organisation_id", "node", "start", "revision"], name="one_interval_a_revision"
            ),
            models.UniqueConstraint(
                fields=["organisation_id", "node", "start"],
                condition=models.Q(current=True),
                name="one_current_interval",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.node} {self.start:%Y-%m-%d %H}h"


class Restatement(models.Model):
    """What a changed rate moved: both versions, the hours, and by how much each line of business's loaded cost changed."""

    organisation_id = models.BigIntegerField()
    node = models.CharField(max_length=63)
    start = models.DateTimeField()
    end = models.DateTimeField()
    hours = models.PositiveIntegerField(default=0)
    old_version = models.CharField(max_length=200, blank=True)
    new_version = models.CharField(max_length=200, blank=True)
    before_nusd = models.BigIntegerField(default=0)
    after_nusd = models.BigIntegerField(default=0)
    moved = models.JSONField(
        default=dict, help_text='LOB (or "idle") → nano-dollars more or less than before.'
    )
    reason = models.CharField(max_length=300)
    at = models.DateTimeField(default=now)
    by = models.CharField(max_length=150, blank=True)

    class Meta:
        ordering = ["-at"]

    def __str__(self) -> str:
        return f"{self.node} {self.start:%Y-%m-%d} to {self.end:%Y-%m-%d}"
