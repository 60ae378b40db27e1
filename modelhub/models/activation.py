"""Which experts answered: sums of counts by model, line of business, label and day."""

from __future__ import annotations

import numpy as np
from django.db import models

from switchyard.tenancy.querysets import TenantQuerySet

SOURCES = ["serving", "training"]
WIRE = np.dtype("<u8")


class ExpertActivation(models.Model):
    """One sum: how many tokens each expert of each layer saw. `packed` holds (layers, experts) as little-endian uint64:
    three layers of 32 experts take 768 bytes, a day of 77 labels 59 kB. Sums of no one line of business are shown to those
    who see the whole organisation."""

    organisation = models.ForeignKey("tenancy.Organisation", on_delete=models.CASCADE, related_name="+")
    lob = models.CharField(max_length=63, blank=True, help_text="Slug; empty: of no one line of business.")
    model = models.CharField(max_length=120)
    source = models.CharField(max_length=8, choices=[(s, s) for s in SOURCES])
    head = models.CharField(max_length=63, blank=True, help_text="The workload, as the model calls its head.")
    label = models.CharField(
        max_length=120, blank=True, help_text="The label given; in training the true one."
    )
    day = models.DateField(help_text="In UTC.")
    layers = models.PositiveSmallIntegerField()
    experts = models.PositiveSmallIntegerField()
    requests = models.PositiveBigIntegerField(default=0)
    tokens = models.PositiveBigIntegerField(default=0)
    packed = models.BinaryField()

    objects = TenantQuerySet.as_manager()
    tenant_lob_field = "lob"

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=[
                    "organisation",
                    "model",
                    "source",
                    "lob",
                    "head",
                    "label",
                    "day",
                    "layers",
                    "experts",
                ],
                name="expert_activation_once",
            )
        ]
        indexes = [models.Index(fields=["organisation", "model", "day"], name="activation_of_model")]
        ordering = ["day", "model", "head", "label"]

    def __str__(self) -> str:
        return f"{self.model} {self.head}/{self.label} {self.day}"

    @property
    def counts(self) -> np.ndarray:
        """(layers, experts) uint64."""
        return np.frombuffer(bytes(self.packed), WIRE).reshape(self.layers, self.experts)


class ActivationSource(models.Model):
    """How far a server's counts are stored: windows up to `window` of its run `boot`."""

    organisation = models.ForeignKey("tenancy.Organisation", on_delete=models.CASCADE, related_name="+")
    base_url = models.CharField(max_length=300)
    boot = models.CharField(max_length=32)
    window = models.PositiveBigIntegerField(default=0)
    dropped = models.PositiveBigIntegerField(default=0, help_text="Windows the server let go unread.")
    read_at = models.DateTimeField(null=True)
    fault = models.CharField(max_length=300, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organisation", "base_url"], name="activation_source_once")
        ]

    def __str__(self) -> str:
        return f"{self.base_url} up to {self.window}"
