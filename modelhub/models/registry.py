"""Deployments (a model somewhere) and the versions that answer each workload there."""

import json
from collections.abc import Mapping

from django.db import models
from simple_history.models import HistoricalRecords

from switchyard.core.clock import now
from switchyard.core.crypto import open_secret, seal_secret
from switchyard.tenancy.models import LineOfBusiness, slug_validator
from switchyard.tenancy.querysets import Scope, TenantQuerySet

STAGES = ["candidate", "canary", "live", "retired"]


class DeploymentQuerySet(TenantQuerySet):
    """A deployment without named LOBs is every LOB's."""

    def for_tenant(self, scope: Scope) -> "DeploymentQuerySet":
        if scope.organisation_id is None:
            return self.none()
        rows = self.filter(organisation_id=scope.organisation_id)
        if scope.lob_ids is None:
            return rows
        return rows.filter(models.Q(lobs__isnull=True) | models.Q(lobs__in=scope.lob_ids)).distinct()


class Deployment(models.Model):
    """A model somewhere: an in-house server or a vendor. Names are unique in an organisation."""

    organisation = models.ForeignKey(
        "tenancy.Organisation", on_delete=models.CASCADE, related_name="deployments"
    )
    name = models.CharField(max_length=63, validators=[slug_validator])
    side = models.CharField(max_length=8, choices=[("private", "private"), ("external", "external")])
    base_url = models.CharField(max_length=300, help_text="Ends in /v1 for OpenAI-shaped servers.")
    sealed_api_key = models.TextField(blank=True, editable=False)
    model = models.CharField(max_length=120, help_text="What the server calls it.")
    tasks = models.JSONField(
        default=list, help_text="chat, completion, embedding, classification, prediction, moderation"
    )
    heads = models.BooleanField(default=False, help_text="The server takes <model>/<workload> as model name.")
    region = models.CharField(max_length=40, blank=True)
    lobs = models.ManyToManyField(
        LineOfBusiness, blank=True, related_name="deployments", help_text="None = every LOB."
    )
    node = models.ForeignKey(
        "costs.Node", null=True, blank=True, on_delete=models.PROTECT, related_name="deployments"
    )
    max_output_tokens = models.PositiveIntegerField(default=1024)
    max_concurrency = models.PositiveIntegerField(default=64)
    enabled = models.BooleanField(default=True)
    note = models.CharField(max_length=300, blank=True)
    sealed_headers = models.TextField(blank=True, editable=False)
    capabilities = models.JSONField(
        default=dict, editable=False, blank=True, help_text="What a probe found its server to support."
    )
    created_at = models.DateTimeField(default=now)

    objects = DeploymentQuerySet.as_manager()
    history = HistoricalRecords(excluded_fields=["sealed_api_key", "sealed_headers", "capabilities"])

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organisation", "name"], name="deployment_name_in_organisation")
        ]
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def api_key(self) -> str:
        return open_secret(self.sealed_api_key) if self.sealed_api_key else ""

    @api_key.setter
    def api_key(self, plain: str) -> None:
        self.sealed_api_key = seal_secret(plain) if plain else ""

    @property
    def headers(self) -> dict[str, str]:
        """What its server wants beside the key, or in its place: `api-key` (Azure), a project, a tenant."""
        return json.loads(open_secret(self.sealed_headers)) if self.sealed_headers else {}

    @headers.setter
    def headers(self, plain: Mapping[str, str]) -> None:
        self.sealed_headers = seal_secret(json.dumps(dict(plain))) if plain else ""


class ModelVersion(models.Model):
    """A version of the model that answers one workload on one deployment; the live one takes the traffic.

    `upstream_model` is what the server is asked for: `txt-base/support-intent@ft-01ab…`.
    """

    deployment = models.ForeignKey(Deployment, on_delete=models.CASCADE, related_name="versions")
    workload = models.ForeignKey("tenancy.Workload", on_delete=models.CASCADE, related_name="versions")
    version = models.CharField(max_length=63)
    upstream_model = models.CharField(max_length=160)
    stage = models.CharField(max_length=10, choices=[(s, s) for s in STAGES], default="candidate")
    artifact = models.CharField(
        max_length=300, blank=True, help_text="Folder under $SWITCHYARD_HOME or artifacts/."
    )
    digest = models.CharField(max_length=64, blank=True)
    lineage = models.JSONField(default=dict, help_text="data set digest, job, base version")
    metrics = models.JSONField(default=dict)
    created_at = models.DateTimeField(default=now)
    promoted_at = models.DateTimeField(null=True, blank=True)

    objects = TenantQuerySet.as_manager()
    tenant_path = "workload__lob"

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["deployment", "workload", "version"], name="one_version_a_deployment_workload"
            ),
            models.UniqueConstraint(
                fields=["deployment", "workload"], condition=models.Q(stage="live"), name="one_live_version"
            ),
        ]
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.workload}@{self.version} on {self.deployment} ({self.stage})"
