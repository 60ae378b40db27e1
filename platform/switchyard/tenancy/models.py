"""Who is asking: organisation → line of business → application → key; people and service accounts beside them."""

from django.contrib.auth.models import AbstractUser
from django.core.validators import MinValueValidator, RegexValidator
from django.db import models
from simple_history.models import HistoricalRecords

from switchyard.tenancy.querysets import TenantQuerySet

ROLES = {
    "viewer": "Viewer",
    "finance": "Finance",
    "policy_author": "Policy author",
    "policy_approver": "Policy approver",
    "model_engineer": "Model engineer",
    "risk": "Risk officer",
    "operator": "Operator",
    "admin": "Administrator",
}
SENSITIVITIES = ["public", "internal", "confidential", "restricted"]
SENSITIVITY_CHOICES = [(s, s) for s in SENSITIVITIES]
slug_validator = RegexValidator(
    r"^[a-z0-9][a-z0-9-]{0,62}$", "Lower case letters, digits and hyphens, at most 63."
)


class Organisation(models.Model):
    slug = models.CharField(max_length=63, unique=True, validators=[slug_validator])
    name = models.CharField(max_length=200)
    four_eyes = models.BooleanField(default=False, help_text="A policy needs a second person's approval.")
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.name


class Limits(models.Model):
    """Requests a minute, tokens a minute, requests at a time; empty = none. The strictest on the path wins."""

    rpm = models.PositiveIntegerField(null=True, blank=True, validators=[MinValueValidator(1)])
    tpm = models.PositiveIntegerField(null=True, blank=True, validators=[MinValueValidator(1)])
    concurrency = models.PositiveIntegerField(null=True, blank=True, validators=[MinValueValidator(1)])

    class Meta:
        abstract = True


class LineOfBusiness(Limits):
    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="lobs")
    slug = models.CharField(max_length=63, validators=[slug_validator])
    name = models.CharField(max_length=200)
    guard_mode = models.CharField(
        max_length=10,
        default="observe",
        choices=[("off", "off"), ("observe", "observe"), ("enforce", "enforce")],
        help_text="What the output guard does with a risky answer.",
    )
    guard_threshold = models.FloatField(
        default=0.9, help_text="Risk score in [0, 1] above which an answer is risky."
    )
    label_price_nusd = models.BigIntegerField(default=0, help_text="Nano-dollars a labelled row costs.")
    keep_text = models.BooleanField(
        default=False, help_text="Opted in: the review list may hold the text itself."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    objects = TenantQuerySet.as_manager()
    history = HistoricalRecords()
    tenant_path = ""

    class Meta:
        verbose_name = "line of business"
        verbose_name_plural = "lines of business"
        constraints = [
            models.UniqueConstraint(fields=["organisation", "slug"], name="lob_slug_in_organisation")
        ]
        ordering = ["slug"]

    def __str__(self) -> str:
        return self.slug


class Application(Limits):
    lob = models.ForeignKey(LineOfBusiness, on_delete=models.CASCADE, related_name="applications")
    slug = models.CharField(max_length=63, validators=[slug_validator])
    name = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = TenantQuerySet.as_manager()
    history = HistoricalRecords()
    tenant_path = "lob"

    class Meta:
        constraints = [models.UniqueConstraint(fields=["lob", "slug"], name="application_slug_in_lob")]
        ordering = ["slug"]

    def __str__(self) -> str:
        return self.slug


class ApiKey(Limits):
    """A key of an application. Only its id, a keyed digest and the last characters are kept."""

    id = models.CharField(primary_key=True, max_length=40)
    application = models.ForeignKey(Application, on_delete=models.CASCADE, related_name="keys")
    name = models.CharField(max_length=200)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    hint = models.CharField(max_length=24, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    objects = TenantQuerySet.as_manager()
    tenant_path = "application__lob"

    class Meta:
        verbose_name = "API key"
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.name} ({self.hint})"


class Workload(models.Model):
    """A piece of business work: what is asked, how sensitive it is, what counts as right."""

    TASKS = ["chat", "completion", "embedding", "classification", "prediction", "moderation"]
    TIERS = ["core", "edge", "experiment"]

    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="workloads")
    lob = models.ForeignKey(LineOfBusiness, on_delete=models.CASCADE, related_name="workloads")
    name = models.CharField(max_length=63, validators=[slug_validator])
    task = models.CharField(max_length=20, choices=[(t, t) for t in TASKS])
    tier = models.CharField(max_length=12, choices=[(t, t) for t in TIERS], default="edge")
    sensitivity = models.CharField(max_length=12, choices=SENSITIVITY_CHOICES, default="internal")
    metric = models.CharField(max_length=40, default="accuracy")
    correct_when = models.CharField(
        max_length=200, default="label equals", help_text="What counts as a right answer."
    )
    correct_rule = models.JSONField(
        default=dict,
        blank=True,
        help_text='How feedback is judged: {"kind": "label"}, or {"kind": "within"} with "absolute" or "relative".',
    )
    data_set = models.CharField(max_length=100, blank=True)
    note = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = TenantQuerySet.as_manager()
    history = HistoricalRecords()
    tenant_path = "lob"

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organisation", "name"], name="workload_name_in_organisation")
        ]
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class User(AbstractUser):
    """A person, or a service account (no password, tokens only)."""

    is_service = models.BooleanField(default=False)

    class Meta(AbstractUser.Meta):
        pass


class Membership(models.Model):
    """A role of somebody in an organisation; no LOBs means all of them."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    organisation = models.ForeignKey(Organisation, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=20, choices=list(ROLES.items()))
    lobs = models.ManyToManyField(LineOfBusiness, blank=True, related_name="memberships")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "organisation", "role"], name="one_membership_a_role")
        ]

    def __str__(self) -> str:
        return f"{self.user} as {self.role}"


class AccessToken(models.Model):
    """A bearer token of /api/v1; stored as a keyed digest, shown once."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="tokens")
    name = models.CharField(max_length=200, default="token")
    digest = models.CharField(max_length=64, unique=True, editable=False)
    hint = models.CharField(max_length=24, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"{self.name} ({self.hint})"


class ConfigVersion(models.Model):
    """One row: the version of everything the gateway keeps in memory. Writers raise it, processes poll it."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    version = models.BigIntegerField(default=1)
    changed_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return str(self.version)
